"""Waiting for what other processes and threads do, however busy the machine is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

# No test judges by it: it only makes one that would wait for ever fail.
HANGS = 120.0  # seconds


def until(condition: Callable[[], bool]) -> None:
    """Wait in a thread of one's own."""
    deadline = time.monotonic() + HANGS
    while not condition():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.02)


async def eventually(condition: Callable[[], bool]) -> None:
    """Let the event loop turn until something has happened."""

    async def happened() -> bool:
        return condition()

    await eventually_true(happened)


async def eventually_true(condition: Callable[[], Awaitable[object]]) -> None:
    """Ask again and again."""
    async with asyncio.timeout(HANGS):
        while not await condition():  # noqa: ASYNC110 - nothing tells when
            await asyncio.sleep(0)
