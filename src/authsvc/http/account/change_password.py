"""POST /auth/password/change."""

from fastapi import APIRouter, Request, Response

from authsvc.flows.change_password import change_password as change_password_flow
from authsvc.flows.login import Attempt
from authsvc.http.account.current_user import CurrentUser
from authsvc.http.request.caller import TheCaller
from authsvc.http.request.client_ip import client_network
from authsvc.http.request.credentials import our_cookies, presented_device
from authsvc.http.request.fields import NewPassword, Password, StrictBody
from authsvc.http.request.service import TheService
from authsvc.http.request.strict_json import StrictJSONRoute
from authsvc.http.response.errors import refusals
from authsvc.protocol.errors import (
    CsrfFailed,
    CurrentPasswordWrong,
    DatabaseUnavailable,
    DuplicateCredentials,
    Overloaded,
    TooManyAttempts,
    Unauthenticated,
    WeakPassword,
)
from authsvc_client.tokens.secret import Secret

router = APIRouter(route_class=StrictJSONRoute)


class PasswordChange(StrictBody):
    """The password as it is, and as it shall be."""

    current_password: Password
    new_password: NewPassword


@router.post(
    "/auth/password/change",
    status_code=204,
    response_class=Response,
    tags=["account"],
    summary="Change your password",
    responses=refusals(
        CurrentPasswordWrong,
        WeakPassword,
        CsrfFailed,
        Unauthenticated,
        DuplicateCredentials,
        TooManyAttempts,
        Overloaded,
        DatabaseUnavailable,
    ),
)
async def change_password(
    body: PasswordChange,
    request: Request,
    account: CurrentUser,
    service: TheService,
    caller: TheCaller,
) -> Response:
    """Change the password. Every other session of the account ends; this one continues."""
    device = presented_device(service, our_cookies(request))
    await change_password_flow(
        service,
        account=account,
        attempt=Attempt(
            email=account.email,
            password=Secret(body.current_password),
            network=client_network(caller.ip),
            caller=caller,
            device=device,
        ),
        new_password=Secret(body.new_password),
    )
    return Response(status_code=204)
