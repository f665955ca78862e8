"""
F25: a hundred thousand guesses at one account from twenty thousand addresses.

The guesses come through a trusted proxy that names their addresses. Between two bursts the
counters are moved a minute into the past, so that hours pass in seconds.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random

import asyncpg

from authsvc.flows.maintain import prune
from authsvc.protocol.throttle import STRANGERS_WINDOW, Limits
from authsvc.store.database import Database
from proof.experiment import Findings, Stage
from proof.zygote import Zygote
from tests.support.live import free_port
from tests.support.wire import Answer, Connection, post

REPLICAS = 2
ADDRESSES = 20_000
CONNECTIONS = 8  # to each replica
BURST = 1_000  # guesses in what counts as a minute
DEADLINE = 5.0  # seconds, for every answer
EMAIL, PASSWORD = "victim@example.com", "correct horse battery staple"
OWNER, ABROAD = "203.0.113.7", "192.0.2.9"
PER_DAY = Limits().strangers_per_day
SETTINGS = {"ISSUER": "http://localhost:8000", "TRUSTED_PROXIES": "127.0.0.1/32", "THROTTLE": "on"}
MOVE = """
    WITH buckets AS (
        UPDATE throttle_buckets
        SET empty_at = empty_at - $1::interval, failed_at = failed_at - $1::interval
    )
    UPDATE stranger_failures
    SET failed_at = ARRAY(SELECT at - $1::interval FROM unnest(failed_at) AS at ORDER BY at)
"""
ROWS = "SELECT (SELECT count(*) FROM throttle_buckets) + (SELECT count(*) FROM stranger_failures)"
MINUTE = timedelta(minutes=1)
A_DAY = STRANGERS_WINDOW.total_seconds()


@dataclass
class Siege:
    """An account that is guessed at, and its owner at home and abroad."""

    ports: Sequence[int]
    url: str
    database: asyncpg.Connection
    random: Random
    findings: Findings = field(default_factory=Findings)
    device: str = ""
    minutes: int = 0

    def demand(self, holds: bool, sentence: str) -> None:  # noqa: FBT001 - as assert
        """Note a violation unless it holds."""
        if not holds and len(self.findings.violations) < 50:
            self.findings.violations.append(sentence)

    async def minute(self, guesses: int) -> None:
        """A burst of guesses; meanwhile the owner logs in on a known device and on a new one."""
        bodies = iter(range(guesses))
        async with asyncio.TaskGroup() as group:
            for port in self.ports:
                for _ in range(CONNECTIONS):
                    group.create_task(self._guess(port, bodies))
            group.create_task(self._on_the_known_device())
            group.create_task(self._on_a_new_device_at_home())
        self.findings.done += guesses
        self.minutes += 1
        allowed = PER_DAY * (1 + self.minutes // (24 * 60))
        guessed = self.findings.counted["guesses that were tried"]
        self.demand(guessed <= allowed, f"{guessed} guesses in {self.minutes} minutes")
        rows = await self.database.fetchval(ROWS)
        self.findings.at_most("rows of counters", rows)
        # One for the account, one for each address that really got to guess, and the owner's; and
        # of those that were under way when the day was used up, which took from their own bucket.
        most = guessed + 6 + REPLICAS * CONNECTIONS
        self.demand(rows <= most, f"{rows} counters after {guessed} guesses")
        await self.database.execute(MOVE, MINUTE)

    async def _guess(self, port: int, bodies: Iterator[int]) -> None:
        connection = await Connection.open(port)
        for number in bodies:
            answer = await self._login(connection, f"guess {number} of many", self._address())
            self.demand(answer.status in {401, 429, 503}, f"a guess was answered {answer.status}")
            self.findings.counted[f"answered {answer.status}"] += 1
            self.findings.counted["guesses that were tried"] += answer.status == 401
            if answer.status == 429:
                wait = int(answer.headers["retry-after"])
                self.findings.at_most("longest Retry-After in seconds", wait)
                self.demand(wait <= A_DAY, f"the account has to wait {wait} s")
        await connection.close()

    async def _on_the_known_device(self) -> None:
        for port in self.ports:
            connection = await Connection.open(port)
            answer = await self._login(connection, PASSWORD, ABROAD, device=self.device)
            await connection.close()
            self.demand(answer.status == 200, f"the owner's device got {answer.status}")
            self.findings.counted["logins on a known device"] += 1
            self.device = answer.cookie("authsvc_device") or self.device

    async def _on_a_new_device_at_home(self) -> None:
        connection = await Connection.open(self.ports[0])
        answer = await self._login(connection, PASSWORD, OWNER)
        await connection.close()
        self.demand(answer.status == 200, f"the owner's network got {answer.status}")
        self.findings.counted["logins from a known network"] += 1

    async def go_abroad(self) -> None:
        """A day after the last guess the owner gets in without a device, in a new network."""
        await self.database.execute(MOVE, STRANGERS_WINDOW)
        connection = await Connection.open(self.ports[0])
        answer = await self._login(connection, PASSWORD, "198.51.100.1")
        await connection.close()
        self.demand(answer.status == 200, f"the owner abroad got {answer.status}")
        self.findings.counted["logins without a device"] += 1

    async def _login(
        self, connection: Connection, password: str, address: str, *, device: str = ""
    ) -> Answer:
        began = time.monotonic()
        body: dict[str, object] = {"email": EMAIL, "password": password}
        headers = {"x_forwarded_for": address}
        if device:
            headers["cookie"] = f"authsvc_device={device}"
        async with asyncio.timeout(2 * DEADLINE):
            answer = await connection.ask(post("/auth/login", body, **headers))
        took = time.monotonic() - began
        self.findings.at_most("slowest login in seconds", took)
        self.demand(took <= DEADLINE, f"a login took {took:.1f} s")
        return answer

    def _address(self) -> str:
        number = self.random.randrange(ADDRESSES)
        if number % 2:
            return f"10.0.{number // 250 % 250}.{number % 250}"
        return f"2001:db8:{number:x}::{self.random.getrandbits(16):x}"

    async def forgotten(self) -> None:
        """A day later nothing is left of it."""
        later = datetime.now(UTC) + STRANGERS_WINDOW + MINUTE
        db = await Database.open(self.url, now=lambda: later)
        try:
            await prune(db, audit_retention=timedelta(days=365))
        finally:
            await db.close()
        rows = await self.database.fetchval(ROWS)
        self.demand(rows == 0, f"{rows} counters are left a day later")


class GuessingFlood:
    """Minutes of guesses, and an owner who wants in."""

    name = "F25-guesses-from-everywhere"
    promise = (
        "Guesses at one account from 20,000 addresses: at most 100 in 24 hours are tried, the "
        "owner logs in at any moment on a known device and from a known network, and elsewhere a "
        "day after it ends; counters grow with the tried guesses only, and are forgotten."
    )
    unit = "guesses"
    goal = 100_000
    batch = 10_000

    async def run(self, stage: Stage, *, units: int, random: Random) -> Findings:
        """So many guesses."""
        async with _siege(stage, random, "on") as siege:
            while siege.findings.done < units:
                await siege.minute(min(BURST, units - siege.findings.done))
            await siege.go_abroad()
            await siege.forgotten()
        return siege.findings

    async def control(self, stage: Stage, *, random: Random) -> Findings:
        """THROTTLE=off: every guess is tried."""
        async with _siege(stage, random, "off") as siege:
            await siege.minute(BURST)
        return siege.findings


@asynccontextmanager
async def _siege(stage: Stage, random: Random, throttle: str) -> AsyncIterator[Siege]:
    async with stage.database() as url:
        with stage.place() as place, Zygote(place) as zygote:
            settings = {**SETTINGS, "THROTTLE": throttle}
            services = [zygote.spawn(free_port(), url, settings) for _ in range(REPLICAS)]
            for service in services:
                await service.ready()
            ports = [service.port for service in services]
            connection = await Connection.open(ports[0])
            account: dict[str, object] = {"email": EMAIL, "password": PASSWORD}
            await connection.ask(post("/auth/register", account, x_forwarded_for=OWNER))
            first = await connection.ask(post("/auth/login", account, x_forwarded_for=OWNER))
            await connection.close()
            database = await asyncpg.connect(url)
            try:
                device = first.cookie("authsvc_device") or ""
                assert device, first
                yield Siege(ports, url, database, random, device=device)
            finally:
                await database.close()
