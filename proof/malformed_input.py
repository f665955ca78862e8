"""
F30: whatever arrives, the service answers, refuses, and says nothing that it was told in secret.

A seeded generator writes malformed requests against every endpoint of the OpenAPI document, and a
raw client sends them to two replicas as fast as they answer. Mutants are made from the tokens of
live sessions; after each burst these sessions must go on.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa

from authsvc.flows.administer_clients import create_client
from authsvc.protocol.clients import AuthMethod
from authsvc.protocol.clients import Client as ServiceClient
from authsvc.store.database import Database
from proof.client import Account, Client, Session
from proof.experiment import Findings, Stage
from proof.malformed.attempt import World
from proof.malformed.bodies import hypothesis_values
from proof.malformed.grammars import malformed_requests
from proof.malformed.planted import PLANTS
from proof.malformed.sender import Sender
from proof.malformed.stateful import StatefulFuzzing
from proof.zygote import Service, Zygote
from tests.support.live import free_port
from tests.support.wire import Connection

REPLICAS = 2
BURST = 2_000  # requests between two looks at the service
LONG_ENOUGH = 20_000  # requests that find any planted bug
DELIVERIES = ("native", "spa", "web")
RESOURCE = "https://orders.example.com"
METHODS = {"get", "post", "put", "patch", "delete"}
# Every request is logged, so that what a log must not hold has its chance to get there.
SETTINGS = {"LOG_LEVEL": "info", "REFRESH_RETRY_WINDOW": "0"}
CRASH = re.compile(r"Traceback|unhandled_exception|never retrieved|\"level\": ?\"critical\"")


class MalformedInput:
    """All grammars against all endpoints."""

    name = "F30-malformed-input"
    promise = (
        "No malformed request is answered with 500 or above, none ends a process, no forged token "
        "is accepted, no secret of a request comes back or is logged, and honest sessions go on."
    )
    unit = "malformed requests"
    goal = 2_000_000
    batch = 40_000

    async def run(self, stage: Stage, *, units: int, random: Random) -> Findings:
        """Send bursts until `units` requests were answered or refused."""
        async with _deployment(stage, random) as deployment:
            findings = deployment.findings
            while findings.done < units:
                await deployment.burst(min(BURST, units - findings.done))
                await deployment.look()
        return findings

    async def control(self, stage: Stage, *, random: Random) -> Findings:
        """Four planted bugs, each of which has to be seen for what it is."""
        found = Findings()
        for plant, expected in PLANTS.items():
            async with _deployment(
                stage, random, f"{plant.__module__}:{plant.__name__}"
            ) as planted:
                seen: list[str] = []
                while not seen and planted.findings.done < LONG_ENOUGH:
                    await planted.burst(300)
                    await planted.look()
                    seen = [each for each in planted.findings.violations if expected in each]
            found.done += planted.findings.done
            if not seen:
                return Findings(done=found.done)  # one undetected bug is enough
            found.violations.append(f"{plant.__name__}: {seen[0]}")
        return found


EXPERIMENTS = (MalformedInput(), StatefulFuzzing())


@dataclass
class Deployment:
    """Two replicas under fire."""

    services: Sequence[Service]
    client: Client
    world: World
    account: Account
    findings: Findings
    random: Random
    read: dict[Path, int]

    async def burst(self, count: int) -> None:
        """Send so many."""
        self.world.spent = await _sessions(self.client, self.account, DELIVERIES)
        attempts = malformed_requests(self.world, self.random, count)
        for attempt in attempts:
            self.findings.counted[attempt.grammar] += 1
            self.findings.counted[attempt.endpoint] += 1
        try:
            await Sender([service.port for service in self.services], self.findings).send(attempts)
        except* OSError as exc:
            self.findings.violations.append(f"not reachable: {exc.exceptions[0]}")
        self.findings.done += count

    async def look(self) -> None:
        """The processes live, honest clients are served, and the logs hold no secret."""
        violations = self.findings.violations
        for service in self.services:
            if service.has_ended():
                violations.append("a process is dead")
            self._read_log(service)
            self.findings.at_most("memory of a process in MiB", _memory(service))
        if violations:
            return
        for session in self.world.honest:
            for operation in (await self.client.refresh(session), await self.client.me(session)):
                if operation.outcome != "ok":
                    violations.append(
                        f"an honest {session.delivery} session: {operation.operation} "
                        f"{operation.result}"
                    )
        if await self.client.login(self.account) is None:
            violations.append("an honest user cannot log in")

    def _read_log(self, service: Service) -> None:
        path = service.log_path
        with path.open("rb") as log:
            log.seek(self.read.get(path, 0))
            news = log.read().decode(errors="replace")
            self.read[path] = log.tell()
        for line in news.splitlines():
            if self.world.sentinel in line:
                self.findings.violations.append(f"a secret in the log: {line[:400]}")
            elif CRASH.search(line):
                self.findings.violations.append(f"in the log: {line[:6000]}")


@asynccontextmanager
async def _deployment(
    stage: Stage, random: Random, plant: str | None = None
) -> AsyncIterator[Deployment]:
    async with stage.database() as url:
        with stage.place() as place, Zygote(place, plant=plant) as zygote:
            ports = [free_port() for _ in range(REPLICAS)]
            # One issuer, so that the tokens of one replica are good at the other.
            settings = {**SETTINGS, "ISSUER": "http://localhost:8000"}
            services = [zygote.spawn(port, url, settings) for port in ports]
            for service in services:
                await service.ready()
            client = Client(f"malformed-{random.getrandbits(32):08x}", stage.recorder, ports)
            try:
                account = await client.register("spent@example.com")
                owner = await client.register("honest@example.com")
                document, jwks = await _documents(ports[0])
                yield Deployment(
                    services=services,
                    client=client,
                    world=World(
                        honest=await _sessions(client, owner, DELIVERIES),
                        spent=(),
                        endpoints=_operations(document),
                        writes=[
                            (method.upper(), path)
                            for path, methods in document["paths"].items()
                            for method, operation in methods.items()
                            if "requestBody" in operation
                        ],
                        attacker=rsa.generate_private_key(65537, 2048),
                        jwks=jwks,
                        sentinel=f"s3ntinel{random.getrandbits(64):016x}",
                        client=await _service_client(url),
                        resource=RESOURCE,
                        values=hypothesis_values(random.getrandbits(32)),
                    ),
                    account=account,
                    findings=Findings(),
                    random=random,
                    read={},
                )
            finally:
                await client.close()


async def _service_client(url: str) -> tuple[str, str]:
    """The id and the secret of a new one; it gets tokens, and may ask about those of others."""
    db = await Database.open(url)
    try:
        created = await create_client(
            db,
            ServiceClient(
                client_id="orders",
                name="Orders",
                auth_method=AuthMethod.CLIENT_SECRET_BASIC,
                grant_types=(),
                scopes=("orders:read",),
                resources=(RESOURCE,),
                audiences=(RESOURCE,),
            ),
        )
    finally:
        await db.close()
    return "orders", str(created.secret)


async def _sessions(client: Client, account: Account, deliveries: Sequence[str]) -> list[Session]:
    sessions = [await client.login(account, delivery) for delivery in deliveries]
    return [session for session in sessions if session is not None]


async def _documents(port: int) -> tuple[dict[str, Any], dict[str, Any]]:
    connection = await Connection.open(port)
    found = []
    for path in ("/openapi.json", "/.well-known/jwks.json"):
        answer = await connection.ask(f"GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
        found.append(answer.body)
    await connection.close()
    return found[0], found[1]


def _operations(document: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        (method.upper(), path)
        for path, methods in document["paths"].items()
        for method in methods
        if method in METHODS
    ]


def _memory(service: Service) -> float:
    """Resident MiB; 0 of a process that has ended."""
    try:
        pages = int(Path(f"/proc/{service.pid}/statm").read_text().split()[1])
    except OSError:
        return 0.0
    return pages * 4096 / 2**20
