"""
What a gateway hands to a service behind it about the caller: a JWS of `typ` `ia+jwt`.

It is no access token: another `typ`, an audience of its own for each service, and a life of a
minute. It says what the access token says that the gateway was shown, so that a service need not
trust headers that anybody on its network could send.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Optional
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from authsvc_client.tokens.access_token import LEEWAY
from authsvc_client.tokens.claims import claim_moment, claim_text, claim_texts, claim_uuid
from authsvc_client.tokens.errors import (
    BadClaims,
    Expired,
    NotYetValid,
    WrongAudience,
    WrongIssuer,
)
from authsvc_client.tokens.jws import Jws

TYP = "ia+jwt"
LIFE = timedelta(seconds=60)


@dataclass(frozen=True)
class IdentityClaims:
    """
    The user of a request that a gateway passes on; times are aware and in UTC.

    Args:
        sub: The user's id.
        sid: The session's id.
        scope: RFC 6749 §3.3 scope tokens, space separated; empty = none.
        auth_time: When the user last proved who they are.
    """

    iss: str
    sub: str
    aud: str
    exp: datetime
    iat: datetime
    jti: str
    sid: UUID
    roles: tuple[str, ...]
    scope: str
    auth_time: Optional[datetime]  # as in AccessTokenClaims
    amr: tuple[str, ...]


def audience(upstream: str) -> str:
    """The `aud` of assertions for one service."""
    return f"urn:authsvc:upstream:{upstream}"


def verify_identity_assertion(
    jws: Jws,
    key: RSAPublicKey,
    *,
    issuer: str,
    upstream: str,
    now: datetime,
    leeway: timedelta = LEEWAY,
) -> IdentityClaims:
    """
    The claims of an assertion that is authentic, meant for this service, and valid now.

    Args:
        jws: What `jws.read` made of the value of X-Identity-Assertion.
        key: The issuer's key of its `kid`.
        issuer: The exact `iss`.
        upstream: The name of this service.
        leeway: Between our clock and the issuer's, both ways.

    Raises:
        InvalidToken: It is not; the class says why.
    """
    claims = _read_claims(jws.verify(key))
    if claims.iss != issuer:
        raise WrongIssuer
    if claims.aud != audience(upstream):
        raise WrongAudience
    if not timedelta(0) < claims.exp - claims.iat <= LIFE:
        raise BadClaims
    if now >= claims.exp + leeway:
        raise Expired
    if now < claims.iat - leeway:
        raise NotYetValid
    return claims


def _read_claims(payload: dict[str, object]) -> IdentityClaims:
    if "roles" not in payload:
        raise BadClaims
    return IdentityClaims(
        iss=claim_text(payload, "iss"),
        sub=claim_text(payload, "sub"),
        aud=claim_text(payload, "aud"),
        exp=claim_moment(payload, "exp"),
        iat=claim_moment(payload, "iat"),
        jti=claim_text(payload, "jti"),
        sid=claim_uuid(payload, "sid"),
        roles=claim_texts(payload, "roles"),
        scope=claim_text(payload, "scope") if "scope" in payload else "",
        auth_time=claim_moment(payload, "auth_time") if "auth_time" in payload else None,
        amr=claim_texts(payload, "amr"),
    )
