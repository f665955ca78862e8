"""An authorization server as a verifier sees it: two documents over HTTP, good, bad or slow."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler
from threading import Event
from typing import Any
from urllib.parse import parse_qs

from authsvc_client.tokens.jwk import rsa_jwk
from authsvc_client.verifier import SystemClock, TokenVerifier
from tests.support.http_server import http_server
from tests.support.key_material import T0, rsa_key

JWKS = "/.well-known/jwks.json"
FEED = "/.well-known/revocations"
METADATA = "/.well-known/oauth-authorization-server"
CACHE_CONTROL = "public, max-age=300, stale-while-revalidate=600, stale-if-error=86400"


@dataclass
class MovableClock(SystemClock):
    """Both clocks, moved by hand."""

    time: datetime = T0
    passed: float = 1000.0

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return self.passed

    def advance(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)
        self.passed += seconds


@dataclass
class KeyServer:
    """
    What it answers can be changed at any time; `requests` has the path and headers of each.

    Args:
        gate: Clear it to keep every answer back.
        feed: The revocation feed, since a number.
        answered: Requests that were not kept back, or no longer.
    """

    origin: str = ""
    document: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=lambda: {"Cache-Control": CACHE_CONTROL})
    metadata: dict[str, Any] = field(default_factory=dict)
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    gate: Event = field(default_factory=Event)
    feed: Callable[[int | None], str] | None = None
    answered: int = 0

    def publish(self, *numbers: int) -> None:
        """Publish the test keys of these numbers, and nothing else."""
        keys = [rsa_jwk(rsa_key(number).public_key()) for number in numbers]
        self.document = json.dumps({"keys": keys}).encode()

    def fetches(self) -> int:
        """How often the key set was asked for."""
        return sum(path == JWKS for path, _ in self.requests)

    def respond(self, handler: BaseHTTPRequestHandler) -> None:
        sent = {name.lower(): value for name, value in handler.headers.items()}
        self.requests.append((handler.path, sent))
        self.gate.wait(30)
        self.answered += 1
        path, _, query = handler.path.partition("?")
        if path == FEED and self.feed is not None:
            since = parse_qs(query).get("since")
            body = self.feed(int(since[0]) if since else None).encode()
        else:
            body = self.document if path == JWKS else json.dumps(self.metadata).encode()
        etag = f'"{hash(body):x}"'
        status = self.status
        if status == 200 and sent.get("if-none-match") == etag:
            status, body = 304, b""
        handler.send_response(status)
        for name, value in {"ETag": etag, **self.headers}.items():
            handler.send_header(name, value)
        if status != 304:
            handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)


@contextmanager
def key_server() -> Iterator[KeyServer]:
    """One, on a free port, that publishes the first test key."""
    server = KeyServer()
    server.publish(0)
    server.gate.set()

    with http_server(server.respond) as port:
        server.origin = f"http://127.0.0.1:{port}"
        server.metadata = {"issuer": server.origin, "jwks_uri": server.origin + JWKS}
        try:
            yield server
        finally:
            server.gate.set()


def settle(verifier: TokenVerifier) -> None:
    """Wait until no fetch is under way."""
    flight = verifier._keys._flight
    if flight is not None:
        flight.result(10)
