"""What the OAuth endpoints have in common: a form, and the client that sent it."""

from __future__ import annotations

from typing import Any

from fastapi import Request

from authsvc.flows.client_authentication import ClientAttempt, authenticate_client
from authsvc.http.request.caller import caller
from authsvc.http.request.client_ip import client_network
from authsvc.http.request.content_type import require_content_type
from authsvc.http.request.service import Service
from authsvc.protocol.client_auth import JWT_BEARER, PresentedClient, presented_client
from authsvc.protocol.clients import Client
from authsvc.protocol.form import Form, read_form
from authsvc.protocol.oauth_errors import MissingParameter, QueryNotAllowed, SeveralCredentials
from authsvc_client.tokens.secret import Secret

FORM = "application/x-www-form-urlencoded"

CREDENTIALS: dict[str, Any] = {
    "client_id": {
        "type": "string",
        "description": "With `client_secret_post`; beside another credential, the same client.",
        "examples": ["shop"],
    },
    "client_secret": {
        "type": "string",
        "format": "password",
        "description": "With `client_secret_post`.",
    },
    "client_assertion_type": {
        "type": "string",
        "enum": [JWT_BEARER],
        "description": "With `private_key_jwt` (RFC 7523 §2.2).",
    },
    "client_assertion": {
        "type": "string",
        "description": (
            "With `private_key_jwt`: a JWT with `iss` and `sub` = the client's id, `aud` = our "
            "issuer and nothing else, `exp` at most 5 minutes ahead, a `jti` that is used once."
        ),
    },
}
# A secret may also stand in the form, and an assertion always does.
SECURITY: list[dict[str, Any]] = [{"client_secret_basic": []}, {}]


def form_body(
    properties: dict[str, Any], *, required: list[str], example: dict[str, str]
) -> dict[str, Any]:
    """
    A request body for the OpenAPI document; the credentials are added.

    Args:
        example: A request without its credentials.
    """
    by_assertion = {"client_assertion_type": JWT_BEARER, "client_assertion": "eyJhbGciOiJFUzI1…"}
    by_secret = {"client_id": "shop", "client_secret": "acs1.AAAAAAAA…"}
    schema = {"type": "object", "required": required, "properties": {**properties, **CREDENTIALS}}
    examples = {
        "client_secret_basic": {"summary": "With an Authorization header", "value": example},
        "client_secret_post": {"value": {**example, **by_secret}},
        "private_key_jwt": {"value": {**example, **by_assertion}},
    }
    content = {FORM: {"schema": schema, "examples": examples}}
    return {"requestBody": {"required": True, "content": content}}


# Of a request about a token.
TOKEN_BODY = form_body(
    {
        "token": {"type": "string"},
        "token_type_hint": {
            "type": "string",
            "description": "Not needed: every token says what it is.",
            "examples": ["access_token"],
        },
    },
    required=["token"],
    example={"token": "eyJhbGciOiJSUzI1NiIs…"},
)


async def form_of(request: Request) -> Form:
    """
    The parameters of a request.

    Raises:
        UnsupportedMediaType: They are in another format.
        PayloadTooLarge, InvalidRequest: See `read_form`.
    """
    require_content_type(request.headers, FORM)
    form = read_form(await request.body())
    if request.scope["query_string"]:
        # Proxies log queries, and a credential there would be in all of them.
        raise QueryNotAllowed("query")
    return form


def presented_by(request: Request, form: Form) -> PresentedClient:
    """
    The one credential of a request; its log line then names the client.

    Raises:
        InvalidRequest, InvalidClient: See `presented_client`.
    """
    values = request.headers.getlist("authorization")
    if len(values) > 1:  # unreachable behind the edge, which refuses it
        raise SeveralCredentials("several_credentials")
    presented = presented_client(values[0] if values else None, form.parameters)
    request.state.facts = {"client_id": presented.client_id}
    return presented


async def authenticated(service: Service, request: Request, presented: PresentedClient) -> Client:
    """
    The authenticated client of a request (RFC 6749 §2.3).

    Raises:
        As `authenticate_client`.
    """
    who = caller(request)
    return await authenticate_client(
        service.db,
        attempt=ClientAttempt(presented, network=client_network(who.ip), caller=who),
        remote_keys=service.remote_keys,
        issuer=service.settings.issuer,
        limits=service.limits,
        now=service.clock.now(),
    )


def token_of(form: Form) -> Secret:
    """
    The `token` parameter.

    Raises:
        MissingParameter: There is none.
    """
    if "token" not in form.parameters:
        raise MissingParameter("no_token")
    return Secret(form.parameters["token"])
