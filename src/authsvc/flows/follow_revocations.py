"""
What this process knows of revocations: a set to look into, and the feed for everybody else.

A background task looks at the log several times a second. The set is as new as the last look. The
feed goes in steps of five seconds, by the database's clock: the document of a step holds what was
revoked before the step began, so all replicas write the same one, and it claims no more than is
known. While the database is away, it stays as it was.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from authsvc.keys.feed_signer import FeedSigner
from authsvc.protocol.claims import AccessTokenClaims, moment
from authsvc.protocol.errors import DatabaseUnavailable, Unauthenticated
from authsvc.protocol.revocation_feed import (
    MOST_ENTRIES,
    OVERLAP,
    STEP,
    VALID,
    entry_text,
    payload_text,
)
from authsvc.protocol.revocations import (
    LIFE,
    Entry,
    Kind,
    RevocationSet,
    Standing,
    everything_before,
)
from authsvc.store import revocation_log
from authsvc.store.database import RETRY_AFTER, Database
from authsvc.store.revocation_log import Logged, Look

LOOK_INTERVAL = timedelta(seconds=0.25)
# Beyond that nobody can say, so that no replica honours for longer what another has revoked.
MOST_AGE = timedelta(seconds=1)
# What a process reads when it starts: enough to see where the last replacement was.
LOADED = 2 * MOST_ENTRIES + 1
SINGLE = {Kind.SID, Kind.JTI, Kind.VER}


@dataclass(frozen=True, slots=True)
class Held:
    """
    An entry in memory.

    Args:
        seen_at: The database's clock at the look that first showed it.
        text: As the feed says it; encoded once.
    """

    logged: Logged
    seen_at: datetime
    text: str

    @property
    def entry(self) -> Entry:
        """What it says."""
        return self.logged.entry


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A number that verifiers may ask for, and the first document that gave it to them."""

    seq: int
    iat: datetime


@dataclass(frozen=True, slots=True)
class Step:
    """
    The content of the feed from one moment on.

    Args:
        issued_before: The one entry of that kind, as the feed says it.
    """

    iat: datetime
    epoch: str
    seq: int
    held: tuple[Held, ...]
    issued_before: str | None


class Revocations:
    """
    The revocations that one process knows of.

    Args:
        monotonic: Seconds that only grow, for the age of what is known.
    """

    def __init__(
        self,
        db: Database,
        signer: FeedSigner,
        *,
        issuer: str,
        monotonic: Callable[[], float],
    ) -> None:
        self._db = db
        self._signer = signer
        self._issuer = issuer
        self._monotonic = monotonic
        self._looked: float | None = None
        self._set = RevocationSet()
        self._forget()

    async def look(self, *, database_now: datetime | None = None) -> bool:
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
                seen = await revocation_log.look(connection, self._horizon, now=database_now)
            if self._horizon is None or seen.epoch != self._epoch:
                # Numbers of another history mean nothing here; what it revoked stays revoked.
                self._forget()
                seen = await revocation_log.newest(connection, most=LOADED, now=database_now)
        named = self._learn(seen)
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
        del now  # entries are pruned with every step; one that has outlived its token does no harm
        standing = self._set.standing(claims)
        if standing is not Standing.GOOD:
            raise Unauthenticated(standing)
        if self.age is None or self.age > MOST_AGE:
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
        return len(self._held)

    def document(self, since: int | None, *, now: datetime) -> bytes:
        """
        The feed as it stands, signed at most once for each step and number that is asked for.

        Args:
            since: The number of an earlier document: only what that one may lack. One that this
                process does not remember is answered with everything.
            now: The process's clock; it decides which key signs.

        Raises:
            DatabaseUnavailable: Nothing is known, or nothing new for so long that the document
                has expired; or no key may sign it.
        """
        step = self._step
        if step is None or now >= step.iat + VALID:
            raise DatabaseUnavailable("revocations unknown", retry_after=RETRY_AFTER)
        checkpoint = None if since is None or since > step.seq else self._checkpoint(since)
        asked = None if checkpoint is None else checkpoint.seq
        document = self._documents.get(asked)
        if document is None:
            document = self._signer.sign(
                self._payload(step, checkpoint), revoked=self.names_key, now=now
            )
            if document is None:
                raise DatabaseUnavailable("no key may sign the feed", retry_after=RETRY_AFTER)
            self._documents[asked] = document
        return document

    def _forget(self) -> None:
        self._epoch = ""
        self._horizon: int | None = None
        self._held: dict[int, Held] = {}
        self._collapsed: Entry | None = None
        self._seq = 0
        self._step: Step | None = None
        self._checkpoints: deque[Checkpoint] = deque()
        self._documents: dict[int | None, bytes] = {}

    def _learn(self, seen: Look) -> bool:
        """Take in what a look has shown; returns whether a key is named that was not."""
        self._epoch, self._horizon = seen.epoch, seen.horizon
        named = False
        for logged in seen.logged:
            if logged.entry.expires_at <= seen.now:
                self._seq = max(self._seq, logged.seq)
            elif logged.seq not in self._held:
                self._held[logged.seq] = Held(logged, seen.now, entry_text(logged.entry))
                self._set.add(logged.entry)
                named = named or logged.entry.kind is Kind.KID
        if named:
            self._documents.clear()  # one may be signed by that key
        seconds = int(seen.now.timestamp())
        begun = moment(seconds - seconds % int(STEP.total_seconds()))
        if self._step is None or begun > self._step.iat:
            self._begin(begun)
        return named

    def _begin(self, iat: datetime) -> None:
        """The next step: what was revoked before this moment, and has not expired by then."""
        self._held = {n: held for n, held in self._held.items() if held.entry.expires_at > iat}
        known = [self._held[n] for n in sorted(self._held)]
        content = [held for held in known if held.logged.revoked_at < iat]
        self._seq = max([self._seq, *(held.logged.seq for held in content)])
        self._set.prune(iat)
        content = self._collapse(content, iat)
        step = Step(iat, self._epoch, self._seq, tuple(content), self._oldest_issue(content))
        self._step, self._documents = step, {}
        if not self._checkpoints or self._checkpoints[-1].seq != step.seq:
            self._checkpoints.append(Checkpoint(step.seq, iat))
        # A verifier whose document has expired asks for everything, so that the checkpoint of
        # the oldest that has not is the first that is needed.
        while len(self._checkpoints) > 1 and self._checkpoints[1].iat <= iat - VALID - OVERLAP:
            self._checkpoints.popleft()

    def _collapse(self, content: list[Held], iat: datetime) -> list[Held]:
        """Replace what is too much by the moment before which all tokens are refused."""
        if self._collapsed is not None and self._collapsed.expires_at <= iat:
            self._collapsed = None
        single = [held for held in content if held.entry.kind in SINGLE]
        if len(single) <= MOST_ENTRIES:
            return content
        # By number, so that all replicas, also one that starts later, replace the same.
        last = single[-MOST_ENTRIES - 1].logged.seq
        last = -(-last // MOST_ENTRIES) * MOST_ENTRIES
        replaced = [held for held in single if held.logged.seq <= last]
        newest = max(held.logged.revoked_at for held in replaced)
        self._collapsed = everything_before(newest, until=newest + LIFE)
        for held in replaced:
            del self._held[held.logged.seq]
        self._set.clear()
        for entry in (self._collapsed, *(held.entry for held in self._held.values())):
            self._set.add(entry)
        gone = {held.logged.seq for held in replaced}
        return [held for held in content if held.logged.seq not in gone]

    def _oldest_issue(self, content: list[Held]) -> str | None:
        """The one entry of its kind that says more than all others of it."""
        moments = [held.entry for held in content if held.entry.kind is Kind.ISSUED_BEFORE]
        moments += [self._collapsed] if self._collapsed is not None else []
        latest = max(moments, key=lambda entry: entry.expires_at, default=None)
        return None if latest is None else entry_text(latest)

    def _checkpoint(self, since: int) -> Checkpoint | None:
        """The last one that a verifier with this number has surely got."""
        found = [each for each in self._checkpoints if each.seq <= since]
        return found[-1] if found else None

    def _payload(self, step: Step, checkpoint: Checkpoint | None) -> str:
        held = [each for each in step.held if each.entry.kind is not Kind.ISSUED_BEFORE]
        if checkpoint is not None:
            # By its number, or if it came late: what was not there yet when that document was
            # written, here or at another replica.
            late = checkpoint.iat - OVERLAP
            held = [h for h in held if h.logged.seq > checkpoint.seq or h.seen_at >= late]
        entries = [] if step.issued_before is None else [step.issued_before]
        return payload_text(
            issuer=self._issuer,
            iat=step.iat,
            epoch=step.epoch,
            seq=step.seq,
            entries=[*entries, *(each.text for each in held)],
            since=None if checkpoint is None else checkpoint.seq,
        )
