"""
F23: more logins than the processor can hash, while sessions want to be refreshed.

Passwords are hashed as in production. A flood of wrong ones, over many connections, must cost
the rest of the service nothing but processor time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from proof.client import Client, Session
from proof.experiment import Findings, Stage
from proof.guessing_flood import GuessingFlood
from proof.zygote import Service, Zygote
from tests.support.live import free_port
from tests.support.wire import Answer, Connection, post

CONNECTIONS = 150
DEADLINE = 5.0  # seconds, for every answer
PAUSE = 0.01  # seconds between two refreshes of a session
BUDGET = 64  # MiB for hashing
BESIDE = 64  # MiB for connections, code and what malloc keeps
ARGON2 = {"ARGON2_MEMORY_KIB": "19456", "ARGON2_TIME": "2"}
SETTINGS = {**ARGON2, "HASH_MEMORY_BUDGET_MIB": str(BUDGET)}
DELIVERIES = ("native", "native", "spa", "web")


@dataclass
class Flood:
    """One service, many who guess, a few who work."""

    service: Service
    findings: Findings = field(default_factory=Findings)
    over: bool = False

    def demand(self, holds: bool, sentence: str) -> None:  # noqa: FBT001 - as assert
        """Note a violation unless it holds."""
        if not holds and len(self.findings.violations) < 50:
            self.findings.violations.append(sentence)

    async def guess(self, numbers: Iterator[int]) -> None:
        """Wrong logins, one after the other."""
        connection = await Connection.open(self.service.port)
        for number in numbers:
            body: dict[str, object] = {
                "email": f"user{number % 50}@example.com",
                "password": f"wrong password {number}",
            }
            began = time.monotonic()
            try:
                async with asyncio.timeout(2 * DEADLINE):
                    answer = await connection.ask(post("/auth/login", body))
            except (OSError, EOFError, TimeoutError) as exc:
                self.findings.violations.append(f"a login met {type(exc).__name__}")
                connection.abort()
                connection = await Connection.open(self.service.port)
                continue
            self.judge(answer, time.monotonic() - began)
        await connection.close()

    def judge(self, answer: Answer, took: float) -> None:
        """A login: refused in time, or turned away."""
        self.findings.done += 1
        self.findings.counted[f"logins answered {answer.status}"] += 1
        self.findings.at_most("slowest login in seconds", took)
        self.demand(took <= DEADLINE, f"a login took {took:.1f} s")
        self.demand(
            answer.status == 401 or (answer.status == 503 and "retry-after" in answer.headers),
            f"a login was answered {answer.status}",
        )

    async def refresh(self, client: Client, session: Session) -> None:
        """An honest client."""
        while not self.over:
            operation = await client.refresh(session)
            took = operation.returned - operation.invoked
            self.findings.counted["refreshes"] += 1
            self.findings.at_most("slowest refresh in seconds", took)
            self.demand(operation.outcome == "ok", f"a refresh: {operation.result}")
            self.demand(took <= DEADLINE, f"a refresh took {took:.1f} s")
            await asyncio.sleep(PAUSE)

    async def watch(self) -> None:
        """Its memory stays within the budget."""
        before = _memory(self.service)
        while not self.over:
            grown = _memory(self.service) - before
            self.findings.at_most("memory taken in MiB", grown)
            self.demand(grown <= BUDGET + BESIDE, f"{grown:.0f} MiB were taken")
            await asyncio.sleep(0.05)


class HashingFlood:
    """Wrong logins as fast as they are answered."""

    name = "F23-more-logins-than-can-be-hashed"
    promise = (
        "Under a flood of wrong logins every refresh is answered 200 and every login 401 or 503 "
        "with Retry-After, all within 5 s, and memory stays within the configured budget."
    )
    unit = "wrong logins"
    goal = 50_000
    batch = 5_000

    async def run(self, stage: Stage, *, units: int, random: Random) -> Findings:
        """So many."""
        return await _flood(stage, units, random, {})

    async def control(self, stage: Stage, *, random: Random) -> Findings:
        """With no bound to the wait for a turn, logins take as long as the queue is."""
        unbounded = {"HASH_QUEUE_SECONDS": "30", "ARGON2_TIME": "8"}
        return await _flood(stage, CONNECTIONS, random, unbounded)


EXPERIMENTS = (HashingFlood(), GuessingFlood())


async def _flood(stage: Stage, units: int, random: Random, settings: dict[str, str]) -> Findings:
    async with stage.database() as url:
        with stage.place() as place, Zygote(place) as zygote:
            service = zygote.spawn(free_port(), url, {**SETTINGS, **settings})
            await service.ready()
            flood = Flood(service)
            client = Client(f"flood-{random.getrandbits(32):08x}", stage.recorder, [service.port])
            account = await client.register("flood@example.com")
            sessions = [await client.login(account, each) for each in DELIVERIES]
            clients = [
                Client(f"flood-{n}", stage.recorder, [service.port]) for n in range(len(sessions))
            ]
            beside = [asyncio.create_task(flood.watch())]
            for each, session in zip(clients, sessions, strict=True):
                assert session is not None
                beside.append(asyncio.create_task(flood.refresh(each, session)))
            numbers = iter(range(units))
            try:
                await asyncio.gather(*(flood.guess(numbers) for _ in range(CONNECTIONS)))
            finally:
                flood.over = True
                await asyncio.gather(*beside)
                for each in (client, *clients):
                    await each.close()
    return flood.findings


def _memory(service: Service) -> float:
    """Resident MiB; 0 of a process that has ended."""
    with suppress(OSError):
        pages = int(Path(f"/proc/{service.pid}/statm").read_text().split()[1])
        return pages * 4096 / 2**20
    return 0.0
