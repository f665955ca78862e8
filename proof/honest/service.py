"""The real service as a rule: its application in this process, PostgreSQL, a clock that we move."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from authsvc.app import create_app
from authsvc.settings import Settings
from proof.honest.rules import Reply
from tests.http.conftest import BASE_URL, CHEAP_ARGON2, MovableClock

EMAIL, PASSWORD = "honest@example.com", "correct horse battery staple"
OK, REFUSED, UNAVAILABLE = 200, 401, 503
BETWEEN = timedelta(hours=1)  # the clock never goes back from one session to the next


class Service:
    """One service with one user; see `serving`."""

    def __init__(
        self, runner: asyncio.Runner, client: httpx.AsyncClient, clock: MovableClock
    ) -> None:
        self._runner = runner
        self._client = client
        self.clock = clock

    def post(self, path: str, **arguments: Any) -> httpx.Response:
        """Ask, without any cookie but those given."""
        self._client.cookies.clear()
        answer: httpx.Response = self._runner.run(self._client.post(path, **arguments))
        return answer


@contextmanager
def serving(database_url: str, keys_dir: Path) -> Iterator[Service]:
    """
    The service, for as long as the context lasts; not inside a running event loop.

    Args:
        keys_dir: With keys that were made before the first moment of `MovableClock`.
    """
    clock = MovableClock()
    settings = Settings.load(
        database_url=database_url,
        keys_dir=keys_dir,
        throttle=False,
        log_level="error",
        **CHEAP_ARGON2,
    )
    app = create_app(settings, clock=clock)
    with asyncio.Runner() as runner:
        lifespan = app.router.lifespan_context(app)
        runner.run(lifespan.__aenter__())
        transport = httpx.ASGITransport(app=app)
        client = httpx.AsyncClient(transport=transport, base_url=BASE_URL)
        try:
            service = Service(runner, client, clock)
            body = {"email": EMAIL, "password": PASSWORD}
            assert service.post("/auth/register", json=body).is_success
            yield service
        finally:
            runner.run(client.aclose())
            runner.run(lifespan.__aexit__(None, None, None))


class RealSession:
    """
    One session at the service.

    Args:
        delivery: `spa`: the token is a cookie; `native`: it is in the body.
    """

    def __init__(self, service: Service, delivery: str) -> None:
        self._service = service
        self._delivery = delivery
        self._began: datetime = service.clock.time + BETWEEN

    def login(self, now: int) -> str:
        """Log in."""
        body = {"email": EMAIL, "password": PASSWORD, "delivery": self._delivery}
        answer = self._at(now).post("/auth/login", json=body)
        assert answer.status_code == OK, answer.text
        token = self._token(answer)
        assert token is not None
        return token

    def refresh(self, token: str, key: str | None, now: int) -> Reply | None:
        """Present a token."""
        headers = {"idempotency-key": key} if key else {}
        arguments: dict[str, Any] = {"headers": headers}
        if self._delivery == "native":
            arguments["json"] = {"refresh_token": token}
        else:
            headers["cookie"] = f"authsvc_refresh={token}"
        answer = self._at(now).post("/auth/refresh", **arguments)
        if answer.status_code == REFUSED:
            return None
        if answer.status_code == UNAVAILABLE:
            return Reply("overtaken", None)
        assert answer.status_code == OK, answer.text
        how = answer.headers["authsvc-refresh"]
        return Reply(how, None if how == "kept" else self._token(answer))

    def _at(self, now: int) -> Service:
        self._service.clock.time = self._began + timedelta(milliseconds=now)
        return self._service

    def _token(self, answer: httpx.Response) -> str | None:
        if self._delivery == "native":
            return str(answer.json()["refresh_token"])
        return answer.cookies.get("authsvc_refresh")
