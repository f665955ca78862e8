"""What a verifier says to an access token: its own refusals, in words, with the figures."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from authsvc.cli.console import duration, printable, timestamp
from authsvc.cli.token_keys import FoundKey
from authsvc_client.tokens import json_object
from authsvc_client.tokens.access_token import LEEWAY, TYP, check_claims, verify_access_token
from authsvc_client.tokens.claims import audiences, claim_moment
from authsvc_client.tokens.errors import (
    BadClaims,
    BadHeader,
    BadSignature,
    Expired,
    InvalidToken,
    Malformed,
    NotYetValid,
    UnknownKey,
    WrongAudience,
    WrongIssuer,
)
from authsvc_client.tokens.jws import COMPACT, HEADER_MEMBERS, MAX_LENGTH, read

# Where no figure shows what is wrong.
STRICTER: dict[type[InvalidToken], str] = {
    BadHeader: "its header is not exactly alg, typ and kid of our form",
    BadClaims: "a claim has a value that access tokens never have",
    Malformed: "its base64url or its JSON is not in the one strict form (padding, stray bits, "
    "duplicate members)",
}
REQUIRED = ("iss", "sub", "aud", "exp", "iat", "nbf", "jti", "client_id")
DATES = ("exp", "nbf", "iat")


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


def unknown(name: str, words: str) -> Check:
    """A check that could not be made."""
    return Check(name, None, words)


def decode(part: str) -> dict[str, object] | None:
    """A part of a token in any spelling of base64url; None where it is no JSON object."""
    text = part.rstrip("=")
    try:
        return json_object.decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except ValueError:
        return None


def check_access_token(
    token: str,
    *,
    header: Mapping[str, object] | None,
    claims: Mapping[str, object] | None,
    find_key: Callable[[str], FoundKey],
    issuer: str,
    audience: str,
    now: datetime,
) -> list[Check]:
    """
    Ask the verifier, then explain its refusal; look at everything, also after something has failed.

    Args:
        header, claims: As `decode` shows them; None where they cannot be read.
    """
    found: FoundKey | None = None
    refusal: InvalidToken | None = None
    try:
        jws = read(token, TYP)
        found = find_key(jws.kid)
        if found.public_key is None:
            raise UnknownKey
        verify_access_token(jws, found.public_key, issuer=issuer, audience=audience, now=now)
    except InvalidToken as exc:
        refusal = exc
    checks = [_form(token), *(_header(header) if header is not None else _unreadable("header"))]
    if found is not None:
        checks += _key(found, refusal)
    if claims is not None:
        checks += _claims(claims, issuer=issuer, audience=audience, now=now)
    else:
        checks += _unreadable("claims")
    if refusal is not None and all(check.passed for check in checks):
        words = STRICTER.get(type(refusal), f"is refused: {refusal.detail}")
        checks.append(refused("strictness", words))
    return checks


def _form(token: str) -> Check:
    if len(token) > MAX_LENGTH:
        words = f"has {len(token)} characters, more than the {MAX_LENGTH} that are ever read"
        return refused("form", words)
    if not COMPACT.fullmatch(token):
        return refused("form", "is not three parts of unpadded base64url with two dots between")
    return ok("form", f"is a compact JWS of {len(token)} characters")


def _unreadable(part: str) -> list[Check]:
    return [refused(part, "cannot be read as a JSON object")]


def _header(header: Mapping[str, object]) -> Iterator[Check]:
    alg, typ = header.get("alg"), header.get("typ")
    if alg == "RS256":
        yield ok("alg", "is RS256")
    elif isinstance(alg, str) and alg.lower() == "none":
        yield refused("alg", "is none: unsigned, so it proves nothing")
    else:
        yield refused("alg", f"is {_shown(alg)}; only RS256 is accepted, for any key")
    if typ == TYP:
        yield ok("typ", "is at+jwt, an access token (RFC 9068)")
    else:
        yield refused("typ", f"is {_shown(typ)} and not at+jwt: some other kind of token")
    if extra := sorted(set(header) - HEADER_MEMBERS):
        named = ", ".join(_shown(name) for name in extra)
        yield refused("header", f"also holds {named}; keys and rules are never taken from a token")
    if not isinstance(header.get("kid"), str):
        yield refused("kid", "is missing, so there is no key to try")


def _key(found: FoundKey, refusal: InvalidToken | None) -> Iterator[Check]:
    if found.public_key is None:
        yield Check("kid", passed=False if found.searched else None, words=found.words)
        yield unknown("signature", "cannot be checked without the key")
        return
    yield ok("kid", found.words)
    if isinstance(refusal, BadSignature):
        words = "is not of that key: the token was changed, or made by another issuer"
        yield refused("signature", words)
    else:
        yield ok("signature", "is of that key")


def _claims(
    claims: Mapping[str, object], *, issuer: str, audience: str, now: datetime
) -> Iterator[Check]:
    """The figures; after a refusal also what the verifier had not come to."""
    refusals = _refusals(claims, issuer=issuer, audience=audience, now=now)
    readable = BadClaims not in refusals
    if WrongIssuer in refusals:
        yield refused("issuer", f"is {_shown(claims['iss'])} and not {issuer}")
    elif readable:
        yield ok("issuer", f"is {issuer}")
    if WrongAudience in refusals:
        named = ", ".join(_shown(each) for each in audiences(claims))
        yield refused("audience", f"is {named}; it is not meant for {audience}")
    elif readable:
        yield ok("audience", f"names {audience}")
    yield from _times(claims, refusals, now) if readable else _bad_claims(claims)


def _refusals(
    claims: Mapping[str, object], *, issuer: str, audience: str, now: datetime
) -> set[type[InvalidToken]]:
    """What the verifier says to the claims, and would say if issuer and audience were right."""
    own = str(claims.get("iss"))
    refusals: set[type[InvalidToken]] = set()
    for trusted, named in ((issuer, audience), (own, audience), (own, None)):
        try:
            check_claims(claims, kid="", issuer=trusted, audience=named, now=now)
        except InvalidToken as refusal:
            refusals.add(type(refusal))
    return refusals


def _bad_claims(claims: Mapping[str, object]) -> Iterator[Check]:
    if missing := [name for name in REQUIRED if name not in claims]:
        yield refused("claims", f"{', '.join(missing)} must be there and are not")
    if "aud" in claims and not _reads(audiences, claims):
        yield refused("audience", f"is {_shown(claims['aud'])}, which names no service")
    for name in DATES:
        if name in claims and not _reads(claim_moment, claims, name):
            yield refused(name, f"is {_shown(claims[name])}, not a date")


def _reads(read_claim: Callable[..., object], *arguments: object) -> bool:
    try:
        read_claim(*arguments)
    except BadClaims:
        return False
    return True


def _times(
    claims: Mapping[str, object], refusals: set[type[InvalidToken]], now: datetime
) -> Iterator[Check]:
    exp = claim_moment(claims, "exp")
    if Expired in refusals:
        words = f"was {timestamp(exp)}: it expired {duration(now - exp)} ago"
    elif now >= exp:
        leeway = duration(LEEWAY)
        words = f"expired {duration(now - exp)} ago, which the leeway of {leeway} still allows"
    else:
        words = f"is {timestamp(exp)}: it expires in {duration(exp - now)}"
    yield Check("exp", passed=Expired not in refusals, words=words)
    for name in ("nbf", "iat"):
        begin = claim_moment(claims, name)
        ahead = duration(begin - now)
        if NotYetValid in refusals and begin - LEEWAY > now:
            words = f"is {timestamp(begin)}: it is not valid for {ahead} yet; compare the clocks"
            yield refused(name, words)
        else:
            since = f"in {ahead}" if begin > now else f"{ahead} ago"
            yield ok(name, f"was {timestamp(begin)}, {since}")


def _shown(value: object) -> str:
    """A stranger's value in a sentence: short, and harmless on a terminal."""
    if value is None:
        return "missing"
    text = printable(value if isinstance(value, str) else json.dumps(value))
    return text if len(text) <= 80 else f"{text[:79]}…"  # noqa: PLR2004 - a line
