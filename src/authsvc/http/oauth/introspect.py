"""POST /oauth/introspect (RFC 7662)."""

from typing import Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field
from starlette.responses import JSONResponse

from authsvc.flows.introspect import introspect
from authsvc.http.request.oauth_request import (
    TOKEN_BODY,
    authenticated,
    form_of,
    presented_by,
    token_of,
)
from authsvc.http.request.service import service_of
from authsvc.http.response.oauth_errors import INTROSPECTION_PATH, NO_STORE, oauth_refusals
from authsvc.observe.metrics import introspection_total
from authsvc_client.tokens.claims import AccessTokenClaims

router = APIRouter()

INACTIVE: dict[str, object] = {"active": False}


class Introspection(BaseModel):
    """What a token is worth (RFC 7662 §2.2); of an inactive one nothing else is told."""

    active: bool
    token_type: Literal["Bearer"] | None = None
    iss: str | None = Field(default=None, examples=["https://auth.example.com"])
    sub: str | None = Field(default=None, examples=["shop"])
    aud: str | list[str] | None = Field(default=None, examples=["https://orders.example.com"])
    client_id: str | None = Field(default=None, examples=["shop"])
    scope: str | None = Field(default=None, examples=["orders:read"])
    exp: int | None = Field(default=None, examples=[1795255200])
    iat: int | None = Field(default=None, examples=[1795254300])
    nbf: int | None = Field(default=None, examples=[1795254270])
    jti: str | None = Field(default=None, examples=["9dN1cCkTS1nN9V4Y2hG1tA"])
    sid: str | None = Field(default=None, description="A user's session.")
    roles: list[str] | None = Field(default=None, description="A user's current roles.")
    auth_time: int | None = Field(default=None, description="When the user logged in.")
    amr: list[str] | None = Field(default=None, description="How the user logged in.")


@router.post(
    INTROSPECTION_PATH,
    name="introspect",
    response_model=Introspection,
    tags=["clients"],
    summary="Ask whether a token is active",
    responses=oauth_refusals(),
    openapi_extra=TOKEN_BODY,
)
async def post(request: Request) -> JSONResponse:
    """
    For services that must know of a revocation immediately.

    Asks the database whether the session and the account are active, or the client is and has not
    revoked the token. A token that is not for one of the caller's own audiences is inactive
    like any other, and so is a refresh token.
    """
    service = service_of(request)
    with introspection_total.refusals():
        form = await form_of(request)
        client = await authenticated(service, request, presented_by(request, form))
        claims = await introspect(
            service.db,
            service.issuer,
            client,
            token=token_of(form),
            now=service.clock.now(),
        )
    outcome = "inactive" if claims is None else "active"
    introspection_total.labels(outcome=outcome).inc()
    request.state.facts = {"client_id": client.client_id, "outcome": outcome}
    answer = INACTIVE if claims is None else _as_json(claims)
    return JSONResponse(answer, headers=NO_STORE)


def _as_json(claims: AccessTokenClaims) -> dict[str, object]:
    """A claim with nothing to say is left out, as in the token."""
    members: dict[str, object] = {
        "active": True,
        "token_type": "Bearer",
        "iss": claims.iss,
        "sub": claims.sub,
        "aud": claims.aud[0] if len(claims.aud) == 1 else list(claims.aud),
        "client_id": claims.client_id,
        "exp": int(claims.exp.timestamp()),
        "iat": int(claims.iat.timestamp()),
        "nbf": int(claims.nbf.timestamp()),
        "jti": claims.jti,
        "scope": claims.scope,
        "sid": str(claims.sid) if claims.sid else None,
        "roles": list(claims.roles),
        "auth_time": int(claims.auth_time.timestamp()) if claims.auth_time else None,
        "amr": list(claims.amr),
    }
    return {name: value for name, value in members.items() if value}
