"""The real service on a real port, with a clock that tests move and a gateway that can fail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from authsvc.app import create_app
from authsvc.keys.rotation import create_first_keys
from authsvc.settings import Settings
from authsvc_client.clock import SystemClock
from authsvc_client.session import FileStore, NativeSession
from tests.conftest import START
from tests.support.live import EMAIL, PASSWORD, free_port

CHEAP_ARGON2 = {"argon2_memory_kib": 8, "argon2_time": 1, "argon2_parallelism": 1}


class MovableClock(SystemClock):
    """Everybody's clock: the service's, its database's, the client's and the verifier's."""

    def __init__(self) -> None:
        self.time = START
        self.pauses: list[float] = []
        self.on_pause: Callable[[], object] = lambda: None

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return (self.time - datetime(2026, 1, 1, tzinfo=UTC)).total_seconds()

    def advance(self, **span: float) -> None:
        self.time += timedelta(**span)

    def pause(self, span: timedelta) -> None:
        self.pauses.append(span.total_seconds())
        self.time += span
        self.on_pause()


@dataclass
class Gateway:
    """
    What stands in front of the service: it records, loses answers, or answers by itself.

    Args:
        lose: So many answers of refreshes are replaced by 502, after the service has committed.
        instead: Answers to refreshes that never reach the service.
    """

    app: Any
    lose: int = 0
    instead: list[tuple[int, dict[str, str], bytes]] = field(default_factory=list)
    refreshes: list[tuple[str, str]] = field(default_factory=list)
    """Idempotency-Key and body of each."""
    answers: list[str] = field(default_factory=list)
    """What became of each refresh token."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] != "/auth/refresh":
            await self.app(scope, receive, send)
            return
        request = await receive()
        keys = [v.decode() for k, v in scope["headers"] if k == b"idempotency-key"]
        self.refreshes.append((",".join(keys), request["body"].decode()))
        if self.instead:
            await self._answer(send, *self.instead.pop(0))
            return

        async def once() -> Any:
            return request

        lost = self.lose > 0
        self.lose -= lost

        async def watch(message: Any) -> None:
            if message["type"] == "http.response.start":
                found = [v.decode() for k, v in message["headers"] if k == b"authsvc-refresh"]
                self.answers.append(found[0] if found else str(message["status"]))
            if not lost:
                await send(message)

        await self.app(scope, once, watch)
        if lost:
            await self._answer(send, 502, {}, b"")

    async def _answer(self, send: Any, status: int, headers: dict[str, str], body: bytes) -> None:
        raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": status, "headers": raw})
        await send({"type": "http.response.body", "body": body})


@dataclass
class Authsvc:
    """The service as a client sees it."""

    origin: str
    clock: MovableClock
    gateway: Gateway

    async def as_user(self, method: str, path: str, token: str, **body: Any) -> httpx.Response:
        async with httpx.AsyncClient(base_url=self.origin) as client:
            headers = {"authorization": f"Bearer {token}"}
            return await client.request(method, path, headers=headers, json=body or None)

    async def sessions(self, token: str) -> int:
        answer = await self.as_user("GET", "/auth/sessions", token)
        return len(answer.json()["sessions"])


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock()


@pytest.fixture
async def authsvc(database_url: str, tmp_path: Path, clock: MovableClock) -> AsyncIterator[Authsvc]:
    port = free_port()
    create_first_keys(tmp_path / "keys", now=START - timedelta(days=1))
    settings = Settings.load(
        database_url=database_url,
        keys_dir=tmp_path / "keys",
        port=port,
        log_level="error",
        limits=None,
        **CHEAP_ARGON2,
    )
    app = create_app(settings, clock=clock)
    gateway = Gateway(app)
    config = uvicorn.Config(
        gateway, host="127.0.0.1", port=port, lifespan="off", log_config=None, ws="none"
    )
    server = uvicorn.Server(config)
    async with app.router.lifespan_context(app):
        serving = asyncio.create_task(server._serve())  # without its signal handlers
        while not server.started:
            await asyncio.sleep(0.005)
        running = Authsvc(f"http://localhost:{port}", clock, gateway)
        async with httpx.AsyncClient(base_url=running.origin) as client:
            body = {"email": EMAIL, "password": PASSWORD}
            await client.post("/auth/register", json=body)
        yield running
        server.should_exit = True
        with suppress(asyncio.CancelledError):
            await serving


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "home" / "session.json"


NewSession = Callable[..., NativeSession]


@pytest.fixture
def new_session(authsvc: Authsvc, file: Path) -> NewSession:
    """Makes sessions that share one file, as a program that is started anew would."""

    def make(**changes: Any) -> NativeSession:
        arguments = {"clock": authsvc.clock} | changes
        store = arguments.pop("store", None) or FileStore(file)
        return NativeSession(authsvc.origin, store, **arguments)

    return make


@pytest.fixture
async def session(new_session: NewSession) -> NativeSession:
    """Logged in."""
    opened = new_session()
    await asyncio.to_thread(opened.login, EMAIL, PASSWORD)
    return opened
