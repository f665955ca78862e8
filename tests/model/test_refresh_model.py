"""
The refresh rules as a model beside the real service: SECURITY §3.3, walked by hypothesis.

The model is written from the rules' text, not from `protocol.refresh`: two readings of one
contract that must agree on every answer.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from authsvc.app import create_app
from authsvc.settings import Settings
from authsvc.store import users
from tests.conftest import START
from tests.http.conftest import BASE_URL, CHEAP_ARGON2, MovableClock

WINDOW = timedelta(seconds=10)
IDLE, ABSOLUTE = timedelta(days=7), timedelta(days=30)
EMAIL, PASSWORD = "model@example.com", "correct horse battery staple"


@dataclass
class ModelFamily:
    """What the rules remember about a family."""

    delivery: str
    session_id: str
    tokens: list[str]
    access_tokens: list[str]
    created_at: datetime
    rotated_at: datetime
    idle_until: datetime
    key: str | None = None
    revoked: bool = False
    csrf: str | None = None

    @property
    def by_cookie(self) -> bool:
        return self.delivery != "native"


@dataclass(frozen=True)
class Token:
    family: int
    generation: int


@dataclass
class World:
    """The service under test; one for all examples, with a fresh user for each."""

    database_url: str
    keys_dir: Path
    runner: asyncio.Runner = field(default_factory=asyncio.Runner)
    clock: MovableClock = field(default_factory=MovableClock)
    app: Any = None
    client: Any = None
    examples: int = 0

    def start(self) -> None:
        config = Settings.load(
            database_url=self.database_url,
            keys_dir=self.keys_dir,
            limits=None,
            log_level="error",
            **CHEAP_ARGON2,
        )
        self.app = create_app(config, clock=self.clock)
        self._lifespan = self.app.router.lifespan_context(self.app)
        self.runner.run(self._lifespan.__aenter__())
        self.client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app=self.app), base_url=BASE_URL
        )

    def stop(self) -> None:
        self.runner.run(self.client.aclose())
        self.runner.run(self._lifespan.__aexit__(None, None, None))
        self.runner.close()

    def send(self, method: str, path: str, **kwargs: Any) -> httpx.Response:
        self.client.cookies.clear()
        answer: httpx.Response = self.runner.run(self.client.request(method, path, **kwargs))
        return answer

    def set_disabled(self, user_id: str, *, disabled: bool) -> None:
        async def change() -> None:
            async with self.app.state.service.db.transaction() as session:
                await users.set_disabled(session, UUID(user_id), disabled=disabled)

        self.runner.run(change())


def machine(world: World) -> type[RuleBasedStateMachine]:  # noqa: C901 - a class of rules
    class RefreshModel(RuleBasedStateMachine):
        tokens = Bundle("tokens")

        def __init__(self) -> None:
            super().__init__()
            self.families: list[ModelFamily] = []
            self.disabled = False
            self.keys = 0

        @initialize()
        def register(self) -> None:
            world.examples += 1
            self.email = f"{world.examples}.{EMAIL}"
            body = {"email": self.email, "password": PASSWORD}
            self.user_id = world.send("POST", "/auth/register", json=body).json()["id"]

        @rule(target=tokens, delivery=st.sampled_from(["spa", "native", "web"]))
        def log_in(self, delivery: str) -> Token:
            answer = world.send(
                "POST",
                "/auth/login",
                json={"email": self.email, "password": PASSWORD, "delivery": delivery},
            )
            if self.disabled:
                assert 401 == answer.status_code
                return Token(-1, 0)
            assert 200 == answer.status_code
            body = answer.json()
            now = world.clock.time
            self.families.append(
                ModelFamily(
                    delivery=delivery,
                    session_id=body["session_id"],
                    tokens=[
                        body["refresh_token"]
                        if delivery == "native"
                        else answer.cookies["authsvc_refresh"]
                    ],
                    access_tokens=[_access_token(answer)],
                    created_at=now,
                    rotated_at=now,
                    idle_until=now + IDLE,
                    csrf=body.get("csrf_token"),
                )
            )
            return Token(len(self.families) - 1, 0)

        @rule(
            target=tokens,
            token=tokens,
            newest=st.booleans(),
            attempt=st.sampled_from(["none", "new", "same"]),
            wrong_transport=st.integers(0, 9).map(lambda n: n == 0),
        )
        def refresh(
            self, token: Token, *, newest: bool, attempt: str, wrong_transport: bool
        ) -> Token:
            if token.family < 0:
                return token
            family = self.families[token.family]
            generation = len(family.tokens) - 1
            if newest:
                token = Token(token.family, generation)
            key = self._key(family, attempt)
            answer = self._present(family, token, key, wrong_transport=wrong_transport)
            now = world.clock.time
            assert answer.status_code in {200, 401}, answer.text

            expected = (
                "refused"
                if wrong_transport
                else self._expect(family, token.generation, generation, key, now)
            )
            if expected == "reused":
                family.revoked = True
            if expected in {"refused", "reused"}:
                assert 401 == answer.status_code
                assert "set-cookie" not in answer.headers
                return token
            assert (200, expected) == (answer.status_code, answer.headers["authsvc-refresh"])
            successor = (
                answer.json()["refresh_token"]
                if family.delivery == "native"
                else answer.cookies.get("authsvc_refresh")
            )
            if expected == "kept":
                assert successor is None
            elif expected == "replayed":
                assert family.tokens[-1] == successor
            else:
                assert successor is not None
                assert successor not in family.tokens
                family.tokens.append(successor)
                family.key, family.rotated_at = key, now
                family.idle_until = min(now + IDLE, family.created_at + ABSOLUTE)
            family.access_tokens.append(_access_token(answer))
            return Token(token.family, len(family.tokens) - 1)

        @rule(token=tokens)
        def log_out(self, token: Token) -> None:
            if token.family < 0:
                return
            family = self.families[token.family]
            presented = family.tokens[token.generation]
            if family.by_cookie:
                headers = {"cookie": f"authsvc_refresh={presented}"}
                if family.csrf:
                    headers["x-csrf-token"] = family.csrf
                answer = world.send("POST", "/auth/logout", headers=headers)
            else:
                answer = world.send("POST", "/auth/logout", json={"refresh_token": presented})
            assert 204 == answer.status_code
            family.revoked = True

        @rule(disabled=st.booleans())
        def disable_or_enable(self, *, disabled: bool) -> None:
            world.set_disabled(self.user_id, disabled=disabled)
            self.disabled = disabled

        @rule(
            step=st.sampled_from(
                [
                    timedelta(milliseconds=1),
                    WINDOW - timedelta(milliseconds=1),
                    WINDOW,
                    timedelta(hours=3),
                    IDLE - timedelta(seconds=1),
                    IDLE,
                ]
            )
        )
        def time_passes(self, step: timedelta) -> None:
            world.clock.advance(step)

        @invariant()
        def an_access_token_works_here_exactly_while_its_session_lives(self) -> None:
            for family in self.families[-2:]:
                token = family.access_tokens[-1]
                service = world.app.state.service
                alive = (
                    not family.revoked
                    and not self.disabled
                    and world.clock.time < family.created_at + ABSOLUTE
                )
                claims = service.issuer.verify_authentic(token, now=world.clock.time)
                fresh = world.clock.time < claims.exp + timedelta(seconds=30)
                answer = world.send("GET", "/auth/me", headers={"authorization": f"Bearer {token}"})
                assert (200 if alive and fresh else 401) == answer.status_code

        def _key(self, family: ModelFamily, attempt: str) -> str | None:
            if attempt == "same" and family.key is not None:
                return family.key
            if attempt == "none":
                return None
            self.keys += 1
            return f"idempotency-key-{self.keys:08}"

        def _present(
            self, family: ModelFamily, token: Token, key: str | None, *, wrong_transport: bool
        ) -> httpx.Response:
            presented = family.tokens[token.generation]
            headers = {"idempotency-key": key} if key else {}
            if family.csrf:
                headers["x-csrf-token"] = family.csrf
            if family.by_cookie is not wrong_transport:
                headers["cookie"] = f"authsvc_refresh={presented}"
                return world.send("POST", "/auth/refresh", headers=headers)
            return world.send(
                "POST", "/auth/refresh", headers=headers, json={"refresh_token": presented}
            )

        def _expect(
            self, family: ModelFamily, generation: int, newest: int, key: str | None, now: datetime
        ) -> str:
            if family.revoked or self.disabled:
                return "refused"
            if now >= family.idle_until or now >= family.created_at + ABSOLUTE:
                return "refused"
            in_window = family.by_cookie and now - family.rotated_at < WINDOW
            if generation == newest:
                return "kept" if in_window and newest > 0 else "rotated"
            if generation == newest - 1 and (in_window or (key and key == family.key)):
                return "replayed"
            return "reused"

    return RefreshModel


def _access_token(answer: httpx.Response) -> str:
    token: str = answer.json().get("access_token") or answer.cookies["authsvc_access"]
    return token


@pytest.mark.requirement("R1", "R2", "R3", "R8")
def test_the_service_agrees_with_the_model(database_url: str, keys_dir_of_the_model: Path) -> None:
    world = World(database_url, keys_dir_of_the_model)
    world.start()
    try:
        run_state_machine_as_test(
            machine(world),
            settings=settings(
                max_examples=60,
                stateful_step_count=40,
                derandomize=True,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
    finally:
        world.stop()


@pytest.fixture
def keys_dir_of_the_model(tmp_path: Path) -> Path:
    from authsvc.keys.rotation import create_first_keys  # noqa: PLC0415 - needed here only

    create_first_keys(tmp_path / "keys", now=START - timedelta(days=1))
    return tmp_path / "keys"
