"""
Strict HTTP/1.1 framing (RFC 9112) against request smuggling and slow clients (slowloris).

uvicorn's httptools protocol is fast but trusting: it sets no limit to the size of a head or to
the time one takes, calls the application before a request has arrived, takes trailers for
headers, and loses the body of a request that offers an upgrade. This subclass closes those gaps.
What is refused here gets a plain answer and a closed connection, and the application never sees
it; whatever passes is answered by the application, in its own format.
"""

from __future__ import annotations

import asyncio
import http
from typing import Any
from urllib.parse import urlsplit

import httptools
from uvicorn._types import ASGI3Application
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from authsvc.http.wire.connections import Connections

# The guard refuses heads far smaller than these, in problem+json; here memory is protected.
MAX_HEAD = 64 * 1024  # bytes
MAX_HEADERS = 256
# Up to here a body is collected before the application is called. A longer one is handed over as
# it arrives, and the application refuses it (413).
MAX_COLLECTED = 64 * 1024  # bytes
MAX_CHUNKING = 128 * 1024  # bytes of chunk sizes, extensions and trailers around one body
MAX_PIPELINED = 16  # requests sent ahead of their turn; nobody does that but attackers

HEAD_SECONDS = 10.0  # from the first byte of a head to its last
BODY_SECONDS = 30.0  # the same of a body
WRITE_SECONDS = 30.0  # without the client taking a byte of a long answer
LINGER_SECONDS = 2.0  # a close with unread bytes would be a reset that destroys our answer

IDLE, HEAD, BODY = range(3)


class StrictHttpProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._phase = IDLE
        self._refused = False
        self.ended = False  # our side of the connection; nothing more is written
        self._refusal = 400
        self._unfinished = 0  # bytes of this head that came after its first packet
        self._collected = 0  # bytes of body in this packet
        self._chunking = 0
        self._upgrading = False
        self._serving: RequestResponseCycle | None = None
        self._held: ASGI3Application | None = None
        self._connections: Connections | None = getattr(config.loaded_app, "connections", None)
        self._counted_as: str | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None

    # The transport's side

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in the base class
        """Give a client that says nothing only so long."""
        super().connection_made(transport)
        if self._connections is not None and self.client is not None:
            now = self.loop.time()
            self._counted_as = self._connections.admit(self.client[0], now=now)
            if self._counted_as is None:
                # At once, not lingering: what there are too many of are descriptors.
                self._refused = True
                self._write_refusal(503)
                self.transport.close()
                return
        self._deadline = self.loop.call_later(HEAD_SECONDS, self._out_of_time)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget a half-received request, and the one whose client has gone."""
        if self._connections is not None and self._counted_as is not None:
            self._connections.release(self._counted_as)
            self._counted_as = None
        self._held = None
        self.pipeline.clear()
        if self._serving is not None and not self._serving.response_complete:
            # The base class knows of the request that came last only.
            self._serving.disconnected = True
            self._serving.message_event.set()
        self._stop_clock()
        self._stop_stall_clock()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse a packet, then see what it has left unfinished."""
        if self._refused:
            return
        began_in = self._phase
        self._collected = 0
        try:
            self._feed(data)
        except Exception:  # noqa: BLE001 - whatever a parser raises, the bytes are not HTTP
            self._refuse(self._refusal)
            return
        if self._phase == IDLE:
            return
        if self._phase == HEAD and began_in == HEAD:
            self._unfinished += len(data)
            if self._unfinished > MAX_HEAD:
                self._refuse(431)
                return
        elif self._phase == BODY and began_in == BODY:
            self._chunking += len(data) - self._collected
            if self._chunking > MAX_CHUNKING:
                self._refuse(400)
                return
        if self._held is not None and self._phase == BODY:
            self._invite_body()
        if self._deadline is None:
            seconds = HEAD_SECONDS if self._phase == HEAD else BODY_SECONDS
            self._deadline = self.loop.call_later(seconds, self._out_of_time)

    def pause_writing(self) -> None:
        """Do not keep an answer for ever for a client that does not read it."""
        super().pause_writing()
        self._stop_stall_clock()
        self._stalled = self.loop.call_later(WRITE_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """The client reads again."""
        self._stop_stall_clock()
        super().resume_writing()

    # The parser's side

    def on_message_begin(self) -> None:
        """Begin a head."""
        self._unset_keepalive_if_required()
        self._stop_clock()
        self._phase = HEAD
        self._unfinished = self._chunking = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Judge a head; collect its body before the application is called."""
        self._stop_clock()
        self._phase = BODY
        self._check_head()
        if self.parser.should_upgrade():
            self._upgrading = True  # the parser stops here; see _feed
            return
        if self.parser.get_http_version() == "1.0":
            self.expect_100_continue = False  # a server MUST ignore it (RFC 9110 §10.1.1)
        super().on_headers_complete()
        # Trailers land in a list that nobody reads: among the headers they could pass for an
        # Authorization or Host that no proxy has seen (RFC 9110 §6.5.1 lets us drop them).
        self.headers = []

    def on_body(self, body: bytes) -> None:
        """Collect."""
        self._collected += len(body)
        super().on_body(body)
        if self._held is not None and len(self.cycle.body) > MAX_COLLECTED:
            self._release()

    def on_message_complete(self) -> None:
        """Call the application, unless it is still busy with the request before."""
        if self._upgrading:
            return
        self._stop_clock()
        self._phase = IDLE
        super().on_message_complete()
        if self._held is not None and self.cycle is self._serving:
            self._release()

    def on_response_complete(self) -> None:
        """The clock of a request that is arriving replaces that of an idle connection."""
        super().on_response_complete()
        if self._phase != IDLE:
            self._unset_keepalive_if_required()

    # Our own

    def _feed(self, data: bytes) -> None:
        while True:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as stop:
                # We speak no other protocol, and a server may ignore the offer (RFC 9110 §7.8).
                # The parser cannot: it would leave the body unread. So it gets the head again
                # without the offer. Java's HttpClient offers h2c with every request, and the
                # next request of the packet may offer as well.
                self._upgrading = False
                data = self._head_without_upgrade() + data[stop.args[0] :]
                self.parser = httptools.HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
            else:
                return

    def _head_without_upgrade(self) -> bytes:
        version = self.parser.get_http_version().encode("ascii")
        lines = [b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, version)]
        for name, value in self.headers:
            if name == b"connection":
                kept = [
                    token
                    for token in value.split(b",")
                    if token.strip().lower() not in {b"upgrade", b"http2-settings"}
                ]
                lines.append(b"connection: " + b",".join(kept))
            elif name not in {b"upgrade", b"http2-settings"}:
                lines.append(name + b": " + value)
        return b"\r\n".join(lines) + b"\r\n\r\n"

    def _check_head(self) -> None:
        """
        What the parser lets pass and we do not.

        Raises:
            ValueError: The parser turns it into an HttpParserError; the status is `_refusal`.
        """
        version = self.parser.get_http_version()
        method = self.parser.get_method()
        size = len(self.url)
        hosts = []
        for name, value in self.headers:
            size += len(name) + len(value) + 4
            if name == b"host":
                hosts.append(value)
            elif name == b"transfer-encoding" and (version != "1.1" or value.lower() != b"chunked"):
                raise ValueError("a transfer coding that we do not decode (RFC 9112 §6.1)")
        if size > MAX_HEAD or len(self.headers) > MAX_HEADERS:
            self._refusal = 431
            raise ValueError("the head is too large")
        if version not in {"1.1", "1.0"}:
            raise ValueError("not HTTP/1 (RFC 9112 §2.3)")
        if len(hosts) > 1 or (not hosts and version == "1.1"):
            raise ValueError("not exactly one Host (RFC 9112 §3.2)")
        if method == b"CONNECT" or not _is_target(self.url, hosts, method):
            raise ValueError("not a target for this server (RFC 9112 §3.2)")
        if len(self.pipeline) >= MAX_PIPELINED:
            raise ValueError("too many requests in advance")

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        """
        Hold a request until its body is here.

        The application then sees only requests that are well framed to their end, and a slow
        client costs a buffer rather than a task.
        """
        self._serving = cycle
        if cycle.more_body and len(cycle.body) <= MAX_COLLECTED:
            self._held = app
        else:
            self._start(cycle, app)

    def _release(self) -> None:
        app, self._held = self._held, None
        if app is not None and self._serving is not None:
            self._start(self._serving, app)

    def _start(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        """Call the application; where the body is not here yet, its answer ends the connection."""
        if cycle.more_body:
            # Longer than any that is accepted. What else arrives of it could pass for the next
            # request, or be waited for in vain after `Expect: 100-continue` (RFC 9110 §10.1.1).
            cycle.keep_alive = False
            cycle.transport = _Lingering(self)  # type: ignore[assignment]  # what a cycle uses of it
        super()._start_asgi_task(cycle, app)

    def linger(self) -> None:
        """End our side, and read on for a moment: a close with unread bytes would be a reset."""
        self._refused = True
        self._stop_clock()
        # Its body may have ended meanwhile, and a request behind it waits for an answer.
        self.pipeline.clear()
        if self.transport.is_closing() or self.ended:
            return
        self.ended = True
        self.transport.write_eof()
        self.flow.resume_reading()
        self._deadline = self.loop.call_later(LINGER_SECONDS, self.transport.close)

    def _invite_body(self) -> None:
        """Answer `Expect: 100-continue`: by inviting a body, or by refusing one that is long."""
        cycle = self._serving
        if cycle is None or not cycle.waiting_for_100_continue:
            return
        declared = next((v for n, v in cycle.scope["headers"] if n == b"content-length"), b"0")
        if int(declared) > MAX_COLLECTED:
            self._release()
            return
        cycle.waiting_for_100_continue = False
        self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _refuse(self, status: int) -> None:
        """Say no once, after any answer that is owed to an earlier request, and close."""
        self._refused = True
        self._stop_clock()
        self._unset_keepalive_if_required()
        self.pipeline.clear()
        if self.transport.is_closing() or self.ended:
            return
        serving = self._serving
        if serving is not None and not serving.response_complete:
            if self._held is None and not (serving is self.cycle and serving.more_body):
                serving.keep_alive = False  # uvicorn closes after this answer
                return
            self._held = None
            serving.disconnected = True
            serving.message_event.set()
            if serving.response_started:
                self.transport.close()
                return
        self._write_refusal(status)
        self.linger()

    def _write_refusal(self, status: int) -> None:
        phrase = http.HTTPStatus(status).phrase.encode()
        lines = [
            b"HTTP/1.1 %d %s" % (status, phrase),
            *(name + b": " + value for name, value in self.server_state.default_headers),
            b"content-type: text/plain; charset=utf-8",
            b"content-length: %d" % len(phrase),
            b"x-content-type-options: nosniff",
            b"cache-control: no-store",
            b"connection: close",
        ]
        self.transport.write(b"\r\n".join(lines) + b"\r\n\r\n" + phrase)

    def _out_of_time(self) -> None:
        self._deadline = None
        if self._phase == IDLE:
            self.transport.close()  # a browser's spare connection; nothing was asked
        else:
            self._refuse(408)

    def _stop_clock(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _stop_stall_clock(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None


class _Lingering:
    """The transport of an answer that comes before its request has ended."""

    def __init__(self, protocol: StrictHttpProtocol) -> None:
        self._protocol = protocol

    def is_closing(self) -> bool:
        """Whether nothing can be written any more."""
        return self._protocol.ended or self._protocol.transport.is_closing()

    def write(self, data: bytes) -> None:
        """Write; what comes after our end is dropped, as a closed transport does."""
        if not self._protocol.ended:
            self._protocol.transport.write(data)

    def close(self) -> None:
        """Close in two steps."""
        self._protocol.linger()


def _is_target(url: bytes, hosts: list[bytes], method: bytes) -> bool:
    """Origin form; `*` for OPTIONS; absolute form only of the very host in the Host header."""
    if b"#" in url:
        return False
    if url.startswith(b"/"):
        return True
    if url == b"*":
        return method == b"OPTIONS"
    parts = urlsplit(url)
    return parts.scheme in {b"http", b"https"} and [parts.netloc.lower()] == [
        host.lower() for host in hosts
    ]
