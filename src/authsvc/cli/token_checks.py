"""What a verifier looks at in an access token, one check after another, in words."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256

from authsvc.cli.console import duration, printable, timestamp
from authsvc_client.tokens.access_token import LEEWAY
from authsvc_client.tokens.claims import LATEST, moment
from authsvc_client.tokens.jws import COMPACT, HEADER_MEMBERS, MAX_LENGTH

# Beyond what the individual checks say: `Unauthenticated.detail` of the verifier itself.
STRICTER = {
    "malformed": "its base64url or its JSON is not in the one strict form (padding, stray bits, "
    "duplicate members)",
    "bad_header": "its header is not exactly alg, typ and kid of our form",
    "bad_claims": "a claim has a value that access tokens never have",
}
REQUIRED = ("iss", "sub", "aud", "exp", "iat", "nbf", "jti", "client_id")


@dataclass(frozen=True, slots=True)
class Check:
    """
    One thing that was looked at.

    Args:
        passed: None = it could not be checked.
        words: A clause that goes on after the check's name.
    """

    name: str
    passed: bool | None
    words: str


@dataclass(frozen=True, slots=True)
class FoundKey:
    """
    What is known of a `kid`.

    Args:
        public_key: None = no verifier would use one of that name.
        words: Where it comes from, or why it is not used.
        searched: False if there was nowhere to look.
    """

    public_key: RSAPublicKey | None
    words: str
    searched: bool = True


FindKey = Callable[[str], FoundKey]


@dataclass(frozen=True, slots=True)
class Unverified:
    """The parts of a token as they stand there; None where they cannot be read."""

    header: dict[str, object] | None
    claims: dict[str, object] | None


def decode(token: str) -> Unverified:
    """Read a token as leniently as possible, trusting nothing of it."""
    parts = token.split(".")
    header, claims = (_json(part) for part in (*parts, "", "")[:2])
    return Unverified(header, claims)


def check_access_token(
    token: str,
    unverified: Unverified,
    *,
    find_key: FindKey,
    issuer: str,
    audience: str,
    now: datetime,
) -> Iterator[Check]:
    """Look at everything, also after something has failed."""
    yield _form(token)
    header, claims = unverified.header, unverified.claims
    if header is None:
        yield Check("header", passed=False, words="cannot be read as a JSON object")
    else:
        yield from _header(header)
        yield from _signature(token, header.get("kid"), find_key)
    if claims is None:
        yield Check("claims", passed=False, words="cannot be read as a JSON object")
        return
    yield _equal("issuer", claims.get("iss"), issuer)
    yield _audience(claims.get("aud"), audience)
    yield from _times(claims, now)
    missing = [name for name in REQUIRED if name not in claims]
    if missing:
        yield Check("claims", passed=False, words=f"{', '.join(missing)} must be there and are not")


def _form(token: str) -> Check:
    if len(token) > MAX_LENGTH:
        words = f"has {len(token)} characters, more than the {MAX_LENGTH} that are ever read"
        return Check("form", passed=False, words=words)
    if not COMPACT.fullmatch(token):
        words = "is not three parts of unpadded base64url with two dots between"
        return Check("form", passed=False, words=words)
    return Check("form", passed=True, words=f"is a compact JWS of {len(token)} characters")


def _header(header: dict[str, object]) -> Iterator[Check]:
    alg, typ = header.get("alg"), header.get("typ")
    if alg == "RS256":
        yield Check("alg", passed=True, words="is RS256")
    elif isinstance(alg, str) and alg.lower() == "none":
        yield Check("alg", passed=False, words="is none: unsigned, so it proves nothing")
    else:
        words = f"is {_shown(alg)}; only RS256 is accepted, for any key"
        yield Check("alg", passed=False, words=words)
    if typ == "at+jwt":
        yield Check("typ", passed=True, words="is at+jwt, an access token (RFC 9068)")
    else:
        words = f"is {_shown(typ)} and not at+jwt: some other kind of token"
        yield Check("typ", passed=False, words=words)
    extra = sorted(set(header) - HEADER_MEMBERS)
    if extra:
        named = ", ".join(_shown(name) for name in extra)
        words = f"also holds {named}; keys and rules are never taken from a token"
        yield Check("header", passed=False, words=words)


def _signature(token: str, kid: object, find_key: FindKey) -> Iterator[Check]:
    if not isinstance(kid, str):
        yield Check("kid", passed=False, words="is missing, so there is no key to try")
        return
    found = find_key(kid)
    if found.public_key is None:
        yield Check("kid", passed=False if found.searched else None, words=found.words)
        yield Check("signature", passed=None, words="cannot be checked without the key")
        return
    yield Check("kid", passed=True, words=found.words)
    signed, _, signature = token.rpartition(".")
    try:
        found.public_key.verify(
            _bytes(signature) or b"", signed.encode("utf-8", "replace"), PKCS1v15(), SHA256()
        )
    except (InvalidSignature, ValueError):
        words = "is not of that key: the token was changed, or made by another issuer"
        yield Check("signature", passed=False, words=words)
    else:
        yield Check("signature", passed=True, words="is of that key")


def _equal(name: str, found: object, wanted: str) -> Check:
    if found == wanted:
        return Check(name, passed=True, words=f"is {wanted}")
    return Check(name, passed=False, words=f"is {_shown(found)} and not {wanted}")


def _audience(found: object, wanted: str) -> Check:
    audiences = found if isinstance(found, list) else [found]
    if wanted in audiences:
        return Check("audience", passed=True, words=f"names {wanted}")
    named = ", ".join(_shown(audience) for audience in audiences)
    return Check("audience", passed=False, words=f"is {named}; it is not meant for {wanted}")


def _times(claims: dict[str, object], now: datetime) -> Iterator[Check]:
    exp = _moment(claims.get("exp"))
    if exp is None:
        yield Check("exp", passed=False, words=f"is {_shown(claims.get('exp'))}, not a date")
    elif now >= exp + LEEWAY:
        words = f"was {timestamp(exp)}: it expired {duration(now - exp)} ago"
        yield Check("exp", passed=False, words=words)
    elif now >= exp:
        leeway = duration(LEEWAY)
        words = f"expired {duration(now - exp)} ago, which the leeway of {leeway} still allows"
        yield Check("exp", passed=True, words=words)
    else:
        words = f"is {timestamp(exp)}: it expires in {duration(exp - now)}"
        yield Check("exp", passed=True, words=words)
    for name in ("nbf", "iat"):
        begin = _moment(claims.get(name))
        if begin is None:
            yield Check(name, passed=False, words=f"is {_shown(claims.get(name))}, not a date")
        elif now < begin - LEEWAY:
            words = (
                f"is {timestamp(begin)}: it is not valid for {duration(begin - now)} yet; compare "
                "the clocks"
            )
            yield Check(name, passed=False, words=words)
        else:
            words = f"was {timestamp(begin)}, {_since(now - begin)}"
            yield Check(name, passed=True, words=words)


def _since(span: timedelta) -> str:
    return f"{duration(span)} ago" if span >= timedelta(0) else f"in {duration(span)}"


def _moment(value: object) -> datetime | None:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= LATEST:
        return None
    return moment(value)


def _shown(value: object) -> str:
    """A stranger's value in a sentence: short, and harmless on a terminal."""
    if value is None:
        return "missing"
    text = printable(value if isinstance(value, str) else json.dumps(value))
    return text if len(text) <= 80 else f"{text[:79]}…"  # noqa: PLR2004 - a line


def _json(part: str) -> dict[str, object] | None:
    data = _bytes(part)
    if data is None:
        return None
    try:
        value = json.loads(data, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _no_constant(name: str) -> object:
    """NaN and Infinity are not JSON, and could not be printed as such."""
    raise ValueError(name)


def _bytes(part: str) -> bytes | None:
    """Base64url in any spelling."""
    try:
        return base64.urlsafe_b64decode(part.rstrip("=") + "=" * (-len(part.rstrip("=")) % 4))
    except ValueError:
        return None
