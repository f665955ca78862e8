"""
Rotations that go together.

A statement costs PostgreSQL and us more than the row that it changes: a message each way, a
snapshot, a commit and its share of an fsync, and the switches between the two processes. A busy
service has read several requests by the time it can send a statement, so they share one
(decision 0015). A request that comes alone is not held back, and one that nobody serves soon
goes alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from contextvars import Context
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from uuid import UUID

from authsvc.protocol.errors import Refusal
from authsvc.store import attempts
from authsvc.store.attempts import Attempt
from authsvc.store.hot_statement import HotConnection
from authsvc.store.refresh_families import Family

# Statements under way at once, while all is well. More would each find less to take along.
LANES = 2
# The rows of one statement stay locked until it commits.
MOST_TOGETHER = 16
# Seconds without the end of any statement; then those under way hang, or have no connection.
PATIENCE = 0.05

Promised = asyncio.Future[Family | None]
Entry = tuple[Attempt, Promised]


@dataclass(eq=False, slots=True)
class Lane:
    """Sends one statement after the other."""

    connected: bool = False


class Rotations:
    """
    The rotations of one process.

    Args:
        lease: A connection for single statements that each commit by themselves.
    """

    def __init__(self, lease: Callable[[], AbstractAsyncContextManager[HotConnection]]) -> None:
        self._lease = lease
        # Requests that still want an answer and are in no statement yet.
        self._waiting: dict[UUID, Entry] = {}
        self._lanes: set[Lane] = set()  # without those that hang
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended = 0  # statements
        self._watch: asyncio.TimerHandle | None = None

    async def rotate(self, attempt: Attempt, *, now: datetime | None = None) -> Family | None:
        """
        As `attempts.rotate`, and in the company of whatever else is waiting.

        Cancelling it before its statement was sent leaves the family as it is; afterwards the
        statement goes on for the others.

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
        promised: Promised = asyncio.get_running_loop().create_future()
        entry = self._waiting[family_id] = (attempt, promised)
        if len(self._lanes) < LANES:
            self._open_lane()
        if self._watch is None:
            self._watch_over()
        try:
            return await promised
        except _GoAloneError:
            return await self.alone(attempt)
        finally:
            if self._waiting.get(family_id) is entry:
                del self._waiting[family_id]

    async def alone(self, attempt: Attempt, *, now: datetime | None = None) -> Family | None:
        """As `attempts.rotate`: wait for whoever holds the family."""
        async with self._lease() as connection:
            return await attempts.rotate(connection, attempt, now=now)

    def _open_lane(self) -> None:
        lane = Lane()
        self._lanes.add(lane)
        # Its first step comes after those of all requests that this turn of the loop has read;
        # it is none of theirs, so it has no part in the context of one.
        task = asyncio.get_running_loop().create_task(self._serve(lane), context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, lane: Lane) -> None:
        """Send statements until nobody waits, or others do it since this one has hung."""
        try:
            while self._waiting and lane in self._lanes:
                await self._send(lane)
                self._ended += 1
        finally:
            self._lanes.discard(lane)

    async def _send(self, lane: Lane) -> None:
        """Send one statement for those who wait, and give each an answer."""
        together: list[Entry] = []
        try:
            # They are chosen when there is a connection: until then others may serve them.
            async with self._lease() as connection:
                together = self._take(MOST_TOGETHER)
                lane.connected = True
                rotated = await _run(connection, [attempt for attempt, _ in together])
        except Exception as exc:  # noqa: BLE001 - whose fault it is, each finds out alone
            if lane.connected:
                _tell(together, exc if isinstance(exc, Refusal) else _GoAloneError())
            else:
                self._lanes.discard(lane)
                self._send_away()
        else:
            for attempt, promised in together:
                if not promised.done():
                    promised.set_result(rotated.get(attempt.token.family_id))
        finally:
            lane.connected = False
            for _, promised in together:
                promised.cancel()  # those without an answer: the process is ending

    def _take(self, most: int) -> list[Entry]:
        return [self._waiting.pop(key) for key in list(islice(self._waiting, most))]

    def _watch_over(self) -> None:
        loop = asyncio.get_running_loop()
        self._watch = loop.call_later(PATIENCE, self._look, self._ended)

    def _look(self, ended: int) -> None:
        """Send those who wait away if no statement has ended meanwhile."""
        self._watch = None
        if not self._waiting:
            return
        if self._ended > ended:
            self._watch_over()
            return
        self._lanes = {lane for lane in self._lanes if not lane.connected}
        self._send_away()

    def _send_away(self) -> None:
        """Each goes on alone: by a connection of its own, to a failure of its own."""
        _tell(self._take(len(self._waiting)), _GoAloneError())


async def _run(connection: HotConnection, together: list[Attempt]) -> dict[UUID, Family]:
    match together:
        case []:
            return {}  # others have served them, or they were given up
        case [attempt]:
            rotated = await attempts.rotate(connection, attempt)
            return {rotated.id: rotated} if rotated else {}
        case _:
            return await attempts.rotate_together(connection, together)


class _GoAloneError(Exception):
    """Nobody served the request, or a statement failed for what one of them may have brought."""


def _tell(entries: list[Entry], failure: Exception) -> None:
    for _, promised in entries:
        if not promised.done():
            promised.set_exception(failure)
