"""POST /auth/logout."""

from typing import Literal

from fastapi import APIRouter, Request, Response
from pydantic import Field

from authsvc.flows.logout import Credentials, Scope
from authsvc.flows.logout import logout as logout_flow
from authsvc.http.csrf import check_login_origin, check_origin
from authsvc.http.dependencies import (
    CsrfHeader,
    OurCookies,
    Service,
    TheCaller,
    TheService,
    bearer_token,
)
from authsvc.http.errors import refusal_response, refusals
from authsvc.http.fields import StrictBody
from authsvc.http.strict_json import OptionalJSONRoute
from authsvc.protocol.errors import (
    CsrfFailed,
    DatabaseUnavailable,
    DuplicateCredentials,
    Unauthenticated,
)
from authsvc.protocol.secret import Secret

router = APIRouter(route_class=OptionalJSONRoute)


class Logout(StrictBody):
    """How much should end; the refresh token of a `native` session."""

    refresh_token: str | None = None
    scope: Literal["session", "others", "all"] = Field(
        default="session",
        description="`others` and `all` need a live access token or the newest refresh token.",
    )


@router.post(
    "/auth/logout",
    status_code=204,
    response_class=Response,
    tags=["session"],
    summary="Log out",
    responses=refusals(CsrfFailed, DuplicateCredentials, Unauthenticated, DatabaseUnavailable),
)
async def logout(
    request: Request,
    held: TheService,
    caller: TheCaller,
    cookies: OurCookies,
    csrf_token: CsrfHeader,
    body: Logout | None = None,
) -> Response:
    """
    End sessions; repeating it does no harm.

    Every authentic credential that is presented ends its own session, expired or not, and its
    access tokens are refused here at once.
    """
    body = body or Logout()
    refresh_cookie = cookies.get(held.cookies.refresh.name)
    access_cookie = cookies.get(held.cookies.access.name)
    if refresh_cookie is not None and body.refresh_token is not None:
        raise DuplicateCredentials("cookie and body")
    if refresh_cookie is not None or access_cookie is not None:
        check_origin(request.headers, held.origins)
    else:
        check_login_origin(request.headers, held.origins)
    try:
        ended = await logout_flow(
            held.db,
            held.issuer,
            held.keys,
            presented=Credentials(
                bearer=_bearer(request),
                access_cookie=access_cookie,
                refresh_cookie=refresh_cookie,
                refresh_token=Secret(body.refresh_token) if body.refresh_token else None,
                csrf_token=csrf_token,
            ),
            scope=Scope(body.scope),
            caller=caller,
            now=held.clock.now(),
            database_now=held.clock.database_now(),
        )
    except Unauthenticated as refusal:
        # Dead cookies go all the same: whoever asks to log out must not stay half logged in.
        answer = refusal_response(refusal, request)
        _clear_cookies(held, answer)
        return answer
    answer = Response(status_code=204, headers={"Cache-Control": "no-store"})
    if ended:
        _clear_cookies(held, answer)
    return answer


def _bearer(request: Request) -> Secret | None:
    """Whatever else Authorization holds is no credential of ours, and ends nothing."""
    try:
        return bearer_token(request)
    except Unauthenticated:
        return None


def _clear_cookies(held: Service, answer: Response) -> None:
    """Every session cookie; the device cookie survives a logout."""
    for cookie in (held.cookies.refresh, held.cookies.access, held.cookies.csrf):
        answer.headers.append("set-cookie", cookie.clear())
