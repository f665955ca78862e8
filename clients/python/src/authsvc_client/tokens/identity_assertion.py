"""
What a gateway hands to a service behind it about the caller: a JWS of `typ` `ia+jwt`.

It is no access token: another `typ`, an audience of its own for each service, and a life of a
minute. It says what the access token says that the gateway was shown, so that a service need not
trust headers that anybody on its network could send. Written and read as strictly as our access
tokens: compact, header exactly `alg typ kid`, RS256, canonical base64url, integer dates.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from authsvc_client.tokens import base64url, json_object
from authsvc_client.tokens.access_token import (
    COMPACT,
    DIGEST,
    HEADER_MEMBERS,
    KID,
    LATEST,
    LEEWAY,
    MAX_LENGTH,
    PADDING,
)
from authsvc_client.tokens.claims import AccessTokenClaims, moment
from authsvc.protocol.errors import Unauthenticated

TYP = "ia+jwt"
LIFE = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class IdentityClaims:
    """
    Whose request a gateway passes on; moments are aware and in UTC.

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
    auth_time: datetime | None
    amr: tuple[str, ...]


def audience(upstream: str) -> str:
    """The `aud` of assertions for one service."""
    return f"urn:authsvc:upstream:{upstream}"


def to_json(
    token: AccessTokenClaims, *, upstream: str, jti: str, now: datetime
) -> dict[str, object]:
    """
    The payload of an assertion about the bearer of an access token that is valid now.

    It ends when no verifier would take the token any more, if that is sooner than a minute.
    """
    iat = int(now.timestamp())
    end = min(moment(iat) + LIFE, token.exp + LEEWAY)
    claims: dict[str, object] = {
        "iss": token.iss,
        "sub": token.sub,
        "aud": audience(upstream),
        "exp": int(end.timestamp()),
        "iat": iat,
        "jti": jti,
        "sid": str(token.sid),
        "roles": list(token.roles),
    }
    if token.scope:
        claims["scope"] = token.scope
    if token.auth_time is not None:
        claims["auth_time"] = int(token.auth_time.timestamp())
    if token.amr:
        claims["amr"] = list(token.amr)
    return claims


def verify_identity_assertion(
    assertion: str,
    *,
    public_key: Callable[[str], RSAPublicKey | None],
    issuer: str,
    upstream: str,
    now: datetime,
    leeway: timedelta = LEEWAY,
) -> IdentityClaims:
    """
    The claims of an assertion that is authentic, meant for this service, and valid now.

    Args:
        assertion: The value of X-Identity-Assertion.
        public_key: The issuer's key of that `kid`; None if it publishes none.
        issuer: The exact `iss`.
        upstream: The name of this service.
        leeway: Between our clock and the issuer's, both ways.

    Raises:
        Unauthenticated: It is not; `detail` is a word from a closed set.
    """
    claims = _claims(_payload(assertion, public_key))
    if claims.iss != issuer:
        raise Unauthenticated("wrong_issuer")
    if claims.aud != audience(upstream):
        raise Unauthenticated("wrong_audience")
    if not timedelta(0) < claims.exp - claims.iat <= LIFE:
        raise Unauthenticated("bad_claims")
    if now >= claims.exp + leeway:
        raise Unauthenticated("expired")
    if now < claims.iat - leeway:
        raise Unauthenticated("not_yet_valid")
    return claims


def _payload(assertion: str, public_key: Callable[[str], RSAPublicKey | None]) -> dict[str, object]:
    """What is signed; size and form come first, since they cost nothing whatever the length."""
    if len(assertion) > MAX_LENGTH or not COMPACT.fullmatch(assertion):
        raise Unauthenticated("malformed")
    signed, _, signature_part = assertion.rpartition(".")
    header_part, _, payload_part = signed.partition(".")
    key = public_key(_key_id(_object(header_part)))
    if key is None:
        raise Unauthenticated("unknown_kid")
    try:
        key.verify(base64url.decode(signature_part), signed.encode("ascii"), PADDING, DIGEST)
    except (InvalidSignature, ValueError):
        raise Unauthenticated("bad_signature") from None
    return _object(payload_part)


def _object(part: str) -> dict[str, object]:
    try:
        return json_object.decode(base64url.decode(part))
    except ValueError:
        raise Unauthenticated("malformed") from None


def _key_id(header: dict[str, object]) -> str:
    kid = header.get("kid")
    if (
        set(header) != HEADER_MEMBERS
        or header["alg"] != "RS256"
        or header["typ"] != TYP
        or not isinstance(kid, str)
        or not KID.fullmatch(kid)
    ):
        raise Unauthenticated("bad_header")
    return kid


def _claims(payload: dict[str, object]) -> IdentityClaims:
    try:
        return IdentityClaims(
            iss=_text(payload["iss"]),
            sub=_text(payload["sub"]),
            aud=_text(payload["aud"]),
            exp=_moment(payload["exp"]),
            iat=_moment(payload["iat"]),
            jti=_text(payload["jti"]),
            sid=_uuid(_text(payload["sid"])),
            roles=_texts(payload["roles"]),
            scope=_text(payload["scope"]) if "scope" in payload else "",
            auth_time=_moment(payload["auth_time"]) if "auth_time" in payload else None,
            amr=_texts(payload.get("amr", [])),
        )
    except (KeyError, ValueError):
        raise Unauthenticated("bad_claims") from None


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("no text")
    return value


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ValueError("no list")  # noqa: TRY004 - one kind of refusal for all
    return tuple(_text(item) for item in value)


def _moment(value: object) -> datetime:
    """A NumericDate in whole seconds (RFC 7519 §2); a bool is an int in Python."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= LATEST:
        raise ValueError("no moment")
    return moment(value)


def _uuid(text: str) -> UUID:
    value = UUID(text)
    if str(value) != text:
        raise ValueError("another spelling")
    return value
