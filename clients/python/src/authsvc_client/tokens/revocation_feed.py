"""
The revocation feed as it is sent: a JWS of `typ` `rvk+jwt` (docs/revocation-feed.md).

Written and read as strictly as our access tokens: compact, header exactly `alg typ kid`, RS256,
canonical base64url, members that are known and of the right type. A verifier that met an entry it
does not understand would let through what was revoked, so the document is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from authsvc_client.tokens import base64url, json_object
from authsvc_client.tokens.access_token import (
    COMPACT,
    DIGEST,
    HEADER_MEMBERS,
    KID,
    LATEST,
    LATEST_VER,
    LEEWAY,
    PADDING,
)
from authsvc_client.tokens.claims import moment
from authsvc_client.tokens.revocations import DIGEST_BYTES, Entry, Kind, whole_second_after

PATH = "/.well-known/revocations"
TYP = "rvk+jwt"
MEDIA_TYPE = "application/rvk+jwt"  # what `typ` says, in full (RFC 8725 §3.11)

STEP = timedelta(seconds=5)  # `iat` is cut to it, so that all replicas send the same bytes
VALID = timedelta(seconds=60)  # `exp - iat`
OVERLAP = timedelta(seconds=15)  # numbers commit out of order
MOST_ENTRIES = 50_000  # 3 MB; above that one moment replaces them
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
# Tokens of clients have no `ver` and those of users begin at 1, so that an entry with this one
# is of no user, and makes every token of a client stale, whenever it was issued.
CLIENT_VER = 1


class FeedRefused(Exception):  # noqa: N818 - read as a sentence: raise FeedRefused
    """The document is not a revocation feed of this issuer, or not one for now."""


@dataclass(frozen=True, slots=True)
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


def entry_text(entry: Entry) -> str:
    """One entry as JSON."""
    exp = int(whole_second_after(entry.expires_at).timestamp())
    name = base64url.encode(entry.digest or b"")
    if entry.issued_before is not None:
        of_client = f'"client_id":"{name}",' if entry.kind is Kind.CLIENT else ""
        before = int(entry.issued_before.timestamp())
        return f'{{{of_client}"issued_before":{before},"exp":{exp}}}'
    version = f'"ver":{entry.least_ver},' if entry.kind is Kind.VER else ""
    return f'{{"{NAMES[entry.kind]}":"{name}",{version}"exp":{exp}}}'


def entry_text_of_before(entry: Entry) -> str:
    """The same for a verifier that does not ask for entries of clients: it refuses no less."""
    if entry.kind is not Kind.CLIENT:
        return entry_text(entry)
    return entry_text(Entry(Kind.VER, entry.expires_at, entry.digest, least_ver=CLIENT_VER))


def payload_text(
    *,
    issuer: str,
    iat: datetime,
    epoch: str,
    seq: int,
    entries: Iterable[str],
    since: int | None = None,
) -> str:
    """
    The payload of a document.

    Args:
        entries: Each as `entry_text` writes it, in the order of their numbers.
    """
    seconds = int(iat.timestamp())
    members: dict[str, object] = {
        "iss": issuer,
        "iat": seconds,
        "exp": seconds + int(VALID.total_seconds()),
        "epoch": epoch,
        "seq": seq,
        **({} if since is None else {"since": since}),
    }
    head = json.dumps(members, separators=(",", ":"))
    # Encoded entry by entry when they are learnt: all at once would take 0.1 s.
    return f'{head[:-1]},"entries":[{",".join(entries)}]}}'


def read_feed(
    document: str,
    *,
    public_key: Callable[[str], RSAPublicKey | None],
    issuer: str,
    now: datetime,
    leeway: timedelta = LEEWAY,
) -> Feed:
    """
    Read a document that came from somewhere.

    Args:
        public_key: The issuer's key of that `kid`; None if there is none, or if it was revoked.
        leeway: Between our clock and the issuer's, both ways.

    Raises:
        FeedRefused: It is not one of this issuer's for now; the text is a word from a closed set.
    """
    kid, payload = _open(document, public_key)
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
        kid=kid,
    )
    if feed.since is not None and feed.since > feed.seq:
        raise FeedRefused("bad_seq")
    if now >= exp + leeway:
        raise FeedRefused("expired")
    if now < iat - leeway:
        raise FeedRefused("not_yet_valid")
    return feed


def _open(
    document: str, public_key: Callable[[str], RSAPublicKey | None]
) -> tuple[str, Mapping[str, object]]:
    # Size and form first: they cost next to nothing.
    if len(document) > MAX_LENGTH or not COMPACT.fullmatch(document):
        raise FeedRefused("malformed")
    signed, _, signature = document.rpartition(".")
    header_part, _, payload_part = signed.partition(".")
    header = _object(header_part)
    kid = header.get("kid")
    if (
        set(header) != HEADER_MEMBERS
        or header["alg"] != "RS256"
        or header["typ"] != TYP
        or not isinstance(kid, str)
        or not KID.fullmatch(kid)
    ):
        raise FeedRefused("bad_header")
    key = public_key(kid)
    if key is None:
        raise FeedRefused("unknown_kid")
    try:
        key.verify(_decode(signature), signed.encode("ascii"), PADDING, DIGEST)
    except (InvalidSignature, ValueError):
        raise FeedRefused("bad_signature") from None
    return kid, _object(payload_part)


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


def _decode(part: str) -> bytes:
    try:
        return base64url.decode(part)
    except ValueError:
        raise FeedRefused("malformed") from None


def _object(part: str) -> Mapping[str, object]:
    try:
        return json_object.decode(_decode(part))
    except ValueError:
        raise FeedRefused("malformed") from None


def _number(value: object) -> int:
    return _integer(value, 0, LATEST_SEQ, "bad_seq")


def _moment(value: object, cause: str = "bad_times") -> datetime:
    return moment(_integer(value, 0, LATEST, cause))


def _integer(value: object, least: int, most: int, cause: str) -> int:
    """A bool is an int in Python, so it is named here."""
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise FeedRefused(cause)
    return value
