"""
Verify our own access tokens (RFC 9068 §4), as strictly as we write them.

    jws = read(token, TYP)
    claims = verify_access_token(jws, keys[jws.kid], issuer=…, audience=…, now=…)

The only exception that leaves this module is an `InvalidToken`, whatever arrives.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from authsvc_client.tokens.claims import AccessTokenClaims, audiences, claim_text, read_claims
from authsvc_client.tokens.errors import Expired, NotYetValid, WrongAudience, WrongIssuer
from authsvc_client.tokens.jws import Jws

TYP = "at+jwt"  # in that very spelling: we never write `application/at+jwt`
LEEWAY = timedelta(seconds=30)


def verify_access_token(
    jws: Jws,
    key: RSAPublicKey,
    *,
    issuer: str,
    audience: str | None,
    now: datetime,
    leeway: timedelta = LEEWAY,
) -> AccessTokenClaims:
    """
    The claims of a token that is authentic, meant for us, and valid now.

    Args:
        jws: What `jws.read` made of it.
        key: The issuer's key of its `kid`.
        issuer: The exact `iss`.
        audience: Must be (in) `aud`; None where the caller looks at it itself.
        leeway: Between our clock and the issuer's, both ways.

    Raises:
        InvalidToken: It is not; the class says why.
    """
    payload = jws.verify(key)
    return check_claims(
        payload, kid=jws.kid, issuer=issuer, audience=audience, now=now, leeway=leeway
    )


def check_claims(
    payload: Mapping[str, object],
    *,
    kid: str,
    issuer: str,
    audience: str | None,
    now: datetime,
    leeway: timedelta = LEEWAY,
) -> AccessTokenClaims:
    """
    Check the claims of an access token whose signature has been verified.

    Raises:
        InvalidToken: Not the issuer's, not for us, or not valid now.
    """
    claims = _read_claims(payload, kid=kid, issuer=issuer, audience=audience)
    # Arithmetic on `now`, since a claim may be the last moment that datetime can hold.
    if now - leeway >= claims.exp:
        raise Expired
    if now + leeway < max(claims.nbf, claims.iat):
        raise NotYetValid
    return claims


def verify_authentic(
    jws: Jws, key: RSAPublicKey, *, issuer: str, audience: str | None
) -> AccessTokenClaims:
    """
    The claims of a token that was issued, whenever that was: what a logout needs.

    Raises:
        InvalidToken: It is not the issuer's, or not for us.
    """
    return _read_claims(jws.verify(key), kid=jws.kid, issuer=issuer, audience=audience)


def _read_claims(
    payload: Mapping[str, object], *, kid: str, issuer: str, audience: str | None
) -> AccessTokenClaims:
    if claim_text(payload, "iss") != issuer:
        raise WrongIssuer
    if audience is not None and audience not in audiences(payload):
        raise WrongAudience
    return read_claims(payload, kid=kid)
