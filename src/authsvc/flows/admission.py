"""
Admission of a password attempt: who must wait, who is let through, and who gives it back.

Below the free failures attempts run in parallel, bounded per process by counting those in
flight. Beyond them a counter lets one attempt through at a time, over all replicas.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from authsvc.protocol.errors import TooManyAttempts
from authsvc.protocol.throttle import Backoff, Counter
from authsvc.store import throttle_counters
from authsvc.store.database import Database

SHORTLY = timedelta(seconds=1)


@dataclass(slots=True)
class InFlight:
    """The attempts of this process that are being verified, by key; lives as long as it."""

    _tally: Tally[bytes] = field(default_factory=Tally)

    def count(self, key: bytes) -> int:
        """How many attempts of this key have not been answered yet."""
        return self._tally[key]

    @contextmanager
    def attempt(self, key: bytes) -> Iterator[None]:
        """Count one while the body runs."""
        self._tally[key] += 1
        try:
            yield
        finally:
            self._tally[key] -= 1
            if not self._tally[key]:
                del self._tally[key]


@dataclass(frozen=True, slots=True)
class Gate:
    """One counter that an attempt has to pass."""

    key: bytes
    seen: Counter | None
    backoff: Backoff


@dataclass(frozen=True, slots=True)
class Claim:
    """An attempt that was taken from a counter."""

    key: bytes
    seen: Counter
    claimed: Counter


@asynccontextmanager
async def admitted(
    db: Database, gates: tuple[Gate, ...], *, now: datetime, database_now: datetime | None
) -> AsyncIterator[list[Claim]]:
    """
    Let an attempt through all gates, or tell how long to wait.

    If the body raises (nothing was tried), what was taken is given back.

    Raises:
        TooManyAttempts: Nothing was taken from any counter.
    """
    wait = max((gate.backoff.wait(gate.seen, now) for gate in gates), default=timedelta(0))
    if wait > timedelta(0):
        raise TooManyAttempts("throttled", retry_after=wait)
    claims: list[Claim] = []
    try:
        for gate in gates:
            if gate.seen is None or not gate.backoff.exhausted(gate.seen, now):
                continue
            async with db.autocommit() as connection:
                claimed = await throttle_counters.claim(
                    connection, gate.key, gate.seen, now=database_now
                )
            if claimed is None:
                delay = gate.backoff.delay(gate.seen.count)
                raise TooManyAttempts("outrun", retry_after=delay)
            claims.append(Claim(gate.key, gate.seen, claimed))
        yield claims
    except BaseException:
        await give_back(db, claims)
        raise


async def give_back(db: Database, claims: list[Claim]) -> None:
    """Undo claims: a right password is counted against nobody, nor is one that was not tried."""
    for claim in claims:
        async with db.autocommit() as connection:
            await throttle_counters.give_back(
                connection, claim.key, seen=claim.seen, claimed=claim.claimed
            )
