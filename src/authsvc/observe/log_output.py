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
from typing import Literal, Protocol

MAX_LINES = 4096  # that wait for the sink; about a megabyte
FLUSH_SECONDS = 1.0  # at the end, for a sink that takes nothing
GATHER_SECONDS = 0.01
AT_ONCE = select.PIPE_BUF  # bytes that a pipe takes as a whole, whoever else writes

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

    The thread lets lines gather for a moment: woken for each, it would cost a request a tenth of
    its time (the switch from and to the event loop's thread).

    Args:
        fd: Where to.
        max_lines: How many may wait; a line beyond is dropped.
    """

    def __init__(self, fd: int, *, max_lines: int = MAX_LINES) -> None:
        self._fd = fd
        self._max_lines = max_lines
        self._lines: deque[str | Event] = deque()
        self._some = Event()
        self._ending = False
        # A daemon: the end of the process does not wait for a write that never returns.
        Thread(target=self._run, name="log", daemon=True).start()
        atexit.register(self.end)

    def write(self, line: str) -> None:
        """Leave a line for the thread."""
        if len(self._lines) >= self._max_lines:
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
        self._lines.append(written)
        self._some.set()
        written.wait(FLUSH_SECONDS)

    def _run(self) -> None:
        while True:
            self._some.wait()
            if not self._ending:
                time.sleep(GATHER_SECONDS)
            self._some.clear()
            while self._lines:
                self._write_next()

    def _write_next(self) -> None:
        """What goes into one write; it stays in the queue until it is written."""
        first = self._lines[0]
        if isinstance(first, Event):
            first.set()
            self._lines.popleft()
            return
        lines: list[bytes] = []
        room = AT_ONCE
        # By index: the others append meanwhile, and only this thread takes away.
        while len(lines) < len(self._lines):
            line = self._lines[len(lines)]
            if isinstance(line, Event):
                break
            data = f"{line}\n".encode(errors="backslashreplace")
            room -= len(data)
            if lines and room < 0:
                break
            lines.append(data)
        try:
            self._write(b"".join(lines))
        except OSError:
            for _ in lines:
                dropped.add()
        for _ in lines:
            self._lines.popleft()

    def _write(self, data: bytes) -> None:
        # So little that lines of several processes do not mix; a pipe may take less.
        while data:
            data = data[os.write(self._fd, data) :]
