"""
Group commit: refreshes that arrive together share one SQL statement (decision 0015).

Two statements may be under way, and what arrives meanwhile shares the next one. A request that
comes alone leaves at once, and those that wait behind statements that hang go alone, too.
"""

from __future__ import annotations

from asyncio import Future, Task, create_task, current_task, get_running_loop
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from contextvars import Context
from uuid import UUID

from authsvc.protocol.errors import Refusal
from authsvc.store import rotation
from authsvc.store.hot_statement import HotConnection
from authsvc.store.refresh_families import Family
from authsvc.store.rotation import RotationRequest

LANES = 2  # statements under way; with more, each would find fewer requests to take along
MAX_TOGETHER = 16  # the rows of one statement stay locked until it commits
PATIENCE = 0.05  # seconds; a statement that takes longer hangs, and frees its lane

# What each family became, or why that is unknown; None: each has to go alone.
Outcome = Mapping[UUID, Family | None] | Refusal | None
Entry = tuple[RotationRequest, Future[Outcome]]


class GroupCommit:
    """The queue of one process; `lease` gives connections for single statements."""

    def __init__(self, lease: Callable[[], AbstractAsyncContextManager[HotConnection]]) -> None:
        self._lease = lease
        self._waiting: dict[UUID, Entry] = {}
        self._lanes: set[Task[None] | None] = set()  # the workers, without those that hang

    async def rotate(self, request: RotationRequest) -> Family | None:
        """As `rotation.rotate`, but None also if another transaction has locked the family."""
        family_id = request.token.family_id
        if family_id in self._waiting:
            return await self.alone(request)
        answer: Future[Outcome] = Future()
        self._waiting[family_id] = request, answer
        if len(self._lanes) < LANES:
            # It begins after all requests of this turn of the loop, in the context of none.
            self._lanes.add(create_task(self._work(), context=Context()))
        outcome = await answer
        if isinstance(outcome, Refusal):
            raise outcome
        return await self.alone(request) if outcome is None else outcome.get(family_id)

    async def alone(self, request: RotationRequest) -> Family | None:
        """As `rotation.rotate`, which waits for the lock."""
        async with self._lease() as connection:
            return await rotation.rotate(connection, request)

    async def _work(self) -> None:
        lane = current_task()
        while self._waiting and lane in self._lanes:
            overdue = get_running_loop().call_later(PATIENCE, self._free, lane)
            together: list[Entry] = []
            try:
                async with self._lease() as connection:
                    together = self._take(MAX_TOGETHER)  # no sooner: some may be cancelled
                    outcome = await _rotate(connection, [request for request, _ in together])
            except Exception as exc:  # noqa: BLE001 - whose fault it is, each finds out alone
                outcome = exc if together and isinstance(exc, Refusal) else None
            _tell(together or self._take(), outcome)
            overdue.cancel()
        self._free(lane)

    def _free(self, lane: Task[None] | None) -> None:
        self._lanes.discard(lane)  # it goes on: what it waits for refers to it
        if not self._lanes:
            _tell(self._take(), None)

    def _take(self, limit: int | None = None) -> list[Entry]:
        taken = [self._waiting.pop(family_id) for family_id in list(self._waiting)[:limit]]
        return [entry for entry in taken if not entry[1].done()]


async def _rotate(connection: HotConnection, together: list[RotationRequest]) -> Outcome:
    if len(together) > 1:
        return await rotation.rotate_together(connection, together)
    return {each.token.family_id: await rotation.rotate(connection, each) for each in together}


def _tell(together: list[Entry], outcome: Outcome) -> None:
    for answer in [each for _, each in together if not each.done()]:
        answer.set_result(outcome)
