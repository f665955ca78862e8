"""The same refresh token, presented by many: who they are, and what they begin with."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Literal

from proof.client import Account
from proof.deployment import Deployment, deployed
from proof.experiment import Findings, Stage
from tests.support.wire import Answer, Connection, post

PROCESSES = 4  # as two replicas of two workers
PRESENTATIONS = 64


@dataclass(frozen=True, slots=True)
class Kind:
    """Who presents the token: `keys` says who has which Idempotency-Key."""

    delivery: Literal["native", "spa", "web"]
    keys: Literal["none", "one", "each"]

    @property
    def survives(self) -> bool:
        """Within the window a cookie may come again; a body token only under its own key."""
        return self.delivery != "native" or self.keys == "one"

    def __str__(self) -> str:
        return f"{self.delivery}, key {self.keys}"


KINDS = tuple(
    Kind(delivery, keys)
    for delivery in ("native", "spa", "web")
    for keys in ("none", "one", "each")
)


@dataclass
class Race:
    """The service under test, and connections to all its processes."""

    deployment: Deployment
    random: Random
    account: Account
    findings: Findings = field(default_factory=Findings)
    connections: list[Connection] = field(default_factory=list)
    expected: dict[str, tuple[int, bool]] = field(default_factory=dict)
    """By family: the generation it must have in the end, and whether it lives."""

    async def connection(self, index: int) -> Connection:
        """One more, to the process whose turn it is."""
        ports = self.deployment.ports
        return await Connection.open(ports[index % len(ports)])

    async def ask(self, request: bytes) -> Answer:
        """On any of the connections, so by any process."""
        return await self.random.choice(self.connections).ask(request)

    def demand(self, holds: bool, sentence: str) -> None:  # noqa: FBT001 - as assert
        """Note a violation unless it holds."""
        if not holds:
            self.findings.violations.append(sentence)


@dataclass(frozen=True, slots=True)
class Login:
    """What a round begins with."""

    kind: Kind
    family: str
    refresh_token: str
    csrf_token: str | None

    def presentation(self, token: str, key: str | None = None) -> bytes:
        """A refresh with that token."""
        headers = {"idempotency_key": key} if key else {}
        if self.kind.delivery == "native":
            return post("/auth/refresh", {"refresh_token": token}, **headers)
        headers["cookie"] = f"authsvc_refresh={token}"
        if self.csrf_token:
            headers["x_csrf_token"] = self.csrf_token
        return post("/auth/refresh", None, **headers)


@asynccontextmanager
async def started(stage: Stage, random: Random, plant: str | None = None) -> AsyncIterator[Race]:
    """The processes, with one user and all connections."""
    async with deployed(stage, PROCESSES, plant=plant) as deployment:
        race = Race(deployment, random, Account("racer@example.com"))
        for index in range(PRESENTATIONS):
            race.connections.append(await race.connection(index))
        try:
            email, password = race.account.email, race.account.secret(0)
            body: dict[str, object] = {"email": email, "password": password}
            answer = await race.ask(post("/auth/register", body))
            assert answer.status == 201, answer
            yield race
        finally:
            for connection in race.connections:
                connection.abort()


async def log_in(race: Race, kind: Kind) -> Login:
    """Begin a session for one round."""
    account = race.account
    body: dict[str, object] = {
        "email": account.email,
        "password": account.secret(0),
        "delivery": kind.delivery,
    }
    answer = await race.ask(post("/auth/login", body))
    assert answer.status == 200, answer
    return Login(
        kind, answer.body["session_id"], successor_of(answer, kind), answer.body.get("csrf_token")
    )


def keys_of(kind: Kind, count: int, random: Random) -> list[str | None]:
    """The Idempotency-Key of each presentation."""
    one = f"{random.getrandbits(128):032x}"
    match kind.keys:
        case "none":
            return [None] * count
        case "one":
            return [one] * count
        case "each":
            return [f"{random.getrandbits(128):032x}" for _ in range(count)]


def successor_of(answer: Answer, kind: Kind) -> str:
    """The refresh token that came."""
    token = (
        answer.body["refresh_token"]
        if kind.delivery == "native"
        else answer.cookie("authsvc_refresh")
    )
    assert token is not None, answer
    return str(token)
