"""
F26: a rolling restart under load: SIGTERM to one replica after the other, and nobody notices.

Clients go through a balancer that sends a request elsewhere if a replica closed without a word.
Half of them send no Idempotency-Key: they are lost as soon as a replica that is told to stop
drops a request that it has begun.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random

from proof.balancer import Balancer
from proof.client import Account, Client, Session
from proof.experiment import Findings, Stage
from proof.history import Operation
from proof.migrations_killed import KilledMigrations
from proof.zygote import Service, Zygote
from tests.support.live import free_port

REPLICAS = 2
DEADLINE = 5.0  # seconds, for every answer
DRAIN = 10.0  # seconds from SIGTERM to the end of a process
BETWEEN = 0.15  # seconds of load before the next replica is told to stop
WORKERS = (("native", False), ("native", True), ("native", False), ("spa", False), ("web", True))
SETTINGS = {"ISSUER": "http://localhost:8000"}


@dataclass
class Rollout:
    """Replicas, and clients that do not stop."""

    services: list[Service]
    zygote: Zygote
    url: str
    balancer: Balancer
    findings: Findings
    random: Random
    clients: list[Client] = field(default_factory=list)
    stopping: bool = False

    def demand(self, holds: bool, sentence: str) -> None:  # noqa: FBT001 - as assert
        """Note a violation unless it holds."""
        if not holds and len(self.findings.violations) < 50:
            self.findings.violations.append(sentence)

    async def restart_all(self) -> None:
        """One rolling restart."""
        for number, service in enumerate(self.services):
            await asyncio.sleep(BETWEEN)
            began = time.monotonic()
            signal.pidfd_send_signal(service.pidfd, signal.SIGTERM)
            drained = await service.ended(DRAIN)
            self.findings.at_most("drain in seconds", time.monotonic() - began)
            self.demand(drained, f"a replica has not ended {DRAIN:.0f} s after SIGTERM")
            if not drained:
                service.kill()
            self.services[number] = self.zygote.spawn(service.port, self.url, SETTINGS)
            await self.services[number].ready()

    async def live(self, client: Client, session: Session, *, keyed: bool) -> None:
        """Refresh, use, and now and then log in and out, until told to stop."""
        while not self.stopping:
            key = f"{self.random.getrandbits(128):032x}" if keyed else None
            self.served(session, await client.refresh(session, key=key))
            self.served(session, await client.me(session))
            if self.random.random() < 0.1:
                other = await client.login(session.account)
                self.demand(other is not None, "a login failed")
                if other is not None:
                    self.served(other, await client.logout(other))
            await asyncio.sleep(self.random.uniform(0, 0.01))

    def served(self, session: Session, operation: Operation) -> None:
        """Every answer is the one of a quiet day."""
        self.findings.counted[operation.operation] += 1
        took = operation.returned - operation.invoked
        self.findings.at_most("slowest answer in seconds", took)
        self.demand(took < DEADLINE, f"{operation.operation} took {took:.1f} s")
        self.demand(
            operation.outcome == "ok",
            f"{operation.operation} of a {session.delivery} session: {operation.result}",
        )


class RollingRestart:
    """All replicas, one after the other, again and again."""

    name = "F26-rolling-restart"
    promise = (
        "Replicas are told to stop one after the other under load: behind a balancer that tries "
        "the next one no request fails, no session is lost even without an Idempotency-Key, and "
        "a replica has drained within 10 s."
    )
    unit = "rolling restarts"
    goal = 100
    batch = 10

    async def run(self, stage: Stage, *, units: int, random: Random) -> Findings:
        """Restart everything `units` times."""
        async with _rollout(stage, random) as rollout:
            for _ in range(units):
                await rollout.restart_all()
                rollout.findings.done += 1
        return rollout.findings

    async def control(self, stage: Stage, *, random: Random) -> Findings:
        """A service that obeys SIGTERM at once loses sessions."""
        async with _rollout(stage, random, plant="stop_at_once") as rollout:
            for _ in range(40):
                await rollout.restart_all()
                rollout.findings.done += 1
                if rollout.findings.violations:
                    break
        return rollout.findings


EXPERIMENTS = (RollingRestart(), KilledMigrations())


@asynccontextmanager
async def _rollout(
    stage: Stage, random: Random, plant: str | None = None
) -> AsyncIterator[Rollout]:
    planted = f"{__name__}:{plant}" if plant else None
    async with stage.database() as url:
        with stage.place() as place, Zygote(place, plant=planted) as zygote:
            services = [zygote.spawn(free_port(), url, SETTINGS) for _ in range(REPLICAS)]
            for service in services:
                await service.ready()
            async with Balancer([service.port for service in services], random) as balancer:
                rollout = Rollout(services, zygote, url, balancer, Findings(), random)
                account = await _account(stage, rollout)
                work = []
                for number, (delivery, keyed) in enumerate(WORKERS):
                    client = Client(f"client-{number}", stage.recorder, [balancer.port])
                    rollout.clients.append(client)
                    session = await client.login(account, delivery)
                    assert session is not None
                    work.append(rollout.live(client, session, keyed=keyed))
                tasks = [asyncio.create_task(each) for each in work]
                try:
                    yield rollout
                finally:
                    rollout.stopping = True
                    await asyncio.gather(*tasks)
                    for client in rollout.clients:
                        await client.close()
                rollout.findings.counted["sent to another replica"] = balancer.unreachable
                rollout.findings.counted["sent again"] = balancer.sent_again


async def _account(stage: Stage, rollout: Rollout) -> Account:
    client = Client("owner", stage.recorder, [rollout.balancer.port])
    rollout.clients.append(client)
    return await client.register("rollout@example.com")


def stop_at_once() -> None:
    """A planted bug: SIGTERM ends the process in the middle of everything."""
    from uvicorn import Server  # noqa: PLC0415 - in the child only

    def handle_exit(*_: object) -> None:
        os._exit(0)

    Server.handle_exit = handle_exit  # type: ignore[assignment]  # a bug is not well typed
