"""The whole service in this process, on a real database, with a clock that tests move."""

from __future__ import annotations

import re
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from authsvc.app import create_app
from authsvc.keys.rotation import create_first_keys
from authsvc.settings import Settings
from authsvc_client.clock import SystemClock
from tests.conftest import START

BASE_URL = "http://localhost:8000"
PASSWORD = "correct horse battery staple"
EMAIL = "alice@example.com"
# As a login that costs next to nothing.
CHEAP_ARGON2 = {"argon2_memory_kib": 8, "argon2_time": 1, "argon2_parallelism": 1}

# The paths of the OpenAPI document, made once: it is the same for every app but its server.
PATHS: dict[str, Any] = {}


class MovableClock(SystemClock):
    """Both clocks, moved by hand."""

    def __init__(self) -> None:
        self.time = START

    def now(self) -> datetime:
        return self.time

    def advance(self, step: timedelta) -> None:
        self.time += step


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock()


@pytest.fixture(scope="session")
def first_keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key directory as `make run` leaves it; made once, since RSA keys are slow to make."""
    directory = tmp_path_factory.mktemp("first") / "keys"
    create_first_keys(directory, now=START - timedelta(days=1))
    return directory


@pytest.fixture
def keys_dir(first_keys: Path, tmp_path: Path) -> Path:
    directory = tmp_path / "keys"
    shutil.copytree(first_keys, directory)
    return directory


@pytest.fixture
def settings(request: pytest.FixtureRequest, database_url: str, keys_dir: Path) -> Settings:
    """Development settings; `@pytest.mark.settings(name=value)` changes some."""
    overrides: dict[str, Any] = {
        "env": "development",
        "database_url": database_url,
        "keys_dir": keys_dir,
        "log_level": "warning",
        **CHEAP_ARGON2,
    }
    for marker in request.node.iter_markers("settings"):
        overrides |= marker.kwargs
    return Settings.load(**overrides)


@pytest.fixture
async def app(settings: Settings, clock: MovableClock) -> AsyncIterator[FastAPI]:
    application = create_app(settings, clock=clock)
    async with application.router.lifespan_context(application):
        yield application


ClientFactory = Callable[..., httpx.AsyncClient]


@pytest.fixture
async def new_client(app: FastAPI) -> AsyncIterator[ClientFactory]:
    """Makes clients with a cookie jar each; `ip` is the address they come from."""
    async with AsyncExitStack() as stack:

        async def check(answer: httpx.Response) -> None:
            await answer.aread()
            assert_documented(app, answer)

        def make(ip: str = "203.0.113.7", **kwargs: Any) -> httpx.AsyncClient:
            client = httpx.AsyncClient(
                event_hooks={"response": [check]},
                transport=httpx.ASGITransport(app=app, client=(ip, 50000)),
                base_url=kwargs.pop("base_url", BASE_URL),
                **kwargs,
            )
            stack.push_async_callback(client.aclose)
            return client

        yield make


def assert_documented(app: FastAPI, answer: httpx.Response) -> None:
    """Every answer of every test is one that the OpenAPI document promises."""
    path, method = (
        answer.request.url.raw_path.decode().partition("?")[0],
        answer.request.method.lower(),
    )
    if not PATHS:
        PATHS.update(app.openapi()["paths"])
    for template, operations in PATHS.items():
        pattern = re.sub(r"\\{\w+\\}", "[^/]+", re.escape(template))
        if method in operations and re.fullmatch(pattern, path):
            responses = operations[method]["responses"]
            assert str(answer.status_code) in responses, (method, path, answer.text)
            if answer.headers.get("content-type") == "application/problem+json":
                content = responses[str(answer.status_code)]["content"]
                codes = content["application/problem+json"]["schema"]["properties"]["code"]["enum"]
                assert answer.json()["code"] in codes, (method, path, answer.text)


@pytest.fixture
def client(new_client: ClientFactory) -> httpx.AsyncClient:
    return new_client()


@pytest.fixture
async def alice(client: httpx.AsyncClient) -> dict[str, Any]:
    """A registered account."""
    answer = await client.post("/auth/register", json={"email": EMAIL, "password": PASSWORD})
    assert 201 == answer.status_code, answer.text
    registered: dict[str, Any] = answer.json()
    return registered


async def log_in(
    client: httpx.AsyncClient,
    delivery: str = "native",
    *,
    email: str = EMAIL,
    password: str = PASSWORD,
    **body: object,
) -> httpx.Response:
    """Log in and expect it to work."""
    answer = await client.post(
        "/auth/login", json={"email": email, "password": password, "delivery": delivery, **body}
    )
    assert 200 == answer.status_code, answer.text
    return answer


async def refresh(
    client: httpx.AsyncClient,
    token: str | None = None,
    *,
    key: str | None = None,
    cookie: str | None = None,
    **headers: str,
) -> httpx.Response:
    """Present a refresh token: in the body, as a given cookie, or from the jar."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    if key is not None:
        sent["idempotency-key"] = key
    if cookie is not None:
        sent["cookie"] = f"authsvc_refresh={cookie}"
    body = {"json": {"refresh_token": token}} if token is not None else {}
    return await client.post("/auth/refresh", headers=sent, **body)  # type: ignore[arg-type]


async def me(client: httpx.AsyncClient, access_token: str) -> httpx.Response:
    return await client.get("/auth/me", headers={"authorization": f"Bearer {access_token}"})
