"""A fetch goes where it should or nowhere; the canary is a server on this machine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from authsvc.protocol.addresses import Address, is_public, parse_address
from authsvc.remote.fetch import MAX_BYTES, Fetcher, RemoteFetchFailed
from tests.support.web import Web, certificate_for, web


@pytest.fixture
def canary() -> Iterator[Web]:
    with web() as server:
        yield server


class Names:
    """What the resolver says, one answer after the other; counts how often it was asked."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self._answers = list(answers)
        self.asked = 0

    async def __call__(self, host: str, port: int) -> Sequence[Address]:
        del host, port
        self.asked += 1
        return [parse_address(text) for text in self._answers.pop(0)]


async def test_in_development_this_machine_may_be_asked_by_http(canary: Web) -> None:
    canary.body = b'{"keys":[]}'

    for host in ("localhost", "127.0.0.1"):
        uri = f"http://{host}:{canary.port}/jwks.json?v=1"
        assert canary.body == await Fetcher(loopback=True).fetch(uri)

    assert [
        ("/jwks.json?v=1", f"localhost:{canary.port}"),
        ("/jwks.json?v=1", f"127.0.0.1:{canary.port}"),
    ] == canary.requests


@pytest.mark.requirement("A7")
@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    "host",
    ["localhost", "127.0.0.1", "127.1", "2130706433", "0x7f.1", "[::1]",
     "0.0.0.0",  # noqa: S104 - nothing binds to it
     "[::ffff:127.0.0.1]", "localhost.", "127.0.0.1."],
)  # fmt: skip
async def test_in_production_this_machine_is_never_asked(
    canary: Web, scheme: str, host: str
) -> None:
    with pytest.raises(RemoteFetchFailed):
        await Fetcher(loopback=False).fetch(f"{scheme}://{host}:{canary.port}/jwks.json")

    assert [] == canary.requests


@pytest.mark.requirement("A7")
@pytest.mark.parametrize(
    "addresses",
    [["127.0.0.1"], ["10.0.0.1"], ["8.8.8.8", "127.0.0.1"], ["169.254.169.254"], ["::1"], []],
    ids=repr,
)
@pytest.mark.parametrize("loopback", [True, False])
async def test_a_name_that_leads_inside_is_not_asked(
    canary: Web, addresses: list[str], *, loopback: bool
) -> None:
    """One bad address among good ones is enough, and development makes no difference."""
    fetcher = Fetcher(loopback=loopback, resolve=Names(addresses))

    with pytest.raises(RemoteFetchFailed):
        await fetcher.fetch(f"https://shop.example:{canary.port}/jwks.json")

    assert [] == canary.requests


@pytest.mark.requirement("A7")
@pytest.mark.parametrize(
    "uri",
    ["http://shop.example/", "ftp://shop.example/", "file:///etc/passwd", "https://u:p@8.8.8.8/",
     "https://8.8.8.8#@127.0.0.1/", "https://", "https://shop.example:0/", "https://shop.example:x/",
     "https://[::1/", "//shop.example/", "https://shop.example\\@127.0.0.1/", "https://\0/"],
)  # fmt: skip
@pytest.mark.parametrize("loopback", [True, False])
async def test_what_no_registration_may_hold_is_not_asked_either(
    uri: str, *, loopback: bool
) -> None:
    names = Names()

    with pytest.raises(RemoteFetchFailed):
        await Fetcher(loopback=loopback, resolve=names).fetch(uri)

    assert 0 == names.asked


@pytest.mark.requirement("A7")
async def test_a_redirect_is_a_failure_and_nobody_follows_it(canary: Web) -> None:
    with web() as redirecting:
        redirecting.status = 302
        redirecting.headers = {"Location": f"http://127.0.0.1:{canary.port}/"}

        with pytest.raises(RemoteFetchFailed, match="302"):
            await Fetcher(loopback=True).fetch(f"http://localhost:{redirecting.port}/")

        assert (1, []) == (len(redirecting.requests), canary.requests)


@pytest.mark.requirement("A7")
async def test_a_certificate_must_be_of_the_name_that_was_registered(tmp_path: Path) -> None:
    """The connection goes to an address that was looked at; TLS still asks for the name."""
    server_context, client_context = certificate_for("shop.example", tmp_path)

    def fetcher(names: Names) -> Fetcher:
        return Fetcher(
            loopback=False,
            resolve=names,
            permits=lambda address: address.is_loopback,
            ssl_context=client_context,
        )

    with web(server_context) as server:
        server.body = b"right"
        names = Names(["127.0.0.1"])
        right = await fetcher(names).fetch(f"https://shop.example:{server.port}/jwks.json")
        with pytest.raises(RemoteFetchFailed, match=r"(?i)certificate"):
            await fetcher(Names(["127.0.0.1"])).fetch(f"https://other.example:{server.port}/")

    assert (b"right", 1) == (right, names.asked)
    assert [("/jwks.json", f"shop.example:{server.port}")] == server.requests


@pytest.mark.requirement("A7")
async def test_the_name_is_asked_for_once_so_that_it_cannot_change(canary: Web) -> None:
    """DNS rebinding: what was looked at is what is connected to."""
    names = Names(["192.0.2.1"], ["127.0.0.1"])
    fetcher = Fetcher(
        loopback=False,
        timeout=timedelta(seconds=0.3),
        resolve=names,
        permits=lambda address: is_public(address) or str(address) == "192.0.2.1",
    )

    with pytest.raises(RemoteFetchFailed):
        await fetcher.fetch(f"https://shop.example:{canary.port}/")

    assert (1, []) == (names.asked, canary.requests)


@pytest.mark.requirement("A7")
async def test_size_is_bounded_whatever_is_declared(canary: Web) -> None:
    fetcher, uri = Fetcher(loopback=True), f"http://localhost:{canary.port}/"
    canary.body = b"x" * MAX_BYTES
    assert canary.body == await fetcher.fetch(uri)
    canary.body += b"x"

    with pytest.raises(RemoteFetchFailed, match="more than 262144 bytes"):
        await fetcher.fetch(uri)


@pytest.mark.requirement("A7")
async def test_time_is_bounded(canary: Web) -> None:
    canary.gate.clear()

    with pytest.raises(RemoteFetchFailed, match=r"longer than 0\.1 s"):
        await Fetcher(loopback=True, timeout=timedelta(seconds=0.1)).fetch(
            f"http://localhost:{canary.port}/"
        )


@pytest.mark.requirement("A7")
async def test_nothing_is_unpacked(canary: Web) -> None:
    canary.headers = {"Content-Encoding": "gzip"}

    with pytest.raises(RemoteFetchFailed, match="compressed"):
        await Fetcher(loopback=True).fetch(f"http://localhost:{canary.port}/")


@pytest.mark.requirement("A7")
async def test_no_proxy_of_the_environment_is_asked(
    canary: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would look the name up once more, by itself."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{canary.port}")
    fetcher = Fetcher(
        loopback=False,
        timeout=timedelta(seconds=0.3),
        resolve=Names(["192.0.2.1"]),
        permits=lambda _: True,
    )

    with pytest.raises(RemoteFetchFailed):
        await fetcher.fetch("https://shop.example/")

    assert [] == canary.requests


async def test_another_address_is_tried_if_one_is_deaf(canary: Web) -> None:
    canary.body = b"heard"
    fetcher = Fetcher(loopback=True, resolve=Names(["::1", "127.0.0.1"]))

    assert b"heard" == await fetcher.fetch(f"http://localhost:{canary.port}/")


@asynccontextmanager
async def answering(*parts: bytes) -> AsyncIterator[str]:
    """The URL of a server that answers with these bytes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.writelines(parts)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/jwks"


@pytest.mark.finding("11.3")
async def test_a_failure_never_quotes_the_other_server() -> None:
    """What it sent would reach the log; its registration alone lets a client trigger that."""
    async with answering(b"HTTP/1.1 ", b"planted" * 1000, b"\r\n\r\n") as url:
        with pytest.raises(RemoteFetchFailed) as failed:
            await Fetcher(loopback=True).fetch(url)

    assert "RemoteProtocolError" == str(failed.value)


@pytest.mark.finding("11.3")
@pytest.mark.parametrize(("pieces", "good"), [(4096, True), (4097, False)])
async def test_a_document_in_too_many_pieces_is_given_up(pieces: int, good: bool) -> None:  # noqa: FBT001
    """Each costs the event loop some time."""
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    async with answering(head, b"1\r\n \r\n" * pieces, b"0\r\n\r\n") as url:
        fetching = Fetcher(loopback=True).fetch(url)
        if good:
            assert b" " * pieces == await fetching
        else:
            with pytest.raises(RemoteFetchFailed, match="more than 4096 pieces"):
                await fetching
