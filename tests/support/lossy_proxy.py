"""A proxy in front of authsvc that loses one answer."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self


@dataclass
class LossyProxy:
    """Passes everything on, but loses the answer to one refresh, with its connection."""

    port: int
    lose: int
    """Which refresh."""
    listens_on: int = field(default=0, init=False)
    _seen: int = field(default=0, init=False)
    _server: asyncio.Server | None = field(default=None, init=False)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.listens_on = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert self._server is not None
        self._server.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream_writer = await asyncio.open_connection("127.0.0.1", self.port)
        losing = asyncio.Event()
        with suppress(OSError):
            await asyncio.gather(
                self._requests(reader, upstream_writer, losing),
                self._answers(upstream_reader, writer, losing),
            )
        for ended in (writer, upstream_writer):
            ended.close()
            with suppress(OSError):
                await ended.wait_closed()

    async def _requests(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, losing: asyncio.Event
    ) -> None:
        while data := await reader.read(65536):
            if data.startswith(b"POST /auth/refresh "):
                self._seen += 1
                if self._seen == self.lose:
                    losing.set()
            writer.write(data)
            await writer.drain()
        writer.transport.abort()

    async def _answers(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, losing: asyncio.Event
    ) -> None:
        while (data := await reader.read(65536)) and not losing.is_set():
            writer.write(data)
            await writer.drain()
        writer.transport.abort()
