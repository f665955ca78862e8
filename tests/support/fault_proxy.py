"""
A link between any two programs that fails on command, in every way that a link can.

Addresses are a port on loopback or the path of a Unix socket, such as PostgreSQL's.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, unquote, urlsplit

Address = int | Path
Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]

CHUNK = 65_536  # bytes
SLICE = 0.05  # seconds; a slow link passes so much of its rate at once


async def connect(address: Address) -> Stream:
    """A stream to either kind of address."""
    if isinstance(address, Path):
        return await asyncio.open_unix_connection(address)
    return await asyncio.open_connection("127.0.0.1", address)


def reset(writer: asyncio.StreamWriter) -> None:
    """Hang up at once: RST where there is TCP, whatever is still unsent is lost."""
    endpoint = writer.get_extra_info("socket")
    if endpoint is not None and endpoint.family != socket.AF_UNIX:
        with suppress(OSError):
            endpoint.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class Listening:
    """A listening socket, and the connections that came from it; see also `http_proxy`."""

    def __init__(self, upstream: Address, listen: Path | None = None) -> None:
        self.upstream = upstream
        self._listen = listen
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def port(self) -> int:
        """Where it listens, if that is not a Unix socket."""
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def __aenter__(self) -> Self:
        if self._listen is not None:
            self._server = await asyncio.start_unix_server(self._accept, self._listen)
        else:
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, backlog=4096)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """Reset every connection, on both sides; new ones are accepted."""
        for writer in self._writers:
            reset(writer)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            with suppress(OSError, EOFError, asyncio.CancelledError):
                await self.serve(reader, writer)
        finally:
            self._tasks.discard(task)
            self.drop(writer)

    async def connect_upstream(self) -> Stream:
        """One more connection to the server, which `cut` cuts as well."""
        stream = await connect(self.upstream)
        self._writers.add(stream[1])
        return stream

    def drop(self, writer: asyncio.StreamWriter) -> None:
        """Close politely and forget."""
        self._writers.discard(writer)
        writer.close()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client, until it leaves."""
        raise NotImplementedError


@dataclass
class Direction:
    """How bytes travel one way; the first three may change at any time."""

    delay: float = 0.0
    """Seconds for each packet, plus or minus `jitter`."""
    jitter: float = 0.0
    rate: int | None = None
    """Bytes per second."""
    flowing: asyncio.Event = field(default_factory=asyncio.Event)
    """Unset, nothing passes, and nobody is told; what was sent waits, as it does in a kernel."""

    def mend(self) -> None:
        """As fast as it comes."""
        self.delay = self.jitter = 0.0
        self.rate = None
        self.flowing.set()


class FaultProxy(Listening):
    """
    A link that passes bytes on, and what can happen to a link.

    Args:
        upstream: Where the server is.
        listen: A Unix socket; None is a free port.
    """

    def __init__(self, upstream: Address, *, random: Random, listen: Path | None = None) -> None:
        super().__init__(upstream, listen)
        self._random = random
        self._refusing = False
        self._lose: tuple[int, bool] | None = None
        self._clients: set[asyncio.StreamWriter] = set()
        self._forgotten: set[asyncio.StreamWriter] = set()
        self.to_server, self.to_client = Direction(), Direction()
        self.heal()

    @classmethod
    def of_database(cls, url: str, directory: Path, *, random: Random) -> tuple[Self, str]:
        """The link to an embedded PostgreSQL, and the URL that leads through it."""
        parts = urlsplit(url)
        name = ".s.PGSQL.5432"
        target = Path(unquote(parse_qs(parts.query)["host"][0])) / name
        through = f"{parts.scheme}://{parts.netloc}{parts.path}?host={directory}"
        return cls(target, random=random, listen=directory / name), through

    def heal(self) -> None:
        """End every fault; connections that were cut or forgotten stay lost."""
        self._refusing = False
        self._lose = None
        self.to_server.mend()
        self.to_client.mend()

    def refuse(self) -> None:
        """Reset new connections; with `cut`, the server is down."""
        self._refusing = True

    def blackhole(self, *directions: Direction) -> None:
        """Let nothing pass in these directions, or in both; nobody is told."""
        for direction in directions or (self.to_server, self.to_client):
            direction.flowing.clear()

    def slow(self, *, delay: float = 0.0, jitter: float = 0.0, rate: int | None = None) -> None:
        """Delay each packet, or limit the bytes per second, both ways."""
        for direction in (self.to_server, self.to_client):
            direction.delay, direction.jitter, direction.rate = delay, jitter, rate

    def forget(self) -> None:
        """Half-open: what is sent on the present connections is lost for ever, both ways."""
        self._forgotten |= self._writers

    def half_close(self) -> None:
        """Tell the present clients that the server sends no more; their bytes still pass."""
        for writer in self._clients:
            with suppress(OSError):
                writer.write_eof()
        self._forgotten |= self._clients

    def lose_answer(self, *, after: int = 0, then_down: bool = False) -> None:
        """Pass so many bytes of the next answer, then reset its connection, or the whole link."""
        self._lose = (after, then_down)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass bytes both ways."""
        if self._refusing:
            reset(writer)
            return
        upstream_reader, upstream_writer = await self.connect_upstream()
        self._clients.add(writer)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(reader, upstream_writer, self.to_server))
                group.create_task(self._pump(upstream_reader, writer, self.to_client))
        except* OSError:
            reset(upstream_writer)
            reset(writer)
        finally:
            self._clients.discard(writer)
            self._forgotten -= {writer, upstream_writer}
            self.drop(upstream_writer)

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, direction: Direction
    ) -> None:
        while data := await reader.read(CHUNK):
            if direction.delay:
                spread = self._random.uniform(-direction.jitter, direction.jitter)
                await asyncio.sleep(max(0.0, direction.delay + spread))
            await direction.flowing.wait()
            if writer in self._forgotten:
                continue
            if self._lose is not None and direction is self.to_client:
                (after, then_down), self._lose = self._lose, None
                writer.write(data[:after])
                if then_down:
                    self.refuse()
                    self.cut()
                raise ConnectionResetError
            while direction.rate is not None and data:
                part, data = _split(data, max(1, int(direction.rate * SLICE)))
                await asyncio.sleep(len(part) / direction.rate)
                writer.write(part)
            writer.write(data)
            await writer.drain()
        # The end of what was sent travels like a packet: not through a hole, not if forgotten.
        await direction.flowing.wait()
        if writer not in self._forgotten:
            raise ConnectionResetError


def _split(data: bytes, size: int) -> tuple[bytes, bytes]:
    return data[:size], data[size:]
