"""
Revocations as this process knows them: a set to look into, and the feed for verifiers.

A background task looks at the log several times a second. The set is as new as the last look. The
feed goes in steps of five seconds, by the database's clock: the document of a step holds what was
revoked before the step began, so all replicas write the same one, and it claims no more than is
known. While the database is away, it stays as it was.
"""

from __future__ import annotations

import asyncio
import hashlib
from bisect import insort
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import datetime, timedelta

from authsvc.keys.directory import KeyDirectory
from authsvc.keys.jws import sign_feed
from authsvc.protocol.errors import DatabaseUnavailable, Unauthenticated
from authsvc.protocol.revocation_feed import entry_text, entry_text_of_before, payload_text
from authsvc.store import revocation_log
from authsvc.store.database import RETRY_AFTER, Database
from authsvc.store.revocation_log import Logged, Look
from authsvc_client.tokens import base64url
from authsvc_client.tokens.claims import AccessTokenClaims, moment
from authsvc_client.tokens.revocation_feed import MAX_ENTRIES, OVERLAP, STEP, VALID
from authsvc_client.tokens.revocations import (
    LIFE,
    Entry,
    Kind,
    RevocationSet,
    Standing,
    everything_before,
)

LOOK_INTERVAL = timedelta(seconds=0.25)
# Beyond that nobody can say, so that no replica honours for longer what another has revoked.
MAX_AGE = timedelta(seconds=1)
# Of the entries that a process finds when it starts, this many are taken in at a time.
SLICE = 1000
PRUNE_INTERVAL = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownEntry(Logged):
    """
    An entry in memory.

    Args:
        seen_at: The database's clock at the look that first showed it.
        text: As the feed says it; encoded once.
        text_of_before: As it says it to verifiers that know no entries of clients.
    """

    seen_at: datetime
    text: str
    text_of_before: str


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A number that verifiers may ask for, and the first document that gave it to them."""

    seq: int
    iat: datetime


@dataclass(frozen=True, slots=True)
class Replaced:
    """
    What one entry stands for: all of tokens up to a number, revoked up to a moment.

    Args:
        entry: That one.
    """

    last: int
    newest: datetime
    entry: Entry

    def covers(self, logged: Logged) -> bool:
        """Whether an entry that is shown (again, or late) adds nothing to it."""
        of_tokens = logged.entry.kind.of_tokens
        return of_tokens and logged.seq <= self.last and logged.revoked_at <= self.newest


@dataclass(frozen=True, slots=True)
class Step:
    """
    The content of the feed from one moment on.

    Args:
        listed: In the order of their numbers.
        issued_before: The one entry of that kind, as the feed says it.
    """

    iat: datetime
    epoch: str
    seq: int
    listed: list[KnownEntry]
    issued_before: str | None


@dataclass(frozen=True, slots=True)
class SignedFeed:
    """
    A document, ready to send.

    Args:
        etag: Strong, with its quotes; made from the content, so equal on all replicas.
    """

    body: bytes
    etag: str


class FollowedRevocations:
    """
    The revocations that one process knows of.

    Args:
        monotonic: Seconds that only grow, for the age of what is known.
    """

    def __init__(
        self,
        db: Database,
        keys: KeyDirectory,
        *,
        issuer: str,
        monotonic: Callable[[], float],
    ) -> None:
        self._db = db
        self._keys = keys
        self._issuer = issuer
        self._monotonic = monotonic
        self._looked: float | None = None
        self._set = RevocationSet()
        self._pruned_at: datetime | None = None
        self._forget()

    async def look(self) -> bool:
        """
        Learn what is new; one statement, beside the connections of requests.

        Returns:
            Whether a signing key was revoked, so that the key directory is worth a look.

        Raises:
            DatabaseUnavailable: Nothing was learnt.
        """
        began = self._monotonic()
        async with self._db.background() as connection:
            if self._horizon is not None:
                seen = await revocation_log.look(connection, self._horizon)
            if self._horizon is None or seen.epoch != self._epoch:
                # Numbers of another history mean nothing here; what it revoked stays revoked.
                self._forget()
                seen = await revocation_log.newest(connection, limit=MAX_ENTRIES + 1)
        named = await self._learn(seen)
        self._looked = began
        return named

    def check(self, claims: AccessTokenClaims, *, now: datetime) -> None:
        """
        Look at claims that are otherwise valid; no I/O.

        Raises:
            Unauthenticated: The token was revoked, or says what is no longer true; `detail` is
                the `Standing`.
            DatabaseUnavailable: The last look is too long ago to tell.
        """
        del now  # entries are pruned now and then; one that outlives its tokens does no harm
        standing = self._set.standing(claims)
        if standing is not Standing.GOOD:
            raise Unauthenticated(standing)
        if self.age is None or self.age > MAX_AGE:
            raise DatabaseUnavailable("revocations unknown", retry_after=RETRY_AFTER)

    def names_key(self, kid: str) -> bool:
        """Whether a signing key was revoked."""
        return self._set.names_key(kid)

    @property
    def age(self) -> timedelta | None:
        """How old the knowledge of this process is; None before the first look."""
        if self._looked is None:
            return None
        return timedelta(seconds=max(self._monotonic() - self._looked, 0))

    def __len__(self) -> int:
        """How many entries are known."""
        return len(self._listed)

    def feed(self, since: int | None, *, clients: bool = False, now: datetime) -> SignedFeed:
        """
        The feed as it stands, signed at most once for each step and number that is asked for.

        Args:
            since: The number of an earlier document: only what that one may lack. One that this
                process does not remember is answered with everything.
            clients: Whether entries of clients are asked for.
            now: The process's clock; it decides which key signs.

        Raises:
            DatabaseUnavailable: Nothing is known, or nothing new for so long that the document
                has expired; or no key may sign it.
        """
        step = self._step
        if step is None or now >= step.iat + VALID:
            raise DatabaseUnavailable("revocations unknown", retry_after=RETRY_AFTER)
        checkpoint = None if since is None or since > step.seq else self._checkpoint(since)
        asked = (None if checkpoint is None else checkpoint.seq, clients)
        if asked not in self._signed:
            body = sign_feed(
                self._keys.ring,
                self._payload(step, checkpoint, clients=clients),
                revoked=self.names_key,
                now=now,
            )
            if body is None:
                raise DatabaseUnavailable("no key may sign the feed", retry_after=RETRY_AFTER)
            etag = base64url.encode(hashlib.sha256(body).digest()[:12])
            self._signed[asked] = SignedFeed(body, f'"{etag}"')
        return self._signed[asked]

    def _forget(self) -> None:
        self._epoch = ""
        self._horizon: int | None = None
        self._listed: list[KnownEntry] = []
        self._numbers: set[int] = set()
        self._moments: list[KnownEntry] = []
        self._collapsed: Replaced | None = None
        self._seq = 0
        self._step: Step | None = None
        self._checkpoints: deque[Checkpoint] = deque()
        self._signed: dict[tuple[int | None, bool], SignedFeed] = {}

    async def _learn(self, seen: Look) -> bool:
        """Take in what a look has shown; returns whether a key is named that was not."""
        named = False
        for number, logged in enumerate(seen.logged):
            if number % SLICE == SLICE - 1:
                await asyncio.sleep(0)  # there may be very many at the start; requests go first
            if logged.entry.expires_at <= seen.now:
                self._seq = max(self._seq, logged.seq)
            elif logged.seq not in self._numbers and not (
                self._collapsed and self._collapsed.covers(logged)
            ):
                self._hold(logged, seen.now)
                named = named or logged.entry.kind is Kind.KID
        # Only now: what was interrupted is looked at again.
        self._epoch, self._horizon = seen.epoch, seen.horizon
        if named:
            self._signed.clear()  # a document may be signed by that key
        seconds = int(seen.now.timestamp())
        begun = moment(seconds - seconds % int(STEP.total_seconds()))
        if self._step is None or begun > self._step.iat:
            self._begin(begun)
        return named

    def _hold(self, logged: Logged, seen_at: datetime) -> None:
        entry = logged.entry
        text = entry_text(entry)
        listed = KnownEntry(
            **{each.name: getattr(logged, each.name) for each in fields(logged)},
            seen_at=seen_at,
            text=text,
            text_of_before=entry_text_of_before(entry) if entry.kind is Kind.CLIENT else text,
        )
        self._numbers.add(listed.seq)
        self._set.add(entry)
        where = self._moments if entry.kind is Kind.ISSUED_BEFORE else self._listed
        # In the order of numbers, in which nearly all of them come.
        insort(where, listed, key=_number)

    def _begin(self, iat: datetime) -> None:
        """The next step: what was revoked before this moment, and has not expired by then."""
        self._drop_expired(iat)
        moments = [listed for listed in self._moments if listed.revoked_at < iat]
        self._drop_contained(iat)
        content = self._collapse(
            [listed for listed in self._listed if listed.revoked_at < iat], iat
        )
        self._seq = max(self._seq, *(part[-1].seq for part in (content, moments) if part), 0)
        latest = [listed.entry for listed in moments]
        latest += [self._collapsed.entry] if self._collapsed else []
        said = max(latest, key=lambda entry: entry.expires_at, default=None)
        self._step = Step(
            iat, self._epoch, self._seq, content, None if said is None else entry_text(said)
        )
        self._signed = {}
        if not self._checkpoints or self._checkpoints[-1].seq != self._seq:
            self._checkpoints.append(Checkpoint(self._seq, iat))
        # A verifier whose document has expired asks for everything, so that the checkpoint of
        # the oldest that has not is the first that is needed.
        while len(self._checkpoints) > 1 and self._checkpoints[1].iat <= iat - VALID - OVERLAP:
            self._checkpoints.popleft()

    def _drop_expired(self, iat: datetime) -> None:
        """What comes first was revoked first, but for seconds."""
        for where in (self._listed, self._moments):
            dead = 0
            while dead < len(where) and where[dead].entry.expires_at <= iat:
                self._numbers.discard(where[dead].seq)
                dead += 1
            del where[:dead]
        if self._pruned_at is None or iat >= self._pruned_at + PRUNE_INTERVAL:
            self._set.prune(iat)
            self._pruned_at = iat
        if self._collapsed is not None and self._collapsed.entry.expires_at <= iat:
            self._collapsed = None

    def _drop_contained(self, iat: datetime) -> None:
        """What the user's part of the log was replaced by is in the documents from now on."""
        below: dict[bytes, tuple[int, int]] = {}
        for listed in self._listed:
            if listed.owner is not None and listed.replaces is not None and listed.revoked_at < iat:
                xid, ver = below.get(listed.owner, (0, 0))
                least_ver = listed.entry.least_ver or 0
                below[listed.owner] = (max(xid, listed.replaces), max(ver, least_ver))
        if not below:
            return
        stay: list[KnownEntry] = []
        for listed in self._listed:
            xid, ver = (0, 0) if listed.owner is None else below.get(listed.owner, (0, 0))
            if listed.xid < xid or (listed.entry.least_ver or ver) < ver:
                self._numbers.discard(listed.seq)
                self._set.forget(listed.entry)
            else:
                stay.append(listed)
        self._listed = stay

    def _collapse(self, content: list[KnownEntry], iat: datetime) -> list[KnownEntry]:
        """Replace what is too much by the moment before which all tokens are refused."""
        content = _without_outdone([listed for listed in content if listed.entry.expires_at > iat])
        if len(content) <= MAX_ENTRIES:
            return content
        of_tokens = [listed for listed in content if listed.entry.kind.of_tokens]
        if len(of_tokens) <= MAX_ENTRIES:
            return content
        # By number, so that all replicas, also one that starts later, replace the same.
        last = -(-of_tokens[-MAX_ENTRIES - 1].seq // MAX_ENTRIES) * MAX_ENTRIES
        self._seq = max(self._seq, content[-1].seq)
        newest = max(listed.revoked_at for listed in of_tokens if listed.seq <= last)
        said = everything_before(newest, until=newest + LIFE)
        self._collapsed = Replaced(last, newest, said)

        def stays(listed: KnownEntry) -> bool:
            return listed.seq > last or not listed.entry.kind.of_tokens

        self._listed = list(filter(stays, self._listed))
        self._numbers = {listed.seq for listed in (*self._listed, *self._moments)}
        self._set.clear()
        for entry in (said, *(listed.entry for listed in (*self._listed, *self._moments))):
            self._set.add(entry)
        return list(filter(stays, content))

    def _checkpoint(self, since: int) -> Checkpoint | None:
        """The last one that a verifier with this number has surely got."""
        found = [each for each in self._checkpoints if each.seq <= since]
        return found[-1] if found else None

    def _payload(self, step: Step, checkpoint: Checkpoint | None, *, clients: bool) -> str:
        listed = step.listed
        if checkpoint is not None:
            # By its number, or if it came late: what was not there yet when that document was
            # written, here or at another replica.
            late = checkpoint.iat - OVERLAP
            listed = [h for h in listed if h.seq > checkpoint.seq or h.seen_at >= late]
        entries = [] if step.issued_before is None else [step.issued_before]
        return payload_text(
            issuer=self._issuer,
            iat=step.iat,
            epoch=step.epoch,
            seq=step.seq,
            entries=[*entries, *(h.text if clients else h.text_of_before for h in listed)],
            since=None if checkpoint is None else checkpoint.seq,
        )


def _without_outdone(content: list[KnownEntry]) -> list[KnownEntry]:
    """Of each client the entry with the latest moment, which says what the others say."""
    latest: dict[bytes | None, KnownEntry] = {}
    for listed in content:
        if listed.entry.kind is Kind.CLIENT:
            known = latest.get(listed.entry.digest, listed)
            latest[listed.entry.digest] = max(known, listed, key=_moment_and_number)
    if not latest:
        return content
    return [h for h in content if h.entry.kind is not Kind.CLIENT or h is latest[h.entry.digest]]


def _moment_and_number(listed: KnownEntry) -> tuple[datetime, int]:
    return listed.revoked_at, listed.seq


def _number(listed: KnownEntry) -> int:
    return listed.seq
