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
MOST_TOGETHER = 16
# Seconds; then the statements under way hang, and one more is sent beside them.
PATIENCE = 0.05

Promised = asyncio.Future[Family | None]
Asked = tuple[Attempt, Promised]


class Rotations:
    """
    The rotations of one process.

    Args:
        lease: A connection for single statements that each commit by themselves.
    """

    def __init__(self, lease: Callable[[], AbstractAsyncContextManager[HotConnection]]) -> None:
        self._lease = lease
        self._waiting: dict[UUID, Asked] = {}
        self._under_way = 0  # lanes
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
        if self._under_way < LANES:
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
        self._under_way += 1
        # Its first step comes after those of all requests that this turn of the loop has read.
        lane = asyncio.get_running_loop().create_task(self._serve())
        self._lanes.add(lane)
        lane.add_done_callback(self._lanes.discard)

    def _open_late_lane(self) -> None:
        self._late = None
        if self._waiting:
            self._open_lane()

    async def _serve(self) -> None:
        """Send statements until nobody waits; one, if there are lanes enough without this."""
        try:
            while await self._send() and self._waiting and self._under_way <= LANES:
                pass
        finally:
            self._under_way -= 1

    async def _send(self) -> bool:
        """
        Send one statement for those who wait, and give each an answer.

        Returns:
            Whether there was a connection.
        """
        together: list[Asked] = []
        try:
            # They are chosen when there is a connection: until then another lane may serve them.
            async with self._lease() as connection:
                together = self._take(MOST_TOGETHER)
                rotated = await _run(connection, [attempt for attempt, _ in together])
        except Refusal as refusal:
            connected = bool(together)
            if not connected and self._under_way == 1:
                together = self._take(len(self._waiting))  # there is nobody else to serve them
            _tell(together, refusal)
            return connected
        except Exception:  # noqa: BLE001 - whose fault it is, each finds out alone
            _tell(together, _SpoiledError())
        else:
            for attempt, promised in together:
                if not promised.done():
                    promised.set_result(rotated.get(attempt.token.family_id))
        finally:
            for _, promised in together:
                promised.cancel()  # those without an answer: the process is ending
        return True

    def _take(self, most: int) -> list[Asked]:
        return [self._waiting.pop(key) for key in list(islice(self._waiting, most))]


async def _run(connection: HotConnection, attempts: list[Attempt]) -> dict[UUID, Family]:
    if len(attempts) > 1:
        return await refresh_families.rotate_together(connection, attempts)
    for attempt in attempts:
        rotated = await refresh_families.rotate(connection, attempt)
        return {rotated.id: rotated} if rotated else {}
    return {}  # others have served them


class _SpoiledError(Exception):
    """The statement failed for a reason that one of the requests may have brought along."""


def _tell(together: list[Asked], failure: Exception) -> None:
    for _, promised in together:
        if not promised.done():
            promised.set_exception(failure)
