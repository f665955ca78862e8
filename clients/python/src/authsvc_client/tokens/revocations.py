"""
What was revoked before it expired: entries, and the set that a verifier looks into.

An entry names a digest, never the thing itself, and is kept until no token can be alive that it
concerns. The format that carries entries to other services is `revocation_feed`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from authsvc_client.tokens.claims import AccessTokenClaims

# The longest access-token life that can be configured, and 60 s for clocks that differ. Counted
# from the revocation: a replayed refresh mints tokens without a write, so no row tells the last.
LIFE = timedelta(seconds=3600 + 60)
# `iat` is of the clock of whichever replica signed, a revocation of the database's.
SKEW = timedelta(seconds=2)
EVERYONE = b""  # no digest: an entry about all tokens
DIGEST_BYTES = 16  # of SHA-256: 128 bits, and nobody chooses what is digested


class Kind(str, Enum):
    """What an entry speaks of."""

    __str__ = str.__str__  # as enum.StrEnum, which Python 3.9 has not

    SID = "sid"
    JTI = "jti"
    KID = "kid"
    VER = "ver"
    ISSUED_BEFORE = "issued_before"
    CLIENT = "client"

    @property
    def of_tokens(self) -> bool:
        """
        Whether a moment can stand for it.

        Not for a key: whoever has it chooses when its tokens were issued. Nor for a client,
        which has one entry, so that there are never many.
        """
        return self in {Kind.SID, Kind.JTI, Kind.VER}


@dataclass(frozen=True)
class Entry:
    """
    One revocation.

    Args:
        expires_at: From then on no token is alive that it concerns.
        digest: Of the session, token, key, subject or client; None for `ISSUED_BEFORE`.
        least_ver: `VER` only: tokens of the subject with a lower `ver` are stale.
        issued_before: `ISSUED_BEFORE` and `CLIENT` only: tokens (of the client) that were issued
            before it are revoked.
    """

    kind: Kind
    expires_at: datetime
    digest: bytes | None = None
    least_ver: int | None = None
    issued_before: datetime | None = None


def everything_before(revoked_at: datetime, *, until: datetime) -> Entry:
    """The entry that refuses all tokens older than a revocation, in whole seconds."""
    return Entry(Kind.ISSUED_BEFORE, until, issued_before=_moment_after(revoked_at))


def of_client_before(client: bytes, revoked_at: datetime, *, until: datetime) -> Entry:
    """
    The entry that refuses all tokens of a client older than a revocation, in whole seconds.

    Args:
        client: The digest of its `client_id`.
    """
    return Entry(Kind.CLIENT, until, client, issued_before=_moment_after(revoked_at))


def _moment_after(revoked_at: datetime) -> datetime:
    return whole_second_after(revoked_at) + SKEW


def whole_second_after(moment: datetime) -> datetime:
    """The moment, or the next whole second."""
    whole = moment.replace(microsecond=0)
    return whole if whole == moment else whole + timedelta(seconds=1)


class Standing(str, Enum):
    """What a set of revocations says of an access token."""

    __str__ = str.__str__  # as enum.StrEnum, which Python 3.9 has not

    GOOD = "good"
    REVOKED = "revoked"
    STALE_CLAIMS = "stale_claims"


def digest(identifier: str) -> bytes:
    """What entries hold of an identifier; as text, just as it stands in a token."""
    # A lone surrogate cannot come from a token of ours, and must not be an exception either.
    return hashlib.sha256(identifier.encode("utf-8", "surrogatepass")).digest()[:DIGEST_BYTES]


class RevocationSet:
    """
    Entries, for look-ups by the claims of a token. It only grows, but for what has expired.

    Not to be changed from two threads at once; looking into it needs no lock.
    """

    def __init__(self) -> None:
        self._until: dict[tuple[Kind, bytes], datetime] = {}
        self._least_ver: dict[bytes, tuple[int, datetime]] = {}
        # Remembered for good: keys are few, and a copy of the key set may be a day old.
        self._kids: set[bytes] = set()
        # By client; of all tokens under EVERYONE: issued before which moment, and until when.
        self._issued_before: dict[bytes, tuple[datetime, datetime]] = {}

    def clear(self) -> None:
        """Forget everything but the keys."""
        self._until, self._least_ver, self._issued_before = {}, {}, {}

    def __len__(self) -> int:
        """How many entries it holds."""
        of_many = len(self._least_ver) + len(self._issued_before)
        return len(self._until) + len(self._kids) + of_many

    def add(self, entry: Entry) -> None:
        """Add an entry; one that is there already lives until the later of its ends."""
        name, until = entry.digest or EVERYONE, entry.expires_at
        if entry.issued_before is not None:
            before, kept = self._issued_before.get(name, (entry.issued_before, until))
            self._issued_before[name] = (max(before, entry.issued_before), max(kept, until))
        elif entry.kind is Kind.KID:
            self._kids.add(name)
        elif entry.kind is Kind.VER:
            ver, kept = self._least_ver.get(name, (0, until))
            self._least_ver[name] = (max(ver, entry.least_ver or 0), max(kept, until))
        else:
            key = (entry.kind, name)
            self._until[key] = max(self._until.get(key, until), until)

    def forget(self, entry: Entry) -> None:
        """Forget a session or a token, since another entry contains it."""
        self._until.pop((entry.kind, entry.digest or EVERYONE), None)

    def prune(self, now: datetime) -> None:
        """Forget what has expired."""
        self._until = {key: until for key, until in self._until.items() if until > now}
        self._least_ver = {k: found for k, found in self._least_ver.items() if found[1] > now}
        before = self._issued_before.items()
        self._issued_before = {k: found for k, found in before if found[1] > now}

    def names_key(self, kid: str) -> bool:
        """Whether a signing key was revoked."""
        return bool(self._kids) and digest(kid) in self._kids

    def standing(self, claims: AccessTokenClaims) -> Standing:
        """What is known of an otherwise valid token; the worst of it."""
        if self.names_key(claims.kid):
            return Standing.REVOKED
        if self._issued_before:
            for name in (EVERYONE, digest(claims.client_id)):
                before = self._issued_before.get(name)
                if before is not None and claims.iat < before[0]:
                    return Standing.REVOKED
        if self._until and (
            (claims.sid is not None and (Kind.SID, digest(str(claims.sid))) in self._until)
            or (Kind.JTI, digest(claims.jti)) in self._until
        ):
            return Standing.REVOKED
        if self._least_ver:
            least = self._least_ver.get(digest(claims.sub))
            # A token from before there were versions has the lowest.
            if least is not None and (claims.ver or 0) < least[0]:
                return Standing.STALE_CLAIMS
        return Standing.GOOD
