"""Sends attempts as fast as two cores allow, and looks at every answer."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from proof.experiment import Findings
from proof.malformed.attempt import Attempt

DEADLINE = 5.0  # seconds, for every answer
PIPELINED = 8  # requests sent ahead; the service allows 16
CONNECTIONS = 6  # to each replica
SILENCE = 0.3  # seconds; so long an incomplete request is left waiting before we hang up
LENGTH = re.compile(rb"\r\ncontent-length: (\d+)", re.IGNORECASE)
MAX_SHOWN = 300  # characters of a request in a violation


@dataclass
class Sender:
    """
    Some connections to each replica.

    Args:
        ports: The replicas.
    """

    ports: Sequence[int]
    findings: Findings

    async def send(self, attempts: Sequence[Attempt]) -> None:
        """Send all; the answers are counted, and what must not be is a violation."""
        framed = [attempt for attempt in attempts if attempt.framed]
        alone = iter([attempt for attempt in attempts if not attempt.framed])
        chunks = iter([framed[i : i + PIPELINED] for i in range(0, len(framed), PIPELINED)])
        async with asyncio.TaskGroup() as group:
            for port in self.ports:
                for _ in range(CONNECTIONS):
                    group.create_task(self._pipeline(port, chunks))
                    group.create_task(self._each_alone(port, alone))

    async def _pipeline(self, port: int, chunks: Iterator[list[Attempt]]) -> None:
        wire: _Wire | None = None
        try:
            for chunk in chunks:
                waiting = chunk
                while waiting:
                    wire = wire or await _Wire.open(port)
                    answered = await self._exchange(wire, waiting)
                    if answered < len(waiting):
                        wire.abort()
                        wire = None
                        if not answered:
                            # Nothing came: the first is to blame, or the one before closed.
                            await self._alone(port, waiting[0])
                            answered = 1
                    waiting = waiting[answered:]
        finally:
            if wire is not None:
                wire.abort()

    async def _exchange(self, wire: _Wire, waiting: Sequence[Attempt]) -> int:
        """How many were answered before the connection ended."""
        began = time.monotonic()
        answered = 0
        with suppress(OSError, EOFError, TimeoutError):
            async with asyncio.timeout(DEADLINE):
                wire.writer.write(b"".join(attempt.request for attempt in waiting))
                for attempt in waiting:
                    self._judge(attempt, *await wire.answer(body=attempt.has_body_in_answer))
                    answered += 1
        self._note(time.monotonic() - began, waiting[min(answered, len(waiting) - 1)])
        return answered

    async def _each_alone(self, port: int, attempts: Iterator[Attempt]) -> None:
        for attempt in attempts:
            await self._alone(port, attempt)

    async def _alone(self, port: int, attempt: Attempt) -> None:
        began = time.monotonic()
        answers = 0
        wire = await _Wire.open(port)
        try:
            wire.writer.write(attempt.request)
            patience = DEADLINE if attempt.framed else SILENCE
            while True:
                async with asyncio.timeout(patience):
                    status, answer = await wire.answer(body=attempt.has_body_in_answer)
                answers += 1
                self._judge(attempt, status, answer)
                self._note(time.monotonic() - began, attempt)
                if attempt.framed:
                    break
                patience = SILENCE / 10
        except TimeoutError:
            self.findings.counted["left waiting"] += 0 if answers else 1
        except (OSError, EOFError):
            self.findings.counted["closed without an answer"] += 0 if answers else 1
        finally:
            wire.abort()
        if attempt.framed and not answers:
            self._complain(attempt, "no answer")
        if answers > attempt.answers:
            self._complain(attempt, f"{answers} answers instead of {attempt.answers}")

    def _judge(self, attempt: Attempt, status: int, answer: bytes) -> None:
        counted = self.findings.counted
        counted[f"answered {status // 100}xx"] += 1
        if status >= 500:
            self._complain(attempt, f"answered {status}")
        if status < 300 and attempt.forged:
            self._complain(attempt, f"a forged credential was accepted with {status}")
        for secret in attempt.secrets:
            if secret in answer:
                self._complain(attempt, f"a secret comes back in a {status}")

    def _note(self, seconds: float, attempt: Attempt) -> None:
        self.findings.at_most("slowest answer in seconds", seconds)
        if seconds > DEADLINE:
            self._complain(attempt, f"answered after {seconds:.1f} s")

    def _complain(self, attempt: Attempt, what: str) -> None:
        shown = repr(attempt.request[:MAX_SHOWN])
        self.findings.violations.append(f"{attempt.grammar}, {attempt.endpoint}: {what}: {shown}")


class _Wire:
    """One connection; answers are cut by their Content-Length and not looked into."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, port: int) -> _Wire:
        return cls(*await asyncio.open_connection("127.0.0.1", port, limit=1 << 20))

    async def answer(self, *, body: bool) -> tuple[int, bytes]:
        """Status, and the whole answer."""
        while True:
            head = await self.reader.readuntil(b"\r\n\r\n")
            status = int(head[9:12])
            if status >= 200:  # not a 100 Continue
                break
        length = LENGTH.search(head)
        if body and length and status != 304:
            return status, head + await self.reader.readexactly(int(length[1]))
        return status, head

    def abort(self) -> None:
        self.writer.transport.abort()
