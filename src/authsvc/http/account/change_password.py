"""POST /auth/password/change."""

from fastapi import APIRouter, Request, Response

from authsvc.flows.change_password import change_password
from authsvc.http.account.current_user import REFUSALS, CurrentUser
from authsvc.http.request.caller import attempt_of
from authsvc.http.request.credentials import our_cookies, presented_device
from authsvc.http.request.fields import NewPassword, Password, StrictBody
from authsvc.http.request.service import service_of
from authsvc.http.request.strict_json import StrictJSONRoute
from authsvc.http.response.problem_schema import refusals
from authsvc.protocol import errors
from authsvc_client.tokens.secret import Secret

router = APIRouter(route_class=StrictJSONRoute)


class PasswordChange(StrictBody):
    """The password as it is, and as it shall be."""

    current_password: Password
    new_password: NewPassword


@router.post(
    "/auth/password/change",
    name="change_password",
    status_code=204,
    response_class=Response,
    tags=["account"],
    summary="Change your password",
    responses=refusals(
        *REFUSALS,
        errors.CurrentPasswordWrong,
        errors.WeakPassword,
        errors.CsrfFailed,
        errors.TooManyAttempts,
        errors.Overloaded,
    ),
)
async def post(body: PasswordChange, request: Request, account: CurrentUser) -> Response:
    """Change the password. Every other session of the account ends; this one continues."""
    service = service_of(request)
    await change_password(
        service,
        account=account,
        attempt=attempt_of(
            request,
            email=account.email,
            password=body.current_password,
            device=presented_device(service, our_cookies(request)),
        ),
        new_password=Secret(body.new_password),
    )
    return Response(status_code=204)
