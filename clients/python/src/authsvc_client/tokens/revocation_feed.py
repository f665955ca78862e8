"""
The revocation feed as it is sent: a JWS of `typ` `rvk+jwt` (docs/revocation-feed.md).

Written and read as strictly as our access tokens: compact, header exactly `alg typ kid`, RS256,
canonical base64url, members that are known and of the right type. A verifier that met an entry it
does not understand would let through what was revoked, so the document is refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from authsvc_client.tokens import base64url, jws
from authsvc_client.tokens.access_token import LEEWAY
from authsvc_client.tokens.claims import LATEST, LATEST_VER, moment
from authsvc_client.tokens.errors import InvalidToken
from authsvc_client.tokens.revocations import DIGEST_BYTES, Entry, Kind

PATH = "/.well-known/revocations"
TYP = "rvk+jwt"
MEDIA_TYPE = "application/rvk+jwt"  # what `typ` says, in full (RFC 8725 §3.11)

STEP = timedelta(seconds=5)  # `iat` is cut to it, so that all replicas send the same bytes
VALID = timedelta(seconds=60)  # `exp - iat`
OVERLAP = timedelta(seconds=15)  # numbers commit out of order
MAX_ENTRIES = 50_000  # 3 MB; above that one moment replaces them
MAX_LENGTH = 8 * 1024 * 1024  # characters
LATEST_SEQ = 2**63 - 1

MEMBERS = {"iss", "iat", "exp", "epoch", "seq", "entries"}
EPOCH = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
# The member that says what an entry is of, and how that member is called.
NAMES = {Kind.SID: "sid", Kind.JTI: "jti", Kind.KID: "kid", Kind.VER: "sub"}
KINDS = {name: kind for kind, name in NAMES.items()}
ISSUED_BEFORE = {"issued_before", "exp"}
OF_CLIENT = {"client_id", *ISSUED_BEFORE}
# Asked for by name (`?kinds=client`), since a verifier that does not know an entry refuses all.
KINDS_PARAMETER, KINDS_ASKED = "kinds", "client"


class FeedRefused(Exception):  # noqa: N818 - read as a sentence: raise FeedRefused
    """The document is not a revocation feed of this issuer, or not one for now."""


@dataclass(frozen=True)
class Feed:
    """
    A document that is authentic and valid now.

    Args:
        iat: All that was revoked before is in it; it is as old as this.
        epoch: Names one history of the issuer's database; numbers of two do not compare.
        seq: The number to ask for what comes after.
        since: None: it is complete. Else it holds what came after that number.
        kid: Of the key that signed it.
    """

    iat: datetime
    epoch: str
    seq: int
    since: int | None
    entries: tuple[Entry, ...]
    kid: str


def read(document: str) -> jws.Jws:
    """
    The form of a document that came from somewhere.

    Raises:
        FeedRefused: It is none; the text is a word from a closed set.
    """
    try:
        return jws.read(document, TYP, max_length=MAX_LENGTH)
    except InvalidToken as refusal:
        raise FeedRefused(refusal.detail) from None


def verify_feed(
    document: jws.Jws,
    key: RSAPublicKey,
    *,
    issuer: str,
    now: datetime,
    leeway: timedelta = LEEWAY,
) -> Feed:
    """
    What a document says that is this issuer's and for now.

    Args:
        key: The issuer's key of its `kid`.
        leeway: Between our clock and the issuer's, both ways.

    Raises:
        FeedRefused: It is not; the text is a word from a closed set.
    """
    try:
        payload = document.verify(key)
    except InvalidToken as refusal:
        raise FeedRefused(refusal.detail) from None
    if payload.keys() - {"since"} != MEMBERS:
        raise FeedRefused("bad_members")
    if payload["iss"] != issuer:
        raise FeedRefused("wrong_issuer")
    iat, exp = _moment(payload["iat"]), _moment(payload["exp"])
    if exp - iat != VALID or int(iat.timestamp()) % int(STEP.total_seconds()):
        raise FeedRefused("bad_times")
    epoch = payload["epoch"]
    if not isinstance(epoch, str) or not EPOCH.fullmatch(epoch):
        raise FeedRefused("bad_epoch")
    feed = Feed(
        iat=iat,
        epoch=epoch,
        seq=_number(payload["seq"]),
        since=_number(payload["since"]) if "since" in payload else None,
        entries=_entries(payload["entries"]),
        kid=document.kid,
    )
    if feed.since is not None and feed.since > feed.seq:
        raise FeedRefused("bad_seq")
    if now >= exp + leeway:
        raise FeedRefused("expired")
    if now < iat - leeway:
        raise FeedRefused("not_yet_valid")
    return feed


def _entries(value: object) -> tuple[Entry, ...]:
    if not isinstance(value, list):
        raise FeedRefused("bad_entry")
    return tuple(map(_entry, value))


def _entry(value: object) -> Entry:
    if not isinstance(value, dict) or "exp" not in value:
        raise FeedRefused("bad_entry")
    exp = _moment(value["exp"], "bad_entry")
    if value.keys() == ISSUED_BEFORE:
        before = _moment(value["issued_before"], "bad_entry")
        return Entry(Kind.ISSUED_BEFORE, exp, issued_before=before)
    if value.keys() == OF_CLIENT:
        before = _moment(value["issued_before"], "bad_entry")
        return Entry(Kind.CLIENT, exp, _digest(value["client_id"]), issued_before=before)
    names = value.keys() & KINDS.keys()
    if len(names) != 1:
        raise FeedRefused("bad_entry")
    (name,) = names
    kind = KINDS[name]
    expected = {name, "exp", "ver"} if kind is Kind.VER else {name, "exp"}
    if value.keys() != expected:
        raise FeedRefused("bad_entry")
    ver = _integer(value["ver"], 1, LATEST_VER, "bad_entry") if "ver" in value else None
    return Entry(kind, exp, _digest(value[name]), ver)


def _digest(value: object) -> bytes:
    if not isinstance(value, str):
        raise FeedRefused("bad_entry")
    try:
        found = base64url.decode(value)
    except ValueError:
        raise FeedRefused("bad_entry") from None
    if len(found) != DIGEST_BYTES:
        raise FeedRefused("bad_entry")
    return found


def _number(value: object) -> int:
    return _integer(value, 0, LATEST_SEQ, "bad_seq")


def _moment(value: object, cause: str = "bad_times") -> datetime:
    return moment(_integer(value, 0, LATEST, cause))


def _integer(value: object, minimum: int, maximum: int, cause: str) -> int:
    """A bool is an int in Python, so it is named here."""
    if not isinstance(value, int) or isinstance(value, bool) or not minimum <= value <= maximum:
        raise FeedRefused(cause)
    return value
