"""Virtual time: a queue of what happens when."""

from __future__ import annotations

import heapq
from collections.abc import Callable


class World:
    """Runs what was planned, in the order of its time; nothing in it ever waits."""

    def __init__(self) -> None:
        self.now = 0
        self._queue: list[tuple[int, int, Callable[[], None]]] = []
        self._planned = 0
        self._stopped = False

    def after(self, delay: int, act: Callable[[], None]) -> None:
        """Plan something, so many milliseconds from now."""
        self._planned += 1
        heapq.heappush(self._queue, (self.now + delay, self._planned, act))

    def stop(self) -> None:
        """Nothing more happens."""
        self._stopped = True

    def run(self) -> None:
        """Until nothing is planned any more."""
        while self._queue and not self._stopped:
            self.now, _, act = heapq.heappop(self._queue)
            act()
