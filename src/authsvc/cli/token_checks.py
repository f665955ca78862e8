"""What a verifier says to an access token: its own refusals, in words, with the figures."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from authsvc.cli.console import distance, printable, timestamp
from authsvc_client.tokens import json_object
from authsvc_client.tokens.access_token import TYP, check_claims
from authsvc_client.tokens.claims import LATEST, moment
from authsvc_client.tokens.errors import (
    BadClaims,
    BadHeader,
    BadSignature,
    Expired,
    InvalidToken,
    Malformed,
    NotYetValid,
    WrongAudience,
    WrongIssuer,
)
from authsvc_client.tokens.jws import HEADER_MEMBERS, KID, MAX_LENGTH, Jws, read

MAX_SHOWN = 80  # characters of a value
DATES = ("exp", "iat", "nbf", "auth_time")
NAMES = {"iss": "issuer", "aud": "audience"}
LISTED = ("iss", "aud", "exp", "nbf", "iat")  # also where nothing is wrong with them
STRICT = "of unpadded, canonical base64url and JSON objects without duplicate members"
OF_A_CLAIM: dict[type[InvalidToken] | None, str] = {
    None: "is {value}",
    WrongIssuer: "is {value} and not {issuer}",
    WrongAudience: "is {value}; it is not meant for {audience}",
    Expired: "is {value}: it has expired",
    NotYetValid: "is {value}: it is not valid yet; compare the clocks",
    BadClaims: "is {value}, a value that access tokens never have",
}


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


def ok(name: str, words: str) -> Check:
    """A check that passed."""
    return Check(name, True, words)


def refused(name: str, words: str) -> Check:
    """A check that did not."""
    return Check(name, False, words)


def decode(part: str) -> dict[str, object] | None:
    """A part of a token in any spelling of base64url; None where it is no JSON object."""
    text = part.rstrip("=")
    try:
        return json_object.decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except ValueError:
        return None


def date(name: str, value: object, now: datetime) -> str | None:
    """The date that a claim's number of seconds means; None where it is no date."""
    if name not in DATES or not isinstance(value, int) or not 1 < value <= LATEST:
        return None
    return f"{timestamp(moment(value))}, {distance(moment(value), now)}"


def check_access_token(
    token: str,
    *,
    header: Mapping[str, object] | None,
    claims: Mapping[str, object] | None,
    find_key: Callable[[str], tuple[RSAPublicKey | None, Check]],
    issuer: str,
    audience: str,
    now: datetime,
) -> Iterator[Check]:
    """
    Take the verifier's steps, and explain each refusal; look at the claims also after one.

    Args:
        header, claims: As `decode` shows them; None where they cannot be read.
    """
    try:
        jws = read(token, TYP)
    except BadHeader:
        yield from _wrong_members(header or {})
    except Malformed:
        words = f"is not a compact JWS of at most {MAX_LENGTH} characters, {STRICT}"
        yield refused("form", words)
    else:
        yield ok("form", f"is a compact JWS of {len(token)} characters")
        yield ok("header", "is of an access token (RFC 9068): RS256, at+jwt")
        key, found = find_key(jws.kid)
        yield found
        if key is not None:
            yield _signature(jws, key)
    if claims is None:
        yield refused("claims", "cannot be read as a JSON object")
    else:
        yield from _claims(claims, issuer=issuer, audience=audience, now=now)


def _wrong_members(header: Mapping[str, object]) -> Iterator[Check]:
    alg, typ, kid = (header.get(name, "missing") for name in ("alg", "typ", "kid"))
    if alg != "RS256":
        yield refused("alg", f"is {_shown(alg)}; only RS256 is accepted, for any key")
    if typ != TYP:
        yield refused("typ", f"is {_shown(typ)} and not {TYP}: some other kind of token")
    if not isinstance(kid, str) or not KID.fullmatch(kid):
        yield refused("kid", f"is {_shown(kid)}; ours are SHA-256 thumbprints (RFC 7638)")
    if extra := sorted(set(header) - HEADER_MEMBERS):
        named = ", ".join(map(_shown, extra))
        yield refused("header", f"also holds {named}; keys and rules are never taken from a token")


def _signature(jws: Jws, key: RSAPublicKey) -> Check:
    try:
        jws.verify(key)
    except BadSignature:
        words = "is not of that key: the token was changed, or made by another issuer"
        return refused("signature", words)
    except Malformed:
        return refused("claims", f"are not {STRICT}")
    return ok("signature", "is of that key")


def _claims(
    claims: Mapping[str, object], *, issuer: str, audience: str, now: datetime
) -> Iterator[Check]:
    """Ask about each claim alone, among right ones: so that everything wrong is named."""
    right = {"iss": issuer, "aud": audience, "exp": LATEST, "nbf": 0, "iat": 0}
    right |= dict.fromkeys(("sub", "jti", "client_id"), "-")

    def refusal(asked: Mapping[str, object]) -> type[InvalidToken] | None:
        try:
            check_claims(asked, kid="", issuer=issuer, audience=audience, now=now)
        except InvalidToken as exc:
            return type(exc)
        return None

    causes = {name: refusal({**right, name: claims.get(name)}) for name in {**right, **claims}}
    for name, cause in causes.items():
        if name not in claims:
            yield refused(name, "must be there and is not")
        elif cause or name in LISTED:
            words = OF_A_CLAIM[cause].format(
                value=date(name, claims[name], now) or _shown(claims[name]),
                issuer=issuer,
                audience=audience,
            )
            yield Check(NAMES.get(name, name), passed=cause is None, words=words)
    if not any(causes.values()) and refusal(claims):
        yield refused("claims", "contradict each other: exp must come after nbf and iat")


def _shown(value: object) -> str:
    """A stranger's value in a sentence: short, and harmless on a terminal."""
    if isinstance(value, list):
        value = ", ".join(map(str, value))
    return printable(value if isinstance(value, str) else json.dumps(value), MAX_SHOWN)
