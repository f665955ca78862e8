"""A client that sends headers exactly as they are spelled, however odd."""

from __future__ import annotations

import asyncio
import http.client
import socket
from dataclasses import dataclass

Headers = list[tuple[str, str]]
PATIENCE = 50  # a replica on a busy machine may not have looked for revocations for a second


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


async def send(
    port: int,
    method: str = "GET",
    path: str = "/orders/1",
    headers: Headers | None = None,
    *,
    body: bytes = b"",
    version: str = "1.1",
) -> Answer:
    """One request on a connection of its own; repeated while nobody can tell, as 503 asks for."""
    for _ in range(PATIENCE):
        answer = await send_once(port, method, path, headers, body=body, version=version)
        if 503 != answer.status:
            break
        await asyncio.sleep(0.2)
    return answer


async def send_once(
    port: int,
    method: str = "GET",
    path: str = "/orders/1",
    headers: Headers | None = None,
    *,
    body: bytes = b"",
    version: str = "1.1",
) -> Answer:
    """As `send`, whatever the answer."""
    return await asyncio.to_thread(_send, port, method, path, headers or [], body, version)


def _send(port: int, method: str, path: str, headers: Headers, body: bytes, version: str) -> Answer:
    lines = [f"{method} {path} HTTP/{version}", "Host: localhost"]
    lines += [f"{name}: {value}" for name, value in headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    if not any(name.lower() == "connection" for name, _ in headers):
        lines.append("Connection: close")
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)
        answer = http.client.HTTPResponse(connection, method=method)
        answer.begin()
        found = {name.lower(): value for name, value in answer.getheaders()}
        content = b"" if answer.status == 101 else answer.read()
        return Answer(answer.status, found, content)
