import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from random import Random

import pytest

from proof.http_proxy import Post, Treatment
from tests.support.fault_proxy import FaultProxy, Stream, connect, reset

REQUEST = b"POST /x HTTP/1.1\r\ncontent-length: 0\r\n\r\n"


@asynccontextmanager
async def echoing(seen: list[bytes], prefix: bytes = b"") -> AsyncIterator[int]:
    """A server that sends back what it gets, numbered where there is a prefix."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65_536):
                seen.append(data)
                body = b"%d" % len(seen)
                for _ in range(max(1, data.count(b"POST "))):
                    length = b"content-length: %d\r\n\r\n" % len(body)
                    writer.write(prefix + length + body if prefix else data)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


@asynccontextmanager
async def link(listen: Path | None = None) -> AsyncIterator[tuple[FaultProxy, list[bytes], Stream]]:
    """A proxy before an echo, what the echo saw, and a connection that works."""
    seen: list[bytes] = []
    random = Random(1)  # noqa: S311 - chance that can be repeated
    async with echoing(seen) as port, FaultProxy(port, random=random, listen=listen) as proxy:
        stream = await connect(listen or proxy.port)
        assert b"hello" == await ask(stream, b"hello")
        yield proxy, seen, stream
        reset(stream[1])


async def ask(stream: Stream, data: bytes, seconds: float = 2.0) -> bytes | None:
    """The answer; empty at the end of the connection, None if nothing came."""
    stream[1].write(data)
    with suppress(TimeoutError):
        try:
            return await asyncio.wait_for(stream[0].read(65_536), seconds)
        except ConnectionError:
            return b""
    return None


async def test_a_cut_link_ends_and_a_refusing_one_lets_nobody_in(tmp_path: Path) -> None:
    async with link(tmp_path / "socket") as (proxy, _, stream):
        proxy.cut()
        proxy.refuse()
        again = await connect(tmp_path / "socket")

        assert b"" == await ask(stream, b"x")
        assert b"" == await ask(again, b"x")
        reset(again[1])


@pytest.mark.parametrize("way", ["to_server", "to_client"])
async def test_a_hole_swallows_one_way_until_it_is_healed(way: str) -> None:
    async with link() as (proxy, seen, stream):
        proxy.blackhole(getattr(proxy, way))

        assert await ask(stream, b"lost", 0.1) is None
        assert (way == "to_client") == (b"lost" in seen)
        proxy.heal()
        assert b"lost" == await ask(stream, b"")


async def test_a_slow_link_takes_its_time() -> None:
    async with link() as (proxy, _, stream):
        began = time.monotonic()
        proxy.slow(delay=0.05, jitter=0.01)
        assert b"late" == await ask(stream, b"late")
        delayed = time.monotonic() - began
        proxy.slow(rate=2_000)
        assert await ask(stream, b"x" * 400)
        limited = time.monotonic() - began - delayed

    assert delayed >= 0.08
    assert limited >= 0.05


async def test_half_open_half_closed_and_torn() -> None:
    async with link() as (proxy, seen, stream):
        proxy.forget()
        assert await ask(stream, b"forgotten", 0.1) is None
        assert b"forgotten" not in seen
    async with link() as (proxy, seen, stream):
        proxy.half_close()
        assert b"" == await ask(stream, b"still heard", 0.5)
        async with asyncio.timeout(2):
            while b"still heard" not in seen:  # noqa: ASYNC110 - a list tells nobody
                await asyncio.sleep(0.01)
    async with link() as (proxy, _, stream):
        proxy.lose_answer(after=2)
        assert await ask(stream, b"abcdef") in {b"ab", b""}
        assert b"" == await ask(stream, b"x")


@pytest.mark.parametrize(
    ("treatment", "deliveries", "answer"),
    [
        (Treatment(), 1, b"1"),
        (Treatment(copies=2, apart=True, late=True), 2, b"1"),
        (Treatment(copies=2, apart=True, late=True, answer_of=1), 2, b"2"),
        (Treatment(lose_after=5), 1, None),
    ],
    ids=["passed", "late copy", "answer of the late copy", "lost"],
)
async def test_the_post_delivers_as_it_is_told(
    treatment: Treatment, deliveries: int, answer: bytes | None
) -> None:
    seen: list[bytes] = []
    observed: list[bytes] = []
    async with (
        echoing(seen, b"HTTP/1.1 200 OK\r\n") as port,
        Post(port, treat=lambda _: treatment, observe=lambda _, got: observed.append(got)) as post,
    ):
        stream = await connect(post.port)
        got = await ask(stream, REQUEST)
        reset(stream[1])

    assert deliveries == len(seen) == len(observed)
    assert got is not None
    assert b"HTTP/" == got if answer is None else got.endswith(b"\r\n\r\n" + answer)
    assert (answer is None) == bool(post.lost)


async def test_a_parked_answer_is_overtaken() -> None:
    parked = iter([Treatment(parked=True), Treatment()])
    async with (
        echoing([], b"HTTP/1.1 200 OK\r\n") as port,
        Post(port, treat=lambda _: next(parked)) as post,
    ):
        first, second = await connect(post.port), await connect(post.port)
        waiting = asyncio.create_task(ask(first, REQUEST))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        assert await ask(second, REQUEST)
        assert await waiting
        reset(first[1])
        reset(second[1])
