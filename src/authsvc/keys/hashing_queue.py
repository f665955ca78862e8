"""
Load shedding for password hashing: fair queueing, bounded memory and a bounded wait.

Networks take turns (round robin), so that one that sends more than can be hashed, right passwords
or wrong ones, makes itself wait and nobody else.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain
from typing import TypeVar

from authsvc.keys.yielding_thread import lower_priority
from authsvc.protocol.errors import Overloaded

T = TypeVar("T")

NEWEST = 0.1  # the weight of the newest measurement in the running average


@dataclass(slots=True, eq=False)
class _Turn:
    """Work that waits; `granted` once it may begin."""

    granted: asyncio.Future[None]
    memory_kib: int
    network: str


class HashingQueue:
    """
    Admission control for one event loop; everything but the work happens on that loop.

    Args:
        threads: Pieces of work at a time, as far as the memory allows.
        budget_kib: Memory of all that runs at a time.
        usual_kib: Memory of the usual piece.
        usual_seconds: A first guess of how long it takes.
        queue_seconds: The longest wait.
    """

    def __init__(
        self,
        *,
        threads: int,
        budget_kib: int,
        usual_kib: int,
        usual_seconds: float,
        queue_seconds: float,
    ) -> None:
        if usual_kib > budget_kib:
            raise ValueError(f"one hash needs {usual_kib} KiB, the budget is {budget_kib} KiB")
        self._threads = min(threads, budget_kib // usual_kib)
        self._budget_kib = budget_kib
        self._mean_seconds = usual_seconds
        self._queue_seconds = queue_seconds
        self._waiting: dict[str, deque[_Turn]] = {}  # by network; the next one is first
        self._running_kib: list[int] = []
        self._begun: dict[object, float] = {}  # when what runs began, by its future
        self._closed = False
        self._executor = ThreadPoolExecutor(
            self._threads, thread_name_prefix="argon2", initializer=lower_priority
        )

    @property
    def queued(self) -> int:
        """Pieces of work that wait."""
        return sum(map(len, self._waiting.values()))

    @property
    def running(self) -> int:
        """Pieces of work in a thread."""
        return len(self._running_kib)

    @property
    def longest_seconds(self) -> float:
        """How long the oldest piece of work has been in its thread; 0 if none is."""
        return time.monotonic() - min(self._begun.values()) if self._begun else 0.0

    async def run(self, work: Callable[[], T], *, memory_kib: int, network: str = "") -> T:
        """
        The result of `work`, once there was a thread and memory for it.

        Work whose caller has gone before it began is never done.

        Args:
            network: Whose turn it takes.

        Raises:
            Overloaded: The wait would be, or has become, too long; nothing was done.
        """
        await self._wait_for_turn(memory_kib, network)
        loop = asyncio.get_running_loop()
        try:
            future = self._executor.submit(_timed, work)
        except RuntimeError:
            self._release(memory_kib)
            raise Overloaded("closed", retry_after=timedelta(seconds=1)) from None

        self._begun[future] = time.monotonic()

        # A caller may go away, the thread goes on: its memory is free when *it* is done.
        def done(finished: Future[tuple[T, float]]) -> None:
            with suppress(RuntimeError):  # the loop is closed, nobody counts any more
                loop.call_soon_threadsafe(self._finished, finished, memory_kib)

        future.add_done_callback(done)
        result, _ = await asyncio.wrap_future(future)
        return result

    def refuse_if_full(self, network: str = "") -> None:
        """
        Refuse early what `run` would refuse later.

        Raises:
            Overloaded: Work that came now would wait too long.
        """
        if self._waiting and self._expected(network) > self._queue_seconds:
            raise self._overloaded("the queue is full", network)

    def close(self) -> None:
        """Refuse what waits and what comes later; what runs is finished."""
        self._closed = True
        for turn in chain.from_iterable(self._waiting.values()):
            if not turn.granted.done():
                turn.granted.set_exception(Overloaded("closed", retry_after=timedelta(seconds=1)))
        self._waiting.clear()
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def _wait_for_turn(self, memory_kib: int, network: str) -> None:
        if not self._waiting and self._fits(memory_kib):
            self._running_kib.append(memory_kib)
            return
        if self._expected(network) > self._queue_seconds:
            raise self._overloaded("the queue is full", network)
        turn = _Turn(asyncio.get_running_loop().create_future(), memory_kib, network)
        self._waiting.setdefault(network, deque()).append(turn)
        try:
            async with asyncio.timeout(self._queue_seconds):
                await turn.granted
        except BaseException as exc:
            if turn in self._waiting.get(network, ()):
                self._leave(turn)
                self._dispatch()
            elif turn.granted.done() and not turn.granted.cancelled() and not self._closed:
                # The turn came in the very moment in which the caller gave up.
                self._release(memory_kib)
            if isinstance(exc, TimeoutError):
                raise self._overloaded("waited too long", network) from None
            raise

    def _leave(self, turn: _Turn) -> None:
        of_network = self._waiting[turn.network]
        of_network.remove(turn)
        if not of_network:
            del self._waiting[turn.network]

    def _fits(self, memory_kib: int) -> bool:
        return (
            len(self._running_kib) < self._threads
            and sum(self._running_kib) + memory_kib <= self._budget_kib
        )

    def _finished(self, future: Future[tuple[T, float]], memory_kib: int) -> None:
        self._begun.pop(future, None)
        if not future.cancelled() and future.exception() is None:
            _, seconds = future.result()
            self._mean_seconds += NEWEST * (seconds - self._mean_seconds)
        self._release(memory_kib)

    def _release(self, memory_kib: int) -> None:
        self._running_kib.remove(memory_kib)
        self._dispatch()

    def _dispatch(self) -> None:
        """Let the next ones begin: of each network in turn, in the order in which they came."""
        while self._waiting:
            network, turns = next(iter(self._waiting.items()))
            if not self._fits(turns[0].memory_kib):
                break
            turn = turns.popleft()
            del self._waiting[network]
            if turns:
                self._waiting[network] = turns  # behind the others
            if not turn.granted.done():
                self._running_kib.append(turn.memory_kib)
                turn.granted.set_result(None)

    def _expected(self, network: str) -> float:
        """Seconds that work of a network which comes now will wait."""
        own = len(self._waiting.get(network, ()))
        others = (turns for name, turns in self._waiting.items() if name != network)
        ahead = own + sum(min(len(turns), own + 1) for turns in others)
        return (ahead + 1) * self._mean_seconds / self._threads

    def _overloaded(self, detail: str, network: str) -> Overloaded:
        """A whole number of seconds after which the queue should be shorter."""
        wait = self._expected(network)
        return Overloaded(detail, retry_after=timedelta(seconds=max(1, math.ceil(wait))))


def _timed(work: Callable[[], T]) -> tuple[T, float]:
    started = time.perf_counter()
    result = work()
    return result, time.perf_counter() - started
