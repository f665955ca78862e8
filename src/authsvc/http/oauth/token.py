"""POST /oauth/token (RFC 6749 §3.2): one function for each grant type."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field
from starlette.responses import JSONResponse

from authsvc.flows.client_credentials import ClientToken, client_credentials
from authsvc.http.request.oauth_request import (
    authenticated,
    form_body,
    form_of,
    presented_by,
)
from authsvc.http.request.service import Service, service_of
from authsvc.http.response.oauth_errors import NO_STORE, TOKEN_PATH, oauth_refusals
from authsvc.observe.metrics import client_token_total
from authsvc.protocol import oauth_errors
from authsvc.protocol.clients import Client, GrantType
from authsvc.protocol.form import Form

router = APIRouter()

PARAMETERS: dict[str, Any] = {
    "grant_type": {"type": "string", "enum": [*GrantType]},
    "scope": {
        "type": "string",
        "description": "Of the client's scopes, space separated; without it, all of them.",
        "examples": ["orders:read orders:write"],
    },
    "resource": {
        "type": "string",
        "description": (
            "The service that the token is for, its `aud` (RFC 8707): one of the client's "
            "resources. A client that has only one may omit it."
        ),
        "examples": ["https://orders.example.com"],
    },
}
EXAMPLE = {
    "grant_type": "client_credentials",
    "scope": "orders:read",
    "resource": "https://orders.example.com",
}


class ClientTokenAnswer(BaseModel):
    """An access token for a client (RFC 6749 §5.1); there is no refresh token."""

    access_token: str = Field(examples=["eyJhbGciOiJSUzI1NiIs…"])
    token_type: Literal["Bearer"]
    expires_in: int = Field(description="Seconds.", examples=[900])
    scope: str | None = Field(
        default=None, description="Absent if there is none.", examples=["orders:read"]
    )


@router.post(
    TOKEN_PATH,
    name="token",
    response_model=ClientTokenAnswer,
    tags=["clients"],
    summary="Get an access token for a service",
    responses=oauth_refusals(
        oauth_errors.UnauthorizedClient,
        oauth_errors.UnsupportedGrantType,
        oauth_errors.InvalidScope,
        oauth_errors.InvalidTarget,
    ),
    openapi_extra=form_body(PARAMETERS, required=["grant_type"], example=EXAMPLE),
)
async def post(request: Request) -> JSONResponse:
    """
    The client credentials grant (RFC 6749 §4.4): the client is its own subject.

    The client authenticates with a secret, in an `Authorization: Basic` header or in the form,
    or with an assertion of its private key; with the method it was registered with, and no
    other. Failed attempts are slowed down per client and network.
    """
    service = service_of(request)
    with client_token_total.refusals():
        form = await form_of(request)
        client = await authenticated(service, request, presented_by(request, form))
        issued = await _granted_by(client, form)(service, client, form)
    client_token_total.labels(outcome="issued").inc()
    # Not audited, as rotations are not; the log line tells who got what.
    request.state.facts = {
        "client_id": client.client_id,
        "audience": issued.grant.audience,
        "scope": issued.grant.scope,
    }
    answer: dict[str, object] = {
        "access_token": issued.access_token,
        "token_type": "Bearer",
        "expires_in": int(service.issuer.access_ttl.total_seconds()),
    }
    if issued.grant.scope:
        answer["scope"] = issued.grant.scope
    return JSONResponse(answer, headers=NO_STORE)


async def _client_credentials(service: Service, client: Client, form: Form) -> ClientToken:
    return client_credentials(
        service.issuer,
        client,
        scope=form.parameters.get("scope"),
        resources=form.resources,
        now=service.clock.now(),
    )


Granting = Callable[[Service, Client, Form], Awaitable[ClientToken]]
GRANTS: Mapping[str, Granting] = {GrantType.CLIENT_CREDENTIALS: _client_credentials}


def _granted_by(client: Client, form: Form) -> Granting:
    """
    What grants the type that a client asks for.

    Raises:
        MissingParameter, UnsupportedGrantType, UnauthorizedClient: It asks for none, for one that
            there is not, or for one that is not this client's.
    """
    grant_type = form.parameters.get("grant_type")
    if grant_type is None:
        raise oauth_errors.MissingParameter("no_grant_type")
    if grant_type not in GRANTS:
        raise oauth_errors.UnsupportedGrantType
    if grant_type not in client.grant_types:
        raise oauth_errors.UnauthorizedClient("grant_type")
    return GRANTS[grant_type]
