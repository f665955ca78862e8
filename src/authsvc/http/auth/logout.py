"""POST /auth/logout."""

from typing import Literal

from fastapi import APIRouter, Request, Response
from pydantic import Field

from authsvc.flows.logout import Scope, logout
from authsvc.http.request.caller import caller
from authsvc.http.request.credentials import logout_credentials
from authsvc.http.request.fields import StrictBody
from authsvc.http.request.service import Service, service_of
from authsvc.http.request.strict_json import OptionalJSONRoute
from authsvc.http.response.errors import refusal_response
from authsvc.http.response.problem_schema import refusals
from authsvc.protocol import errors

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
    name="logout",
    status_code=204,
    response_class=Response,
    tags=["session"],
    summary="Log out",
    responses=refusals(
        errors.CsrfFailed,
        errors.DuplicateCredentials,
        errors.Unauthenticated,
        errors.DatabaseUnavailable,
    ),
)
async def post(request: Request, body: Logout | None = None) -> Response:
    """
    End sessions; repeating it does no harm.

    Every authentic credential that is presented ends its own session, expired or not, and its
    access tokens are refused here at once.
    """
    service = service_of(request)
    body = body or Logout()
    now = service.clock.now()
    try:
        ended = await logout(
            service.db,
            service.issuer,
            presented=logout_credentials(request, service, in_body=body.refresh_token, now=now),
            scope=Scope(body.scope),
            caller=caller(request),
            now=now,
        )
    except errors.Unauthenticated as refusal:
        # Dead cookies go all the same: whoever asks to log out must not stay half logged in.
        answer = refusal_response(refusal, request)
        _clear_cookies(service, request, answer)
        return answer
    answer = Response(status_code=204, headers={"Cache-Control": "no-store"})
    if ended:
        _clear_cookies(service, request, answer)
    return answer


def _clear_cookies(service: Service, request: Request, answer: Response) -> None:
    for line in service.cookies.clear_session(request.url.hostname or ""):
        answer.headers.append("set-cookie", line)
