"""
Verify our own access tokens (RFC 9068 §4, RFC 7515 §5.2), as strictly as we write them.

The verifier knows one form: compact serialisation, header exactly `alg typ kid`, RS256,
`typ: at+jwt` in that very spelling (we never write `application/at+jwt`), canonical base64url,
integer dates. There is no option that relaxes any of it, and the only exception that leaves
this module is `Unauthenticated`, whatever arrives.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from uuid import UUID

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256

from authsvc_client.tokens import base64url, json_object
from authsvc_client.tokens.claims import AccessTokenClaims, moment
from authsvc.protocol.errors import Unauthenticated

MAX_LENGTH = 8192  # characters; ours stay under 900, and nothing is decoded before this check
LEEWAY = timedelta(seconds=30)
LATEST = 253_402_300_799  # 9999-12-31T23:59:59Z, the last moment that datetime can hold

LATEST_VER = 2**31 - 1

HEADER_MEMBERS = {"alg", "typ", "kid"}
COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", re.ASCII)
KID = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)  # a SHA-256 thumbprint (RFC 7638)

PADDING = PKCS1v15()
DIGEST = SHA256()


def verify_access_token(
    token: str,
    *,
    public_key: Callable[[str], RSAPublicKey | None],
    issuer: str,
    audience: str | None,
    now: datetime,
    leeway: timedelta = LEEWAY,
) -> AccessTokenClaims:
    """
    The claims of a token that is authentic, meant for us, and valid now.

    Args:
        token: What the caller presented.
        public_key: Our key of that `kid`; None if we publish none. Nothing in the token itself
            is ever used as a key or fetched (RFC 7515 §4.1.2-4.1.6).
        issuer: The exact `iss`.
        audience: Must be (in) `aud`; None where the caller looks at it itself.
        leeway: Between our clock and the issuer's, both ways.

    Raises:
        Unauthenticated: It is not; `detail` is a word from a closed set.
    """
    claims = verify_authentic(token, public_key=public_key, issuer=issuer, audience=audience)
    if now >= claims.exp + leeway:
        raise Unauthenticated("expired")
    if now < claims.nbf - leeway or now < claims.iat - leeway:
        raise Unauthenticated("not_yet_valid")
    return claims


def verify_authentic(
    token: str,
    *,
    public_key: Callable[[str], RSAPublicKey | None],
    issuer: str,
    audience: str | None,
) -> AccessTokenClaims:
    """
    The claims of a token that we did issue, whenever that was: what a logout needs.

    Args:
        token: As `verify_access_token`, and so are the others.

    Raises:
        Unauthenticated: It is not ours, or not for us.
    """
    # Size and form first: they cost nothing, whatever the length.
    if not isinstance(token, str) or len(token) > MAX_LENGTH or not COMPACT.fullmatch(token):
        raise Unauthenticated("malformed")
    signed, _, signature_part = token.rpartition(".")
    header_part, _, payload_part = signed.partition(".")
    kid = _key_id(_json_object(_decode(header_part)))
    key = public_key(kid)
    if key is None:
        raise Unauthenticated("unknown_kid")
    try:
        key.verify(_decode(signature_part), signed.encode("ascii"), PADDING, DIGEST)
    except (InvalidSignature, ValueError):
        raise Unauthenticated("bad_signature") from None
    return _claims(_json_object(_decode(payload_part)), kid, issuer=issuer, audience=audience)


def _key_id(header: dict[str, object]) -> str:
    """
    The `kid` of a header that is exactly ours.

    An unknown member is refused rather than ignored: `crit` and `b64` would change what the
    rest means, `jwk jku x5u x5c` would bring a key along (RFC 8725 §3.10, RFC 7515 §4.1.11).
    """
    kid = header.get("kid")
    if (
        set(header) != HEADER_MEMBERS
        or header["alg"] != "RS256"
        or header["typ"] != "at+jwt"
        or not isinstance(kid, str)
        or not KID.fullmatch(kid)
    ):
        raise Unauthenticated("bad_header")
    return kid


def _claims(
    payload: dict[str, object], kid: str, *, issuer: str, audience: str | None
) -> AccessTokenClaims:
    """Check every claim we know by type; `iss` and `aud` by value."""
    iss = _text(payload, "iss")
    aud = _audiences(payload.get("aud"))
    if iss != issuer:
        raise Unauthenticated("wrong_issuer")
    if audience is not None and audience not in aud:
        raise Unauthenticated("wrong_audience")
    exp, iat, nbf = (_moment(payload[name]) for name in _present(payload, "exp", "iat", "nbf"))
    if iat >= exp or nbf >= exp:
        raise Unauthenticated("bad_claims")
    return AccessTokenClaims(
        iss=iss,
        sub=_text(payload, "sub"),
        aud=aud,
        exp=exp,
        iat=iat,
        nbf=nbf,
        jti=_text(payload, "jti"),
        client_id=_text(payload, "client_id"),
        sid=_uuid(_text(payload, "sid")) if "sid" in payload else None,
        scope=_text(payload, "scope") if "scope" in payload else "",
        roles=_texts(payload.get("roles", [])),
        auth_time=_moment(payload["auth_time"]) if "auth_time" in payload else None,
        amr=_texts(payload.get("amr", [])),
        ver=_version(payload["ver"]) if "ver" in payload else None,
        kid=kid,
    )


def _decode(part: str) -> bytes:
    try:
        return base64url.decode(part)
    except ValueError:
        raise Unauthenticated("malformed") from None


def _json_object(data: bytes) -> dict[str, object]:
    try:
        return json_object.decode(data)
    except ValueError:
        raise Unauthenticated("malformed") from None


def _present(payload: dict[str, object], *names: str) -> tuple[str, ...]:
    if any(name not in payload for name in names):
        raise Unauthenticated("bad_claims")
    return names


def _text(payload: dict[str, object], name: str) -> str:
    value = payload.get(name)
    if not isinstance(value, str) or not value:
        raise Unauthenticated("bad_claims")
    return value


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise Unauthenticated("bad_claims")
    return tuple(value)


def _audiences(value: object) -> tuple[str, ...]:
    """`aud` is one string or an array of them (RFC 7519 §4.1.3)."""
    return (value,) if isinstance(value, str) else _texts(value)


def _moment(value: object) -> datetime:
    """A NumericDate; ours are whole seconds. A bool is an int in Python, so it is named here."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= LATEST:
        raise Unauthenticated("bad_claims")
    return moment(value)


def _version(value: object) -> int:
    """A version of claims: a number from 1 on."""
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= LATEST_VER:
        raise Unauthenticated("bad_claims")
    return value


def _uuid(text: str) -> UUID:
    try:
        value = UUID(text)
    except ValueError:
        raise Unauthenticated("bad_claims") from None
    if str(value) != text:
        raise Unauthenticated("bad_claims")
    return value
