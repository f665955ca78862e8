"""A proxy in front of PostgreSQL that fails on command."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from enum import Enum, auto
from pathlib import Path
from typing import Self
from urllib.parse import parse_qs, unquote, urlsplit


class Mode(Enum):
    """What happens to traffic from now on."""

    PASS = auto()
    DOWN = auto()  # connections are cut, new ones refused
    LOSE_ONE_REPLY = auto()  # the next answer is dropped with its connection, then PASS
    LOSE_REPLY_AND_DOWN = auto()  # the same, then DOWN


class DatabaseProxy:
    """Listens on a Unix socket and forwards to the server's."""

    def __init__(self, url: str, directory: Path) -> None:
        parts = urlsplit(url)
        self._target = f"{unquote(parse_qs(parts.query)['host'][0])}/.s.PGSQL.5432"
        self._socket = directory / ".s.PGSQL.5432"
        self.url = f"{parts.scheme}://{parts.netloc}{parts.path}?host={directory}"
        self._mode = Mode.PASS
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_unix_server(self._accept, self._socket)
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert self._server is not None
        self._server.close()
        self._cut()
        await self._server.wait_closed()

    def set(self, mode: Mode) -> None:
        self._mode = mode
        if mode is Mode.DOWN:
            self._cut()

    def _cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._mode is Mode.DOWN:
            writer.transport.abort()
            return
        upstream_reader, upstream_writer = await asyncio.open_unix_connection(self._target)
        self._writers |= {writer, upstream_writer}
        with suppress(OSError):
            await asyncio.gather(
                self._pump(reader, upstream_writer, replies=False),
                self._pump(upstream_reader, writer, replies=True),
            )
        for ended in (writer, upstream_writer):
            self._writers.discard(ended)
            ended.close()
            with suppress(OSError):
                await ended.wait_closed()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, replies: bool
    ) -> None:
        while data := await reader.read(65536):
            if replies and self._mode in {Mode.LOSE_ONE_REPLY, Mode.LOSE_REPLY_AND_DOWN}:
                # The statement has been executed: PostgreSQL answers after the commit.
                then_down = self._mode is Mode.LOSE_REPLY_AND_DOWN
                self.set(Mode.DOWN if then_down else Mode.PASS)
                writer.transport.abort()
                return
            writer.write(data)
            await writer.drain()
        writer.transport.abort()
