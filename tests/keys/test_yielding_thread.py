"""Threads of long computations let whoever wakes go first (decision 0012)."""

from __future__ import annotations

import os
import platform
import re
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pytest

from authsvc.keys.yielding_thread import NICENESS, SLICE_NS, lower_priority

T = TypeVar("T")

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it is left alone elsewhere")


def in_such_a_thread(work: Callable[[], T]) -> T:
    with ThreadPoolExecutor(1, initializer=lower_priority) as pool:
        return pool.submit(work).result()


def niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


def slice_ns() -> int | None:
    """What the kernel lets this thread run at a stretch, if it tells."""
    told = Path(f"/proc/self/task/{threading.get_native_id()}/sched")
    found = re.search(r"se\.slice\s*:\s*(\d+)", told.read_text()) if told.exists() else None
    return int(found[1]) if found else None


def test_it_alone_is_niced() -> None:
    assert in_such_a_thread(niceness) == min(19, niceness() + NICENESS)


def test_its_turns_are_long_so_that_whoever_wakes_need_not_wait_for_their_end() -> None:
    release = re.match(r"(\d+)\.(\d+)", platform.release())
    if release is None or tuple(map(int, release.groups())) < (6, 12) or slice_ns() is None:
        pytest.skip("needs Linux 6.12, and a kernel that tells the slice")

    assert in_such_a_thread(slice_ns) == SLICE_NS
    assert slice_ns() != SLICE_NS


def test_a_machine_that_is_not_known_keeps_the_niceness(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")

    assert in_such_a_thread(niceness) == min(19, niceness() + NICENESS)
