"""
A reverse proxy as it stands before replicas: one request at a time to whoever is up.

It sends a request to the next replica if the first one cannot be reached, or closes a connection
without a byte of an answer; that second case is counted, since a service that drained well has
not begun with such a request.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Sequence
from contextlib import suppress
from random import Random
from typing import Self

LENGTH = re.compile(rb"\r\ncontent-length: (\d+)", re.IGNORECASE)
PATIENCE = 5.0  # seconds to find a replica that answers
POOLED = 8  # idle connections that are kept to each replica


class Balancer:
    """
    As an asynchronous context manager; `port` is where clients go.

    Args:
        ports: The replicas.
    """

    def __init__(self, ports: Sequence[int], random: Random) -> None:
        self.ports = list(ports)
        self.unreachable = 0
        self.sent_again = 0
        self.port = 0
        self._random = random
        self._pools: dict[int, list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]] = {
            port: [] for port in ports
        }

    async def __aenter__(self) -> Self:
        """Listen."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for pool in self._pools.values():
            for idle in pool:
                idle[1].transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, EOFError):
            while True:
                request = await _message(reader)
                answer = await self._ask(request)
                if answer is None:
                    break
                writer.write(answer)
                await writer.drain()
        writer.transport.abort()

    async def _ask(self, request: bytes) -> bytes | None:
        first = self._random.randrange(len(self.ports))
        deadline = time.monotonic() + PATIENCE
        turn = first
        while time.monotonic() < deadline:
            port = self.ports[turn % len(self.ports)]
            turn += 1
            pool = self._pools[port]
            try:
                reader, writer = pool.pop() if pool else await _connect(port)
            except OSError:
                self.unreachable += 1
                await asyncio.sleep(0.002)
                continue
            try:
                writer.write(request)
                answer = await _message(reader)
            except asyncio.IncompleteReadError as exc:
                writer.transport.abort()
                if exc.partial:
                    return None  # half an answer: the client has to learn of it
                self.sent_again += 1
                continue
            except OSError:
                writer.transport.abort()
                self.sent_again += 1
                continue
            if len(pool) < POOLED and b"\r\nconnection: close" not in answer.lower():
                pool.append((reader, writer))
            else:
                writer.transport.abort()
            return answer
        return None


async def _connect(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", port)


async def _message(reader: asyncio.StreamReader) -> bytes:
    """A whole request or answer; ours all say how long they are."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = LENGTH.search(head)
    body = b""
    if length:
        try:
            body = await reader.readexactly(int(length[1]))
        except asyncio.IncompleteReadError as exc:
            raise asyncio.IncompleteReadError(head + exc.partial, None) from exc
    return head + body
