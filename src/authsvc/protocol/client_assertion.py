"""
Verify the assertion of a client, `private_key_jwt` (RFC 7523 §3 with draft-ietf-oauth-rfc7523bis).

The audience is our issuer, as a string and nothing else: an assertion that is good at two
servers could be carried from the one to the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from authsvc.protocol.client_keys import ALGORITHMS, ClientKey, signature_is_good
from authsvc.protocol.oauth_errors import InvalidClient
from authsvc_client.tokens import base64url, json_object
from authsvc_client.tokens.claims import LATEST, moment
from authsvc_client.tokens.jws import COMPACT, MAX_LENGTH
from authsvc_client.tokens.secret import Secret

MAX_JTI = 255  # characters
MAX_LIFETIME = timedelta(minutes=5)
LEEWAY = timedelta(seconds=30)  # between the client's clock and ours, both ways

# An access token, an id token or a proof of possession is no assertion (RFC 8725 §3.11).
TYPES = frozenset({"JWT", "client-authentication+jwt"})
# They would bring a key along, or change what the rest means (RFC 8725 §3.10, RFC 7515 §4.1.11).
REFUSED_MEMBERS = frozenset({"crit", "b64", "jwk", "jku", "x5u", "x5c", "zip"})


@dataclass(frozen=True, slots=True)
class Assertion:
    """
    An assertion that is authentic and valid now, if its `jti` was not used before.

    Args:
        expires_at: When it is refused for its age, our leeway included; so long its `jti` has
            to be remembered.
    """

    client_id: str
    jti: str
    expires_at: datetime


def unverified_client_id(assertion: Secret) -> str:
    """
    The unverified `sub` of an assertion, by which the key is found. Nothing is proved yet.

    Raises:
        InvalidClient: It is not a JWT with a `sub`.
    """
    _, payload, _ = _parts(assertion)
    subject = payload.get("sub")
    if not isinstance(subject, str):
        raise InvalidClient("assertion_claims")
    return subject


def key_id(assertion: Secret) -> str | None:
    """
    The `kid` of the header; None without one.

    Raises:
        InvalidClient: It is not a text, or the header has no business here.
    """
    header, _, _ = _parts(assertion)
    kid = header.get("kid")
    if kid is not None and not isinstance(kid, str):
        raise InvalidClient("assertion_header")
    return kid


def verify_assertion(
    assertion: Secret, *, client_id: str, alg: str, key: ClientKey, issuer: str, now: datetime
) -> Assertion:
    """
    The assertion, if it is this client's, for us, and valid now.

    Args:
        alg: The algorithm of the client's registration; a name of ALGORITHMS.
        issuer: Our issuer.

    Raises:
        InvalidClient: It is not; `detail` is a word from a closed set.
    """
    header, payload, signature = _parts(assertion)
    typ = header.get("typ", "JWT")
    if (
        REFUSED_MEMBERS & set(header)
        or header.get("alg") not in ALGORITHMS[alg][2]
        or not isinstance(typ, str)
        or typ not in TYPES
    ):
        raise InvalidClient("assertion_header")
    signed = assertion.rpartition(".")[0].encode("ascii")
    if not signature_is_good(key.public_key, alg, signed=signed, signature=signature):
        raise InvalidClient("assertion_signature")
    return _checked(payload, client_id=client_id, issuer=issuer, now=now)


def _checked(
    payload: dict[str, object], *, client_id: str, issuer: str, now: datetime
) -> Assertion:
    jti = payload.get("jti")
    if (
        payload.get("iss") != client_id
        or payload.get("sub") != client_id
        or not isinstance(jti, str)
        or not 1 <= len(jti) <= MAX_JTI
    ):
        raise InvalidClient("assertion_claims")
    if payload.get("aud") != issuer:
        raise InvalidClient("assertion_audience")
    exp = _moment(payload.get("exp"))
    # Arithmetic on `now`, since `exp` may be the last moment that datetime can hold.
    if now - LEEWAY >= exp:
        raise InvalidClient("assertion_expired")
    issued = [_moment(payload[name]) for name in ("iat", "nbf") if name in payload]
    if any(now < begin - LEEWAY for begin in issued):
        raise InvalidClient("assertion_not_yet_valid")
    if exp - now > MAX_LIFETIME + LEEWAY:
        raise InvalidClient("assertion_lives_too_long")
    return Assertion(client_id=client_id, jti=jti, expires_at=exp + LEEWAY)


def _parts(assertion: Secret) -> tuple[dict[str, object], dict[str, object], bytes]:
    """Header, payload and signature; canonical base64url, no duplicate members."""
    if len(assertion) > MAX_LENGTH or not COMPACT.fullmatch(assertion):
        raise InvalidClient("malformed")
    header, payload, signature = assertion.split(".")
    try:
        return (
            json_object.decode(base64url.decode(header)),
            json_object.decode(base64url.decode(payload)),
            base64url.decode(signature),
        )
    except ValueError:
        raise InvalidClient("malformed") from None


def _moment(value: object) -> datetime:
    """A NumericDate (RFC 7519 §2), which may have a fraction; a bool is an int in Python."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= LATEST:
        raise InvalidClient("assertion_claims")
    return moment(value)
