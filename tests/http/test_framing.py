"""Raw bytes on a real socket: what HTTP/1.1 does not allow, and what takes too long."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvicorn

from authsvc.http.wire import framing
from authsvc.http.wire.connections import Connections
from tests.support.waiting import until

HOST = b"Host: localhost\r\n"
POST = b"POST /echo HTTP/1.1\r\n" + HOST
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
PATIENCE = 60.0  # seconds, for the test's own sockets


@dataclass
class Application:
    """Answers with what it saw, and counts."""

    calls: int = 0
    connections: Connections | None = None
    left: threading.Event = field(default_factory=threading.Event)
    large: bytes = b"x" * 1_000_000

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.calls += 1
        if scope["path"] == "/refuse":
            await respond(send, 413, b"too large")
            return
        body = b""
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message["body"]
            more = message["more_body"]
            if len(body) > framing.MAX_COLLECTED:
                await respond(send, 413, b"too large")
                return
        if scope["path"] == "/large":
            await respond(send, 200, *[self.large] * 100)
            self.left.set()
            return
        headers = [(name.decode(), value.decode()) for name, value in scope["headers"]]
        seen = {"path": scope["path"], "headers": headers, "body": body.decode()}
        await respond(send, 200, json.dumps(seen).encode())


async def respond(send: Any, status: int, *parts: bytes) -> None:
    length = (b"content-length", str(sum(map(len, parts))).encode())
    await send({"type": "http.response.start", "status": status, "headers": [length]})
    for part in parts:
        await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[uvicorn.Config, tuple[str, int]]]:
    """The protocol as `serve` runs it: uvloop, httptools, no WebSocket."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        Application(),
        http=framing.StrictHttpProtocol,
        loop="uvloop",
        ws="none",
        lifespan="off",
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    address = listener.getsockname()
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    # The server loads its application when it starts, and would forget a test's own.
    until(lambda: server.started)
    yield config, address
    server.should_exit = True
    thread.join(PATIENCE)
    assert not thread.is_alive()


@pytest.fixture
def application(server: tuple[uvicorn.Config, tuple[str, int]]) -> Application:
    application = Application()
    server[0].loaded_app = application
    return application


@pytest.fixture
def connect(
    server: tuple[uvicorn.Config, tuple[str, int]], application: Application
) -> Iterator[Callable[[], socket.socket]]:
    """Opens connections to a fresh application."""
    assert 0 == application.calls
    with ExitStack() as opened:
        yield lambda: opened.enter_context(socket.create_connection(server[1], timeout=PATIENCE))


def read_all(connection: socket.socket) -> bytes:
    """Everything until the server closes; a server that does not makes the test fail."""
    received = b""
    while part := connection.recv(65536):
        received += part
    return received


def read_one(connection: socket.socket) -> dict[str, Any]:
    """One JSON answer."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += connection.recv(65536)
    head, _, body = received.partition(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
    while len(body) < length:
        body += connection.recv(65536)
    assert head.startswith(b"HTTP/1.1 200 ")
    seen: dict[str, Any] = json.loads(body)
    return seen


MALFORMED = {
    "content-length-then-chunked": POST
    + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked-then-content-length": POST
    + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
    "two-content-lengths": POST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    "content-length-list": POST + b"Content-Length: 3, 3\r\n\r\nabc",
    "content-length-signed": POST + b"Content-Length: +3\r\n\r\nabc",
    "content-length-negative": POST + b"Content-Length: -3\r\n\r\nabc",
    "content-length-hexadecimal": POST + b"Content-Length: 0x3\r\n\r\nabc",
    "content-length-overflow": POST + b"Content-Length: 99999999999999999999999\r\n\r\nabc",
    "content-length-empty": POST + b"Content-Length: \r\n\r\n",
    "coding-identity": POST + b"Transfer-Encoding: identity\r\n\r\nabc",
    "coding-unknown": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "coding-compressed": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "coding-chunked-not-last": POST + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "coding-twice": POST
    + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "coding-folded": POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "coding-in-1.0": b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "no-host": b"GET / HTTP/1.1\r\n\r\n",
    "two-hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "two-equal-hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
    "bare-lf-everywhere": b"GET / HTTP/1.1\nHost: a\n\n",
    "bare-lf-after-request-line": b"GET / HTTP/1.1\nHost: a\r\n\r\n",
    "bare-lf-after-header": b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n",
    "bare-lf-at-end": b"GET / HTTP/1.1\r\nHost: a\r\n\n",
    "bare-cr-in-value": b"GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n",
    "nul-in-value": b"GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
    "nul-in-name": b"GET / HTTP/1.1\r\nHost: a\r\nX\0: ab\r\n\r\n",
    "nul-in-target": b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n",
    "control-in-value": b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x01b\r\n\r\n",
    "space-before-colon": b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
    "folded-header": b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n",
    "header-without-name": b"GET / HTTP/1.1\r\nHost: a\r\n: a\r\n\r\n",
    "header-without-colon": b"GET / HTTP/1.1\r\nHost: a\r\nfoo\r\n\r\n",
    "non-ascii-target": b"GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n",
    "fragment-in-target": b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n",
    "target-of-another-host": b"GET http://evil.example/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "target-with-userinfo": b"GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "asterisk-for-get": b"GET * HTTP/1.1\r\nHost: a\r\n\r\n",
    "connect": b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n",
    "lower-case-method": b"get / HTTP/1.1\r\nHost: a\r\n\r\n",
    "unknown-method": b"BREW / HTTP/1.1\r\nHost: a\r\n\r\n",
    "version-0.9": b"GET /\r\n\r\n",
    "version-1.2": b"GET / HTTP/1.2\r\nHost: a\r\n\r\n",
    "version-2.0": b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
    "http2-preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "tls": bytes.fromhex("1603010200010001fc0303"),
    "chunk-size-prefixed": CHUNKED + b"0x3\r\nabc\r\n0\r\n\r\n",
    "chunk-size-negative": CHUNKED + b"-3\r\nabc\r\n0\r\n\r\n",
    "chunk-size-trailing-space": CHUNKED + b"3 \r\nabc\r\n0\r\n\r\n",
    "chunk-size-leading-space": CHUNKED + b" 3\r\nabc\r\n0\r\n\r\n",
    "chunk-size-absent": CHUNKED + b"\r\nabc\r\n0\r\n\r\n",
    "chunk-size-overflow": CHUNKED + b"fffffffffffffffffffff\r\nabc",
    "chunk-size-bare-lf": CHUNKED + b"3\nabc\r\n0\r\n\r\n",
    "chunk-data-bare-lf": CHUNKED + b"3\r\nabc\n0\r\n\r\n",
    "chunk-extension-bare-lf": CHUNKED + b"3;a\nb\r\nabc\r\n0\r\n\r\n",
    "chunk-longer-than-its-size": CHUNKED + b"3\r\nabcd\r\n0\r\n\r\n",
    "content-length-in-trailer": CHUNKED + b"0\r\nContent-Length: 5\r\n\r\n",
    "chunk-extensions-without-end": CHUNKED + b"3;" + b"a" * 400_000,
    "chunk-size-with-endless-zeros": CHUNKED + b"0" * 400_000,
}


@pytest.mark.requirement("H5")
@pytest.mark.parametrize("request_bytes", MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_request_is_400_and_closed_and_never_reaches_the_application(
    connect: Callable[[], socket.socket], application: Application, request_bytes: bytes
) -> None:
    connection = connect()

    connection.sendall(request_bytes)
    answer = read_all(connection)

    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"connection: close\r\n" in answer
    assert 1 == answer.count(b"HTTP/1.1")
    assert 0 == application.calls


@pytest.mark.requirement("H5")
def test_malformed_request_in_single_bytes_is_refused_alike(
    connect: Callable[[], socket.socket], application: Application
) -> None:
    connection = connect()
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    for byte in MALFORMED["chunk-data-bare-lf"]:
        try:
            connection.sendall(bytes([byte]))
        except ConnectionError:  # it has refused already
            break

    assert read_all(connection).startswith(b"HTTP/1.1 400 ")
    assert 0 == application.calls


@pytest.mark.requirement("H4")
@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"a" * 300_000,
        b"GET / HTTP/1.1\r\n" + HOST + b"X" * 300_000,
        b"GET / HTTP/1.1\r\n" + HOST + b"X: a\r\n" * 100_000,
        b"GET / HTTP/1.1\r\n" + HOST + b"X: a\r\n" * 300 + b"\r\n",
        b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"a" * 70_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 300_000,
        b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    ],
    ids=[
        "endless-value",
        "endless-name",
        "endless-headers",
        "too-many-headers",
        "complete-but-too-large",
        "endless-target",
        "complete-but-too-long-target",
    ],
)
def test_head_too_large_is_431_and_closed(
    connect: Callable[[], socket.socket], application: Application, head: bytes
) -> None:
    connection = connect()

    connection.sendall(head)

    assert read_all(connection).startswith(b"HTTP/1.1 431 ")
    assert 0 == application.calls


@pytest.mark.requirement("H4")
@pytest.mark.parametrize(
    ("constant", "beginning"),
    [
        ("HEAD_SECONDS", b"GET / HTTP/1.1\r\nHost: localh"),
        ("BODY_SECONDS", POST + b"Content-Length: 100\r\n\r\nabc"),
        ("BODY_SECONDS", CHUNKED + b"5\r\nab"),
    ],
    ids=["head", "body", "chunk"],
)
def test_slow_request_is_408_and_closed(
    connect: Callable[[], socket.socket],
    application: Application,
    monkeypatch: pytest.MonkeyPatch,
    constant: str,
    beginning: bytes,
) -> None:
    monkeypatch.setattr(framing, constant, 0.2)
    connection = connect()

    connection.sendall(beginning)

    assert read_all(connection).startswith(b"HTTP/1.1 408 ")
    assert 0 == application.calls


@pytest.mark.requirement("H4")
def test_trickled_head_does_not_extend_its_deadline(
    connect: Callable[[], socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(framing, "HEAD_SECONDS", 0.3)
    connection = connect()
    connection.settimeout(0.02)
    connection.sendall(b"GET / HTTP/1.1\r\n")

    answer = b""
    for _ in range(int(PATIENCE / 0.02)):
        try:
            connection.sendall(b"X: a\r\n")
            answer = connection.recv(65536)
        except TimeoutError:
            continue
        break

    assert answer.startswith(b"HTTP/1.1 408 ")


@pytest.mark.requirement("H4")
@pytest.mark.parametrize("said", [b"", b"\r\n\r\n"], ids=["nothing", "empty-lines"])
def test_connection_without_a_request_is_closed_without_a_word(
    connect: Callable[[], socket.socket], monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    monkeypatch.setattr(framing, "HEAD_SECONDS", 0.2)
    connection = connect()

    connection.sendall(said)

    assert b"" == read_all(connection)


@pytest.mark.requirement("H4")
def test_client_that_does_not_read_its_answer_is_cut_off(
    connect: Callable[[], socket.socket],
    application: Application,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(framing, "WRITE_SECONDS", 0.2)
    connection = connect()
    connection.sendall(b"GET /large HTTP/1.1\r\n" + HOST + b"\r\n")

    assert application.left.wait(PATIENCE)
    received = 0
    try:
        while part := connection.recv(1_000_000):
            received += len(part)
    except ConnectionResetError:
        pass

    assert received < 100 * len(application.large)


@pytest.mark.parametrize(
    "chunks",
    [
        b"3\r\nabc\r\n0\r\n\r\n",
        b"1\r\na\r\n2\r\nbc\r\n0\r\n\r\n",
        b"3;ext=1\r\nabc\r\n0\r\n\r\n",
        b"003\r\nabc\r\n0\r\n\r\n",
    ],
)
def test_chunked_body_arrives_whole(connect: Callable[[], socket.socket], chunks: bytes) -> None:
    connection = connect()

    connection.sendall(CHUNKED + chunks)

    assert "abc" == read_one(connection)["body"]


def test_body_in_single_bytes_arrives_whole(connect: Callable[[], socket.socket]) -> None:
    connection = connect()
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    for byte in POST + b"Content-Length: 3\r\n\r\nabc":
        connection.sendall(bytes([byte]))

    assert "abc" == read_one(connection)["body"]


@pytest.mark.requirement("H5")
def test_trailers_never_become_headers(connect: Callable[[], socket.socket]) -> None:
    """A proxy checks headers; a field that came behind the body has passed nobody's eyes."""
    connection = connect()

    connection.sendall(CHUNKED + b"3\r\nabc\r\n0\r\nAuthorization: Bearer x\r\nHost: b\r\n\r\n")
    seen = read_one(connection)

    assert ["host", "transfer-encoding"] == [name for name, _ in seen["headers"]]


@pytest.mark.parametrize("offer", [b"h2c", b"websocket"])
def test_request_that_offers_an_upgrade_keeps_its_body(
    connect: Callable[[], socket.socket], offer: bytes
) -> None:
    """Java's HttpClient sends such an offer with every request."""
    connection = connect()
    head = POST + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: " + offer + b"\r\n"

    connection.sendall(head + b"HTTP2-Settings: AAMAAABk\r\nContent-Length: 3\r\n\r\nabc")
    first = read_one(connection)
    connection.sendall(POST + b"Content-Length: 3\r\n\r\ndef")
    second = read_one(connection)

    assert "abc" == first["body"]
    assert "upgrade" not in dict(first["headers"])
    assert "def" == second["body"]


def test_client_that_waits_is_invited_to_send_its_body(
    connect: Callable[[], socket.socket],
) -> None:
    connection = connect()

    connection.sendall(POST + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\n")
    invitation = connection.recv(1000)
    connection.sendall(b"abc")

    assert b"HTTP/1.1 100 Continue\r\n\r\n" == invitation
    assert "abc" == read_one(connection)["body"]


@pytest.mark.finding("11.12")
@pytest.mark.parametrize(("length", "status"), [(3, b"200"), (100_000, b"413")])
def test_a_client_of_http_1_0_is_not_invited(
    connect: Callable[[], socket.socket], length: int, status: bytes
) -> None:
    connection = connect()

    head = POST.replace(b"HTTP/1.1", b"HTTP/1.0") + b"Expect: 100-continue\r\n"
    connection.sendall(head + b"Content-Length: %d\r\n\r\n" % length + b"a" * length)

    assert read_all(connection).startswith(b"HTTP/1.1 %s " % status)


@pytest.mark.parametrize(
    "head",
    [b"Content-Length: 100000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n186a0\r\n"],
    ids=["content-length", "chunked"],
)
def test_long_body_is_the_applications_to_refuse(
    connect: Callable[[], socket.socket], head: bytes
) -> None:
    connection = connect()

    connection.sendall(POST + head + b"a" * 100_000)

    assert connection.recv(65536).startswith(b"HTTP/1.1 413 ")


def test_pipelined_requests_are_answered_in_turn(connect: Callable[[], socket.socket]) -> None:
    connection = connect()

    connection.sendall(
        b"".join(
            b"POST /%d HTTP/1.1\r\n" % number + HOST + b"Content-Length: 3\r\n\r\nabc"
            for number in range(3)
        )
        + b"GET /last HTTP/1.1\r\nConnection: close\r\n"
        + HOST
        + b"\r\n"
    )
    answers = read_all(connection)

    assert 4 == answers.count(b"HTTP/1.1 200 ")
    places = [answers.index(b'"path": "/%s"' % name) for name in (b"0", b"1", b"2", b"last")]
    assert sorted(places) == places


@pytest.mark.requirement("H5")
def test_refusal_waits_for_the_answer_to_the_request_before(
    connect: Callable[[], socket.socket], application: Application
) -> None:
    """Otherwise the client would take the refusal for the answer to its first request."""
    connection = connect()

    connection.sendall(b"GET /first HTTP/1.1\r\n" + HOST + b"\r\nnonsense\r\n\r\n")
    answer = read_all(connection)

    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"/first" in answer
    assert 1 == application.calls


@pytest.mark.requirement("H4")
def test_flood_of_pipelined_requests_is_cut_off(
    connect: Callable[[], socket.socket], application: Application
) -> None:
    connection = connect()

    connection.sendall((b"GET / HTTP/1.1\r\n" + HOST + b"\r\n") * 1000)
    read_all(connection)

    assert application.calls <= framing.MAX_PIPELINED + 1


def test_half_a_request_then_silence_from_a_gone_client_reaches_nobody(
    connect: Callable[[], socket.socket], application: Application
) -> None:
    gone = connect()
    gone.sendall(POST + b"Content-Length: 100\r\n\r\nabc")
    gone.close()
    connection = connect()
    connection.sendall(b"GET /after HTTP/1.1\r\n" + HOST + b"\r\n")

    assert "/after" == read_one(connection)["path"]
    assert 1 == application.calls


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /a HTTP/1.0\r\n\r\n",
        b"GET http://localhost/a HTTP/1.1\r\n" + HOST + b"\r\n",
        b"\r\n\r\nGET /a HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET /a HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\nmore",
    ],
    ids=["http-1.0", "absolute-form", "empty-lines-before", "data-after-close"],
)
def test_uncommon_but_allowed_requests_are_served(
    connect: Callable[[], socket.socket], request_bytes: bytes
) -> None:
    connection = connect()

    connection.sendall(request_bytes)

    assert "/a" == read_one(connection)["path"]


OFFER = HOST + b"Connection: Upgrade\r\nUpgrade: h2c\r\n"
TWICE = {
    "get": b"GET /echo HTTP/1.1\r\n" + HOST + b"\r\n",
    "post": POST + b"Content-Length: 3\r\n\r\nabc",
    "chunked": CHUNKED + b"3\r\nabc\r\n0\r\n\r\n",
    "get-with-offer": b"GET /echo HTTP/1.1\r\n" + OFFER + b"\r\n",
    "post-with-offer": b"POST /echo HTTP/1.1\r\n" + OFFER + b"Content-Length: 3\r\n\r\nabc",
    "options": b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n",
    "expect": POST + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
}


@pytest.mark.finding("11.11")
@pytest.mark.parametrize("message", TWICE.values(), ids=TWICE.keys())
def test_a_second_message_in_the_packet_loses_no_answer(
    connect: Callable[[], socket.socket], message: bytes
) -> None:
    connection = connect()

    connection.sendall(message * 2 + b"GET / HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n")

    assert 3 == read_all(connection).count(b"HTTP/1.1 200 ")


@pytest.mark.finding("11.12")
@pytest.mark.parametrize("sent", [0, 70_000, 99_999])
def test_an_answer_before_the_body_was_read_says_close_and_closes(
    connect: Callable[[], socket.socket], sent: int
) -> None:
    expect = b"" if sent else b"Expect: 100-continue\r\n"
    connection = connect()

    refused = POST.replace(b"/echo", b"/refuse")
    connection.sendall(refused + expect + b"Content-Length: 100000\r\n\r\n" + b"a" * sent)
    answer = read_all(connection)

    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close\r\n" in answer


@pytest.mark.finding("11.12")
def test_a_request_behind_a_body_that_was_refused_reaches_nobody(
    application: Application, connect: Callable[[], socket.socket]
) -> None:
    """Its answer would be written to a connection that we have ended."""
    connection = connect()

    refused = POST.replace(b"/echo", b"/refuse") + b"Content-Length: 100000\r\n\r\n"
    connection.sendall(refused + b"a" * 100_000 + b"GET / HTTP/1.1\r\nHost: t\r\n\r\n")
    answer = read_all(connection)

    assert 1 == answer.count(b"HTTP/1.1 ")
    assert 1 == application.calls


@pytest.mark.finding("11.6")
def test_connections_of_one_address_beyond_the_bound_are_answered_503_until_one_ends(
    connect: Callable[[], socket.socket], application: Application
) -> None:
    application.connections = Connections(2)
    request = b"GET / HTTP/1.1\r\n" + HOST + b"\r\n"
    first, second = connect(), connect()
    for admitted in (first, second):
        admitted.sendall(request)
        read_one(admitted)

    answer = read_all(connect())
    first.sendall(b"GET / HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n")
    read_all(first)
    third = connect()
    third.sendall(request)

    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"connection: close" in answer
    assert "/" == read_one(third)["path"]
