"""POST /auth/logout."""

from typing import Literal

from fastapi import APIRouter, Request, Response
from pydantic import Field

from authsvc.flows.logout import Credentials, Scope
from authsvc.flows.logout import logout as logout_flow
from authsvc.http.request.csrf import check_login_origin, check_origin
from authsvc.http.request.dependencies import (
    CsrfHeader,
    OurCookies,
    Service,
    TheCaller,
    TheService,
    bearer_token,
)
from authsvc.http.request.fields import StrictBody
from authsvc.http.request.strict_json import OptionalJSONRoute
from authsvc.http.response.errors import refusal_response, refusals
from authsvc.protocol.errors import (
    BadRequest,
    CsrfFailed,
    DatabaseUnavailable,
    DuplicateCredentials,
    Unauthenticated,
)
from authsvc_client.tokens.secret import Secret

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
    refresh_cookies = cookies.every(held.cookies.refresh)
    access_cookies = cookies.every(held.cookies.access)
    if refresh_cookies and body.refresh_token is not None:
        raise DuplicateCredentials("cookie and body")
    if refresh_cookies or access_cookies:
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
                access_cookies=access_cookies,
                refresh_cookies=refresh_cookies,
                refresh_token=Secret(body.refresh_token) if body.refresh_token else None,
                csrf_token=csrf_token,
            ),
            scope=Scope(body.scope),
            caller=caller,
            now=held.clock.now(),
        )
    except Unauthenticated as refusal:
        # Dead cookies go all the same: whoever asks to log out must not stay half logged in.
        answer = refusal_response(refusal, request)
        _clear_cookies(held, request, answer)
        return answer
    answer = Response(status_code=204, headers={"Cache-Control": "no-store"})
    if ended:
        _clear_cookies(held, request, answer)
    return answer


def _bearer(request: Request) -> Secret | None:
    """A header that is not well formed is no credential, and must not stop a logout."""
    try:
        return bearer_token(request)
    except BadRequest:
        return None


def _clear_cookies(held: Service, request: Request, answer: Response) -> None:
    for line in held.cookies.clear_session(request.url.hostname or ""):
        answer.headers.append("set-cookie", line)
