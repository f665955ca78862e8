"""
Two requests in the same moment, and neither always first.

A race whose order is always the same proves nothing. So the moments are not fixed: a racer is
steered, round by round, to where it comes first about as often as second.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random
from typing import TypeVar

T = TypeVar("T")

STEP, MAX_STEP, SPREAD, FARTHEST = 0.000_3, 0.005, 0.001, 0.05  # seconds


@dataclass
class Racer:
    """When a request is sent, in seconds after the revocation; steered to a photo finish."""

    centre: float = 0.0
    step: float = STEP
    _was_first: bool | None = None

    def offset(self, random: Random) -> float:
        """The moment for the next round."""
        return self.centre + random.uniform(-SPREAD, SPREAD)

    def came(self, *, first: bool) -> None:
        """Go later after a win, earlier after a defeat; in longer strides while nothing changes."""
        self.step = min(2 * self.step, MAX_STEP) if first is self._was_first else STEP
        self._was_first = first
        self.centre += self.step if first else -self.step
        self.centre = min(FARTHEST, max(-FARTHEST, self.centre))


async def run_at(moment: float, act: Callable[[], Awaitable[T]]) -> T:
    """Run at a moment; timers are only good to a millisecond, so the last two are polled."""
    await asyncio.sleep(max(0.0, moment - time.monotonic() - 0.002))
    while time.monotonic() < moment:  # noqa: ASYNC110 - no event says so as exactly
        await asyncio.sleep(0)
    return await act()
