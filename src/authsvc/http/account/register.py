"""POST /auth/register."""

from datetime import datetime
from uuid import UUID

from fastapi import APIRouter, Request
from pydantic import BaseModel

from authsvc.flows.login import Attempt
from authsvc.flows.register import register as register_flow
from authsvc.http.request.caller import TheCaller
from authsvc.http.request.client_ip import client_network
from authsvc.http.request.csrf import check_login_origin
from authsvc.http.request.fields import Email, NewPassword, StrictBody
from authsvc.http.request.service import TheService
from authsvc.http.request.strict_json import StrictJSONRoute
from authsvc.http.response.errors import refusals
from authsvc.protocol.email_address import check_domain, normal_form
from authsvc.protocol.errors import (
    CsrfFailed,
    DatabaseUnavailable,
    EmailTaken,
    Overloaded,
    RegistrationClosed,
    TooManyAttempts,
    ValidationFailed,
    WeakPassword,
)
from authsvc_client.tokens.secret import Secret

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
    status_code=201,
    tags=["account"],
    summary="Create an account",
    responses=refusals(
        EmailTaken,
        WeakPassword,
        ValidationFailed,
        RegistrationClosed,
        CsrfFailed,
        TooManyAttempts,
        Overloaded,
        DatabaseUnavailable,
    ),
)
async def register(
    body: Registration, request: Request, service: TheService, caller: TheCaller
) -> Registered:
    """Create an account. This does not log in: `POST /auth/login` does."""
    if service.settings.registration == "closed":
        raise RegistrationClosed
    check_login_origin(request.headers, service.origins)
    email = normal_form(body.email)
    if service.settings.public_email_only:
        check_domain(email)
    user = await register_flow(
        service,
        attempt=Attempt(
            email=email,
            password=Secret(body.password),
            network=client_network(caller.ip),
            caller=caller,
        ),
    )
    return Registered(id=user.id, email=user.email, roles=user.roles, created_at=user.created_at)
