"""The claims of an access token (RFC 9068 §2.2), read from a payload that is authentic."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Optional
from uuid import UUID

from authsvc_client.tokens.errors import BadClaims

LATEST = 253_402_300_799  # 9999-12-31T23:59:59Z, the last moment that datetime can hold
LATEST_VER = 2**31 - 1
ROLE_NAME = re.compile(r"[A-Za-z0-9_.:-]{1,64}", re.ASCII)


@dataclass(frozen=True)
class AccessTokenClaims:
    """
    The verified claims of an access token; moments are aware and in UTC.

    Args:
        ver: The version of what it says of a user; None for a client's own token.
        kid: Of the key that signed it: of the header, for whoever must know of revoked keys.
    """

    iss: str
    sub: str
    aud: tuple[str, ...]
    exp: datetime
    iat: datetime
    nbf: datetime
    jti: str
    client_id: str
    # Optional, since frameworks evaluate these, and Python 3.9 has no other spelling.
    sid: Optional[UUID] = None
    scope: str = ""
    roles: tuple[str, ...] = ()
    auth_time: Optional[datetime] = None
    amr: tuple[str, ...] = ()
    ver: Optional[int] = None
    kid: str = ""


def read_claims(payload: Mapping[str, object], *, kid: str) -> AccessTokenClaims:
    """
    The claims of an authentic payload, each checked by type.

    Args:
        kid: Of the key that signed it.

    Raises:
        BadClaims: One is missing, or has a value that access tokens never have.
    """
    exp, iat, nbf = (claim_moment(payload, name) for name in ("exp", "iat", "nbf"))
    if iat >= exp or nbf >= exp:
        raise BadClaims
    return AccessTokenClaims(
        iss=claim_text(payload, "iss"),
        sub=claim_text(payload, "sub"),
        aud=audiences(payload),
        exp=exp,
        iat=iat,
        nbf=nbf,
        jti=claim_text(payload, "jti"),
        client_id=claim_text(payload, "client_id"),
        sid=claim_uuid(payload, "sid") if "sid" in payload else None,
        scope=claim_text(payload, "scope") if "scope" in payload else "",
        roles=claim_texts(payload, "roles"),
        auth_time=claim_moment(payload, "auth_time") if "auth_time" in payload else None,
        amr=claim_texts(payload, "amr"),
        ver=_integer(payload["ver"], 1, LATEST_VER) if "ver" in payload else None,
        kid=kid,
    )


def audiences(payload: Mapping[str, object]) -> tuple[str, ...]:
    """`aud`: one string, or an array of them (RFC 7519 §4.1.3)."""
    value = payload.get("aud")
    if "aud" not in payload:
        raise BadClaims
    return (value,) if isinstance(value, str) else claim_texts(payload, "aud")


def claim_text(payload: Mapping[str, object], name: str) -> str:
    """A claim that must be there and say something."""
    value = payload.get(name)
    if not isinstance(value, str) or not value:
        raise BadClaims
    return value


def claim_texts(payload: Mapping[str, object], name: str) -> tuple[str, ...]:
    """A claim that is an array of strings; none where it is missing."""
    value = payload.get(name, [])
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise BadClaims
    return tuple(value)


def claim_moment(payload: Mapping[str, object], name: str) -> datetime:
    """A NumericDate that must be there; ours are whole seconds (RFC 7519 §2)."""
    return moment(_integer(payload.get(name), 0, LATEST))


def claim_uuid(payload: Mapping[str, object], name: str) -> UUID:
    """A UUID in its one spelling."""
    text = claim_text(payload, name)
    try:
        value = UUID(text)
    except ValueError:
        raise BadClaims from None
    if str(value) != text:
        raise BadClaims
    return value


def moment(seconds: float) -> datetime:
    """A NumericDate (RFC 7519 §2) as an aware datetime."""
    return datetime.fromtimestamp(seconds, timezone.utc)


def _integer(value: object, least: int, most: int) -> int:
    """A bool is an int in Python, so it is named here."""
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise BadClaims
    return value
