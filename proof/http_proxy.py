"""A post of HTTP requests that loses answers, delivers twice, late, or in another order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from tests.support.fault_proxy import CHUNK, Listening, Stream

PATIENCE = 3.0  # seconds that an answer is parked for another to overtake it


@dataclass(frozen=True, slots=True)
class Treatment:
    """
    What happens to one request and its answer.

    Args:
        lose_after: The client gets so many bytes of the answer, then a reset.
        copies: How often the server gets the request.
        apart: The copies take connections of their own, at the same time; else they are
            pipelined on one.
        late: The last copy arrives only when the first one has been answered.
        answer_of: The copy whose answer the client gets.
        parked: The answer waits until one of another connection has overtaken it.
        seconds: The request is held so long.
    """

    lose_after: int | None = None
    copies: int = 1
    apart: bool = False
    late: bool = False
    answer_of: int = 0
    parked: bool = False
    seconds: float = 0.0


PASS = Treatment()


class Post(Listening):
    """
    Passes on HTTP/1.1 requests, each as it is told.

    A client sends a request in one write, and the next one after the answer.

    Args:
        treat: Asked for each request; None passes everything.
        observe: Told each request and answer, also an answer that nobody will get.
    """

    def __init__(
        self,
        upstream: int,
        *,
        treat: Callable[[bytes], Treatment] | None = None,
        observe: Callable[[bytes, bytes], None] | None = None,
    ) -> None:
        super().__init__(upstream)
        self.treat = treat
        self.observe = observe
        self.lost = 0
        """Answers that the server had given and no client got whole."""
        self._parked: list[asyncio.Event] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request after the other."""
        upstream = await self.connect_upstream()
        try:
            while request := await reader.read(CHUNK):
                treatment = self.treat(request) if self.treat else PASS
                if treatment.seconds:
                    await asyncio.sleep(treatment.seconds)
                answer = await self._answer(request, upstream, treatment)
                if treatment.parked:
                    await self._park()
                if treatment.lose_after is not None and treatment.lose_after < len(answer):
                    self.lost += 1
                    # Flushed by the kernel before the end, which is a FIN: a reset would let
                    # the client's kernel throw away what has arrived.
                    writer.write(answer[: treatment.lose_after])
                    return
                writer.write(answer)
                for event in self._parked:
                    event.set()
        finally:
            self.drop(upstream[1])

    async def _answer(self, request: bytes, upstream: Stream, treatment: Treatment) -> bytes:
        """Deliver the copies; the answer that the client will get."""
        streams = [upstream]
        try:
            while treatment.apart and len(streams) < treatment.copies:
                streams.append(await self.connect_upstream())
            on = [streams[index % len(streams)] for index in range(treatment.copies)]
            answers: list[bytes] = []
            if treatment.late or not treatment.apart:
                ahead = treatment.copies - 1 if treatment.late else treatment.copies
                for _, writer in on[:ahead]:
                    writer.write(request)
                answers = [await read_answer(reader) for reader, _ in on[:ahead]]
                on = on[ahead:]
            for _, writer in on:
                writer.write(request)
            answers += await asyncio.gather(*(read_answer(reader) for reader, _ in on))
            if self.observe is not None:
                for answer in answers:
                    self.observe(request, answer)
            return answers[treatment.answer_of]
        finally:
            for _, writer in streams[1:]:
                self.drop(writer)

    async def _park(self) -> None:
        event = asyncio.Event()
        self._parked.append(event)
        with suppress(TimeoutError):
            await asyncio.wait_for(event.wait(), PATIENCE)
        self._parked.remove(event)


async def read_answer(reader: asyncio.StreamReader) -> bytes:
    """One whole answer with a Content-Length (or without a body), as it came."""
    head = await reader.readuntil(b"\r\n\r\n")
    _, found, rest = head.lower().partition(b"\r\ncontent-length:")
    length = int(rest.partition(b"\r\n")[0]) if found else 0
    return head + (await reader.readexactly(length) if length else b"")
