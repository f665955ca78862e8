"""A bare HTTP/1.1 client that sends many requests in the same moment; httpx would spread them."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def outcome(self) -> str:
        return self.headers.get("authsvc-refresh", str(self.status))

    def cookie(self, name: str) -> str | None:
        """From the (single) Set-Cookie header of that name."""
        for line in self.headers.get("set-cookie", "").split("\n"):
            if line.startswith(f"{name}="):
                return line.removeprefix(f"{name}=").split(";")[0]
        return None


class Connection:
    """One keep-alive connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, port: int) -> Connection:
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    def send(self, request: bytes) -> None:
        self._writer.write(request)

    async def receive(self) -> Answer:
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        status_line, *lines = head.rstrip("\r\n").split("\r\n")
        headers: dict[str, str] = {}
        for line in lines:
            name, _, value = line.partition(":")
            name = name.lower()
            joined = f"{headers[name]}\n" if name in headers else ""
            headers[name] = joined + value.strip()
        body = await self._reader.readexactly(int(headers.get("content-length", "0")))
        return Answer(int(status_line.split(" ")[1]), headers, json.loads(body) if body else {})

    async def ask(self, request: bytes) -> Answer:
        self.send(request)
        return await self.receive()

    def abort(self) -> None:
        """Hang up at once (a reset)."""
        self._writer.transport.abort()

    async def close(self) -> None:
        self._writer.close()
        await self._writer.wait_closed()


def post(path: str, body: dict[str, object] | None = None, **headers: str) -> bytes:
    content = b"" if body is None else json.dumps(body).encode()
    lines = [f"POST {path} HTTP/1.1", "host: localhost", f"content-length: {len(content)}"]
    if body is not None:
        lines.append("content-type: application/json")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + content


async def at_once(connections: list[Connection], request: bytes) -> list[Answer]:
    """The same request on every connection, all sent before the first answer is read."""
    for connection in connections:
        connection.send(request)
    return list(await asyncio.gather(*(connection.receive() for connection in connections)))
