"""
Where finished log lines go, so that no sink can stop the service that logs.

A pipe that is not read, or a disk that is full, costs lines and never a request: they are counted
(`authsvc_log_lines_dropped_total`).
"""

from __future__ import annotations

import atexit
import os
import sys
from queue import SimpleQueue
from threading import Event, Lock, Thread
from typing import Literal, Protocol

MAX_LINES = 4096  # that wait for the sink; about a megabyte
FLUSH_SECONDS = 1.0  # at the end, for a sink that takes nothing

Stream = Literal["stdout", "stderr"]


class Sink(Protocol):
    """What takes lines."""

    def write(self, line: str) -> None:
        """Take one line without its end; raises nothing."""

    def end(self) -> None:
        """Write out what waits."""


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
        """Write one line with one call, so that lines of several processes do not mix."""
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

    Args:
        fd: Where to.
        max_lines: How many may wait; a line beyond is dropped.
    """

    def __init__(self, fd: int, *, max_lines: int = MAX_LINES) -> None:
        self._fd = fd
        self._max_lines = max_lines
        self._lines: SimpleQueue[str | Event] = SimpleQueue()
        self._ending = False
        # A daemon: the end of the process does not wait for a write that never returns.
        Thread(target=self._run, name="log", daemon=True).start()
        atexit.register(self.end)

    def write(self, line: str) -> None:
        """Leave a line for the thread."""
        if self._lines.qsize() >= self._max_lines:
            dropped.add()
            return
        self._lines.put(line)
        if self._ending:
            self._flush()

    def end(self) -> None:
        """Write out what waits, as far as the sink takes it; later lines are written at once."""
        self._ending = True
        self._flush()

    def _flush(self) -> None:
        written = Event()
        self._lines.put(written)
        written.wait(FLUSH_SECONDS)

    def _run(self) -> None:
        while True:
            line = self._lines.get()
            if isinstance(line, Event):
                line.set()
                continue
            try:
                self._write(f"{line}\n".encode(errors="backslashreplace"))
            except OSError:
                dropped.add()

    def _write(self, data: bytes) -> None:
        # One call, so that lines of several processes do not mix; a pipe may take less.
        while data:
            data = data[os.write(self._fd, data) :]
