"""
The pool of the hot connections: what asyncpg's own does in a task and two timers, in two moves.

It can be this small because only single statements in autocommit run on these connections. There
is no session state to reset, and a connection that was left by any exception (an error of the
server, a cancelled request, a standby that was promoted elsewhere) is closed, never given to the
next request.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Protocol

from authsvc.store.hot_statement import Fetching


class PooledConnection(Fetching, Protocol):
    """What the pool does with an asyncpg connection."""

    def is_closed(self) -> bool:
        """Whether it has ended, from whichever side."""

    def terminate(self) -> None:
        """End it now, also in the middle of a statement."""


class HotPool:
    """
    At most `size` connections, opened when they are needed.

    Args:
        connect: Opens one.
        patience: Seconds that a request waits for one while all are in use.
    """

    def __init__(
        self, connect: Callable[[], Awaitable[PooledConnection]], *, size: int, patience: float
    ) -> None:
        self._connect = connect
        self._size = size
        self._patience = patience
        self._slots = 0  # connections, and those that are being opened
        # The one that came back last knows the statement and lies warm in PostgreSQL's caches.
        self._idle: list[PooledConnection] = []
        self._busy: set[PooledConnection] = set()
        # A waiter gets a connection, or None: a slot to open one in.
        self._waiting: deque[asyncio.Future[PooledConnection | None]] = deque()

    @property
    def in_use(self) -> int:
        """Connections that run a statement."""
        return len(self._busy)

    @property
    def opened(self) -> int:
        """Connections that are open."""
        return len(self._busy) + len(self._idle)

    async def acquire(self) -> PooledConnection:
        """
        A connection of one's own.

        Raises:
            TimeoutError: All were in use for too long.
            OSError, asyncpg.PostgresError: None could be opened.
        """
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                self._busy.add(connection)
                return connection
            self._slots -= 1  # it died in its sleep
        if self._slots < self._size:
            self._slots += 1
            return await self._open()
        handed = await self._wait()
        return handed if handed is not None else await self._open()

    def release(self, connection: PooledConnection) -> None:
        """Give it back after a statement that succeeded."""
        if connection.is_closed():
            self.discard(connection)
        elif not self._hand_over(connection):
            self._busy.discard(connection)
            self._idle.append(connection)

    def discard(self, connection: PooledConnection) -> None:
        """Close it: its state is unknown."""
        self._busy.discard(connection)
        connection.terminate()
        self._free_slot()

    def discard_idle(self) -> None:
        """Close the idle ones; the next request opens a new one."""
        self._slots -= len(self._idle)
        for connection in self._idle:
            connection.terminate()
        self._idle.clear()

    def close(self) -> None:
        """End all connections and open none any more; running statements are cut off."""
        self._size = 0
        for connection in (*self._idle, *self._busy):
            connection.terminate()
        self._idle.clear()

    async def _open(self) -> PooledConnection:
        try:
            connection = await self._connect()
        except BaseException:
            self._free_slot()
            raise
        self._busy.add(connection)
        return connection

    async def _wait(self) -> PooledConnection | None:
        waiter: asyncio.Future[PooledConnection | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            async with asyncio.timeout(self._patience):
                return await waiter
        except BaseException:
            if waiter.done() and not waiter.cancelled():
                # It was handed over in the very moment in which the request gave up.
                handed = waiter.result()
                if handed is None:
                    self._free_slot()
                else:
                    self.release(handed)
            raise

    def _hand_over(self, connection: PooledConnection | None) -> bool:
        """Give a connection (or a slot) to the request that has waited longest."""
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(connection)
                return True
        return False

    def _free_slot(self) -> None:
        if not self._hand_over(None):
            self._slots -= 1
