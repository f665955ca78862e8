"""
Rotations that go together.

A statement costs PostgreSQL and us more than the row that it changes: a message each way, a
snapshot, a commit and its share of an fsync, and the switches between the two processes. A busy
service has read several requests by the time it can send a statement, so they share one
(decision 0015). A request that comes alone is not held back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from itertools import islice
from uuid import UUID

from authsvc.protocol.errors import Refusal
from authsvc.store import refresh_families
from authsvc.store.hot_statement import HotConnection
from authsvc.store.refresh_families import Attempt, Family

# Statements under way at once, while all is well. More would each find less to take along.
LANES = 2
# The rows of one statement stay locked until it commits.
MOST_TOGETHER = 64
# Seconds; then a statement hangs, and what waits goes without it.
PATIENCE = 0.01

Promised = asyncio.Future[Family | None]


class Rotations:
    """
    The rotations of one process.

    Args:
        lease: A connection for single statements that each commit by themselves.
    """

    def __init__(self, lease: Callable[[], AbstractAsyncContextManager[HotConnection]]) -> None:
        self._lease = lease
        self._waiting: dict[UUID, tuple[Attempt, Promised]] = {}
        self._lanes: set[asyncio.Task[None]] = set()
        self._late: asyncio.TimerHandle | None = None

    async def rotate(self, attempt: Attempt, *, now: datetime | None = None) -> Family | None:
        """
        As `refresh_families.rotate`, and in the company of whatever else is waiting.

        Cancelling it takes nothing back: the statement goes on for the others.

        Args:
            now: Only tests pass one.

        Returns:
            The family after the rotation; None if the token does not rotate, or somebody else
            holds the family (see `alone`).

        Raises:
            DatabaseUnavailable, OutcomeUnknown: See `Database.autocommit`.
        """
        family_id = attempt.token.family_id
        if now is not None or family_id in self._waiting:
            return await self.alone(attempt, now=now)
        loop = asyncio.get_running_loop()
        promised: Promised = loop.create_future()
        self._waiting[family_id] = (attempt, promised)
        if len(self._lanes) < LANES:
            self._open_lane()
        elif self._late is None:
            self._late = loop.call_later(PATIENCE, self._open_late_lane)
        try:
            return await promised
        except _SpoiledError:
            return await self.alone(attempt)

    async def alone(self, attempt: Attempt, *, now: datetime | None = None) -> Family | None:
        """As `refresh_families.rotate`: wait for whoever holds the family."""
        async with self._lease() as connection:
            return await refresh_families.rotate(connection, attempt, now=now)

    def _open_lane(self) -> None:
        # Its first step comes after those of all requests that this turn of the loop has read.
        lane = asyncio.get_running_loop().create_task(self._serve())
        self._lanes.add(lane)
        lane.add_done_callback(self._lanes.discard)

    def _open_late_lane(self) -> None:
        self._late = None
        if self._waiting:
            self._open_lane()

    async def _serve(self) -> None:
        while self._waiting:
            together = [
                self._waiting.pop(key) for key in list(islice(self._waiting, MOST_TOGETHER))
            ]
            try:
                rotated = await self._run([attempt for attempt, _ in together])
            except Refusal as refusal:
                for _, promised in _read(together):
                    promised.set_exception(refusal)
            except Exception:  # noqa: BLE001 - whose fault it is, each finds out alone
                for _, promised in _read(together):
                    promised.set_exception(_SpoiledError())
            else:
                for attempt, promised in _read(together):
                    promised.set_result(rotated.get(attempt.token.family_id))
            finally:
                for _, promised in together:
                    promised.cancel()  # those that are not done: the process is ending

    async def _run(self, attempts: list[Attempt]) -> dict[UUID, Family]:
        async with self._lease() as connection:
            if len(attempts) > 1:
                return await refresh_families.rotate_together(connection, attempts)
            rotated = await refresh_families.rotate(connection, attempts[0])
            return {rotated.id: rotated} if rotated else {}


class _SpoiledError(Exception):
    """The statement failed for a reason that one of the requests may have brought along."""


def _read(together: list[tuple[Attempt, Promised]]) -> list[tuple[Attempt, Promised]]:
    """Those that somebody still waits for."""
    return [each for each in together if not each[1].done()]
