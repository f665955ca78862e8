"""The proxy of the local stack (deploy/nginx.conf), and what every proxy of ours lets through."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.gateways.client import send
from tests.gateways.conftest import GATEWAYS, NGINX, Gateway, World, running, started

DEPLOYED = (Path(__file__).parents[2] / "deploy" / "nginx.conf").read_text()
HEAD = 12_000  # bytes; nginx itself allows 4 KiB, and we promise 16


def deployed(authsvc: int) -> dict[str, str]:
    """Without what only a container has, and what `started` says itself."""
    text = re.sub(r"^ *(resolver|worker_processes|pid|error_log|access_log|\w+_temp_path) .*\n", "",
                  DEPLOYED, flags=re.MULTILINE)  # fmt: skip
    return {"nginx.conf": text.replace("authsvc:8000 resolve", f"127.0.0.1:{authsvc}")}


@asynccontextmanager
async def with_large_head() -> AsyncIterator[int]:
    """A stand-in for authsvc that answers as to a user with a great many roles."""
    answer = (
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"
        + "".join(f"Set-Cookie: c{n}={'x' * 3900}; Path=/\r\n" for n in range(HEAD // 3900))
        + "\r\n{}"
    ).encode("ascii")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.finding("P37")
@pytest.mark.parametrize("gateway", GATEWAYS, ids=lambda gateway: gateway.name)
async def test_an_answer_with_12_kb_of_headers_comes_through_each_example(
    gateway: Gateway, tmp_path_factory: pytest.TempPathFactory
) -> None:
    async with with_large_head() as authsvc:
        with running(gateway, authsvc, authsvc, tmp_path_factory) as port:
            answer = await send(port, path="/auth/me")

    assert 200 == answer.status


@pytest.mark.finding("P37")
async def test_an_answer_with_12_kb_of_headers_comes_through_the_deployed_proxy(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    async with with_large_head() as authsvc:
        with started(NGINX, deployed(authsvc), tmp_path_factory) as port:
            answer = await send(port, path="/auth/me")

    assert 200 == answer.status


@pytest.mark.finding("11.16")
@pytest.mark.parametrize(
    "path",
    [
        "/auth/verify",
        "/auth/verify?upstream=orders",
        "/auth/verify/",
        "//auth//verify",
        "/auth/%76erify",
        "/auth/./verify",
        "/x/../auth/verify",
    ],
)
async def test_nobody_outside_reaches_the_question_of_gateways(
    world: World, tmp_path_factory: pytest.TempPathFactory, path: str
) -> None:
    with started(NGINX, deployed(world.authsvc), tmp_path_factory) as port:
        asked = await send(port, path=path, headers=[world.bearer])
        me = await send(port, path="/auth/me", headers=[world.bearer])

    assert 404 == asked.status
    assert "x-user-id" not in {name.lower() for name in asked.headers}
    assert 200 == me.status
