"""POST /auth/register."""

from datetime import datetime
from uuid import UUID

from fastapi import APIRouter, Request
from pydantic import BaseModel

from authsvc.flows.register import register
from authsvc.http.request.caller import attempt_of
from authsvc.http.request.csrf import check_login_origin
from authsvc.http.request.fields import Email, NewPassword, StrictBody
from authsvc.http.request.service import service_of
from authsvc.http.request.strict_json import StrictJSONRoute
from authsvc.http.response.problem_schema import refusals
from authsvc.protocol import errors
from authsvc.protocol.email_address import check_domain, normal_form

router = APIRouter(route_class=StrictJSONRoute)


class Registration(StrictBody):
    """A new account."""

    email: Email
    password: NewPassword


class Registered(BaseModel):
    """The account as it was created."""

    id: UUID
    email: str
    roles: list[str]
    created_at: datetime


@router.post(
    "/auth/register",
    name="register",
    status_code=201,
    tags=["account"],
    summary="Create an account",
    responses=refusals(
        errors.EmailTaken,
        errors.WeakPassword,
        errors.ValidationFailed,
        errors.RegistrationClosed,
        errors.CsrfFailed,
        errors.TooManyAttempts,
        errors.Overloaded,
        errors.DatabaseUnavailable,
    ),
)
async def post(body: Registration, request: Request) -> Registered:
    """Create an account. This does not log in: `POST /auth/login` does."""
    service = service_of(request)
    if service.settings.registration == "closed":
        raise errors.RegistrationClosed
    check_login_origin(request.headers, service.origins)
    email = normal_form(body.email)
    if service.settings.public_email_only:
        check_domain(email)
    attempt = attempt_of(request, email=email, password=body.password)
    user = await register(service, attempt=attempt)
    return Registered(id=user.id, email=user.email, roles=user.roles, created_at=user.created_at)
