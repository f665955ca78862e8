"""
Where finished log lines go, so that no sink can stop the service that logs.

A pipe that is not read, or a disk that is full, costs lines and never a request: they are counted
(`authsvc_log_lines_dropped_total`).
"""

from __future__ import annotations

import atexit
import os
import select
import sys
import time
from collections import deque
from threading import Event, Lock, Thread
from typing import Literal, TypeVar

MAX_LINES = 4096  # that wait for the sink; about a megabyte
FLUSH_SECONDS = 1.0  # at the end, for a sink that takes nothing
GATHER_SECONDS = 0.01
AT_ONCE = select.PIPE_BUF  # bytes that a pipe takes as a whole, whoever else writes

Stream = Literal["stdout", "stderr"]
Each = TypeVar("Each")


class Dropped:
    """How many lines were lost."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._count = 0

    def add(self) -> None:
        """Count one."""
        with self._lock:
            self._count += 1

    def take(self) -> int:
        """Those since it was last asked."""
        with self._lock:
            count, self._count = self._count, 0
        return count


dropped = Dropped()


class Direct:
    """Writes at once, to what the stream is at that moment."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def write(self, line: str) -> None:
        """
        Write one line, which comes without its end; raises nothing.

        With one call, so that lines of several processes do not mix.
        """
        stream = getattr(sys, self._stream)
        try:
            stream.write(line + "\n")
            stream.flush()
        except (AttributeError, OSError, ValueError):  # absent, refusing, closed
            dropped.add()

    def end(self) -> None:
        """Nothing waits."""


class Background:
    """
    Writes from a thread of its own, behind a bounded queue.

    The thread lets lines gather for a moment: woken for each, it would cost a request a tenth of
    its time (the switch from and to the event loop's thread).

    Args:
        fd: Where to.
        max_lines: How many may wait; a line beyond is dropped.
    """

    def __init__(self, fd: int, *, max_lines: int = MAX_LINES) -> None:
        self._fd = fd
        self._max_lines = max_lines
        self._lines: deque[str] = deque()
        self._in_hand = 0  # lines that the thread has taken and not yet written
        self._flushes: deque[Event] = deque()
        self._some = Event()
        self._ending = False
        # A daemon: the end of the process does not wait for a write that never returns.
        Thread(target=self._run, name="log", daemon=True).start()
        atexit.register(self.end)

    def write(self, line: str) -> None:
        """Leave a line for the thread."""
        if len(self._lines) + self._in_hand >= self._max_lines:
            dropped.add()
            return
        self._lines.append(line)
        if not self._some.is_set():
            self._some.set()
        if self._ending:
            self._flush()

    def end(self) -> None:
        """Write out what waits, as far as the sink takes it; later lines are written at once."""
        self._ending = True
        self._flush()

    def _flush(self) -> None:
        written = Event()
        self._flushes.append(written)
        self._some.set()
        written.wait(FLUSH_SECONDS)

    def _run(self) -> None:
        while True:
            self._some.wait()
            if not self._ending:
                time.sleep(GATHER_SECONDS)
            self._some.clear()
            flushes = _taken(self._flushes)
            while self._lines:
                self._in_hand = len(self._lines)
                self._write("".join(f"{line}\n" for line in _taken(self._lines)))
                self._in_hand = 0
            for written in flushes:
                written.set()

    def _write(self, text: str) -> None:
        data = text.encode(errors="backslashreplace")
        begin = 0
        while begin < len(data):
            # Whole lines, and so few that those of several processes do not mix in a pipe.
            end = data.rfind(b"\n", begin, begin + AT_ONCE) + 1 or data.find(b"\n", begin) + 1
            try:
                while begin < end:
                    begin += os.write(self._fd, data[begin:end])
            except OSError:
                for _ in range(data.count(b"\n", begin, end)):
                    dropped.add()
                begin = end


Sink = Direct | Background


def _taken(waiting: deque[Each]) -> list[Each]:
    """What waits now; others append meanwhile."""
    return [waiting.popleft() for _ in range(len(waiting))]
