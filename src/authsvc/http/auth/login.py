"""POST /auth/login."""

from typing import Literal

from fastapi import APIRouter, Request
from pydantic import Field
from starlette.responses import JSONResponse

from authsvc.flows.login import login
from authsvc.http.request.caller import attempt_of, network_of
from authsvc.http.request.credentials import our_cookies, presented_device, superseded_sessions
from authsvc.http.request.csrf import check_login_origin, drops_cookies, page_origin
from authsvc.http.request.fields import Email, Password, StrictBody, json_body
from authsvc.http.request.service import service_of
from authsvc.http.request.strict_json import read_object
from authsvc.http.request.validation import read_body
from authsvc.http.response.problem_schema import refusals
from authsvc.http.response.token_answer import TokenAnswer, device_token, token_answer
from authsvc.observe.metrics import login_total
from authsvc.protocol import errors
from authsvc.protocol.email_address import normal_form_if_any
from authsvc.protocol.refresh import Delivery

PATH = "/auth/login"

router = APIRouter()


class Login(StrictBody):
    """E-mail and password, and how the tokens should travel."""

    email: Email
    password: Password
    delivery: Literal["spa", "native", "web"] = Field(
        default="spa",
        description=(
            "`spa`: access token in the body, refresh token in a cookie. `native`: both in the "
            "body, no cookies. `web`: both in HttpOnly cookies, a CSRF token in the body."
        ),
    )
    remember: bool = Field(
        default=True,
        description="False: cookies end with the browser, the session after 12 idle hours.",
    )
    device_token: str | None = Field(
        default=None,
        max_length=256,
        description=(
            "With `native` delivery: the `device_token` of an earlier login on this device, which "
            "failed logins from other devices then never delay."
        ),
    )


@router.post(
    PATH,
    name="login",
    response_model=TokenAnswer,
    tags=["session"],
    summary="Log in",
    responses=refusals(
        errors.InvalidCredentials,
        errors.CookiesImpossible,
        errors.CsrfFailed,
        errors.ValidationFailed,
        errors.TooManyAttempts,
        errors.Overloaded,
        errors.DatabaseUnavailable,
    ),
    openapi_extra=json_body(Login),
)
async def post(request: Request) -> JSONResponse:
    """
    Log in and begin a session.

    A wrong password, an unknown address and a disabled account get the same answer in the same
    time. A cookie login ends the session whose refresh cookie it arrives with.
    """
    service = service_of(request)
    with login_total.refusals():  # before anything that costs: a flood is refused here
        service.hasher.queue.refuse_if_full(network_of(request))
    members = await read_object(request, optional=False)
    body = read_body(Login, members or {})
    cookies = our_cookies(request)
    check_login_origin(request.headers, service.origins)
    delivery = Delivery(body.delivery)
    if delivery.by_cookie and (
        drops_cookies(request.headers) or page_origin(request.headers) in service.origins.apps
    ):
        raise errors.CookiesImpossible
    now = service.clock.now()
    device = presented_device(service, cookies, token=body.device_token)
    with login_total.refusals():
        session = await login(
            service,
            attempt=attempt_of(
                request,
                email=normal_form_if_any(body.email),
                password=body.password,
                device=device,
            ),
            delivery=delivery,
            remember=body.remember,
            superseded=superseded_sessions(service, cookies, now=now) if delivery.by_cookie else (),
            now=now,
        )
    login_total.labels(outcome="succeeded").inc()
    answer = token_answer(
        service,
        session,
        device_token=device_token(service, session.family.user_id, known=device, now=now),
        twins_of=request.url.hostname if delivery.by_cookie else None,
    )
    if delivery is Delivery.SPA:
        # What an earlier `web` login left behind would name a session that has ended.
        for stale in (service.cookies.access, service.cookies.csrf):
            if cookies.every(stale):
                answer.headers.append("set-cookie", stale.clear())
    return answer
