"""F15: replicas whose clocks are wrong, step, or stand still."""

from __future__ import annotations

import json
import time
from base64 import urlsafe_b64decode
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import asyncpg

from authsvc.keys.key_files import KeyKind
from authsvc.keys.rotation import add, create_first_keys
from authsvc_client.tokens.access_token import LEEWAY
from proof.client import Client, Session, generation_of
from proof.experiment import Experiment, Findings, Stage
from proof.replica import Replica
from tests.support.wire import Connection

LIBRARY = "*/faketime/libfaketime.so.1"  # below /usr/lib; the Debian package libfaketime
ACCESS_TTL = 60  # seconds; the shortest that the settings allow
SOON = timedelta(seconds=10)  # until the second keys work, by a right clock
EDGE = 3.0  # seconds around a limit in which either answer is right
STEPS = (-3600.0, -120.0, -28.0, 0.0, 28.0, 84.0, 96.0, 120.0, 3600.0)
DELIVERIES = ("native", "spa", "web")
FREEZING = 0.25  # the share of moves that stop a clock
REFRESHES = 3  # after each move
MOVES = 4  # clocks are set anew so many times in the life of a session


@dataclass
class Clock:
    """
    The wall clock of one replica; its monotonic clock stays right, as after a real step.

    Args:
        file: What libfaketime reads for each answer.
    """

    file: Path
    offset: float = 0.0
    frozen_at: float | None = None

    def set(self, offset: float) -> None:
        """Step to so many seconds from the truth, and run."""
        self.offset, self.frozen_at = offset, None
        self.file.write_text(f"{offset:+.1f}\n")

    def freeze(self) -> None:
        """Stand still where it is."""
        self.frozen_at = float(int(self.now()))
        moment = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(self.frozen_at))
        self.file.write_text(f"{moment}\n")

    def now(self) -> float:
        """What the replica takes for now."""
        return time.time() + self.offset if self.frozen_at is None else self.frozen_at


class ClockSkew:
    """Sessions that wander between replicas whose clocks do not agree."""

    name = "F15-clock-skew"
    promise = (
        "No wrong, stepping or frozen clock of a replica ends a session; an access token is "
        "accepted exactly where and when iat - 30 s <= now < exp + 30 s by the clock of the "
        "replica that is asked, and never after exp + 30 s by a sane one."
    )
    unit = "refreshes on skewed replicas"
    goal = 10_000
    batch = 240

    async def run(self, stage: Stage, *, units: int, random: Random) -> Findings:
        """Do `units` refreshes; the clocks of two replicas are set anew every few of them."""
        findings = Findings()
        async with _skewed(stage) as (replicas, clocks, url):
            travel = Travel(findings, random, replicas, clocks)
            while findings.done < units:
                await travel.wander(stage)
            await travel.check_rows(url)
        return findings

    async def control(self, stage: Stage, *, random: Random) -> Findings:
        """If the harness takes every clock for right, refusals have no reason, and it says so."""
        findings = Findings()
        async with _skewed(stage, (3600.0, 0.0)) as (replicas, clocks, _):
            travel = Travel(findings, random, replicas, [Clock(clock.file) for clock in clocks])
            client, session = await travel.enter(stage)
            for _ in range(MOVES):
                await travel.refresh_and_use(client, session)
            await client.close()
        return findings


EXPERIMENTS: tuple[Experiment, ...] = (ClockSkew(),)


@dataclass
class Travel:
    """
    Sessions on all replicas, judged by what their clocks say.

    Args:
        clocks: What each replica is believed to think.
    """

    findings: Findings
    random: Random
    replicas: list[Replica]
    clocks: list[Clock]
    _kids_seen: set[str] = field(default_factory=set)

    async def wander(self, stage: Stage) -> None:
        """The life of one session."""
        client, session = await self.enter(stage)
        for _ in range(MOVES):
            moved = self.random.choice((self.clocks[0], self.clocks[2]))
            if self.random.random() < FREEZING:
                moved.freeze()
                self.findings.counted["freezes"] += 1
            else:
                moved.set(self.random.choice(STEPS))
                self.findings.counted["steps"] += 1
            for _ in range(REFRESHES):
                await self.refresh_and_use(client, session)
        await client.close()

    async def enter(self, stage: Stage) -> tuple[Client, Session]:
        """A session that began on any replica."""
        number = self.random.getrandbits(32)
        client = Client(f"f15-{number:08x}", stage.recorder, self._ports)
        account = await client.register(f"{client.name}@example.com")
        session = await client.login(account, self.random.choice(DELIVERIES), port=self._any())
        assert session is not None
        return client, session

    async def refresh_and_use(self, client: Client, session: Session) -> None:
        """Refresh anywhere: it works. Use the access token everywhere: `iat` and `exp` decide."""
        presented = generation_of(session.refresh_token)
        key = f"{self.random.getrandbits(128):032x}"
        answer = await client.refresh(session, key=key, port=self._any())
        self.findings.done += 1
        if answer.outcome != "ok" or answer.result["generation"] != presented + 1:
            self.findings.violations.append(f"I11: skew cost a session: {answer.result}")
            return
        header, claims = (_decoded(part) for part in session.access_token.split(".")[:2])
        self._kids_seen.add(header["kid"])
        self.findings.at_most("signing keys in use", len(self._kids_seen))
        for replica, clock in zip(self.replicas, self.clocks, strict=True):
            now, leeway = clock.now(), LEEWAY.total_seconds()
            since, until = claims["iat"] - leeway - now, claims["exp"] + leeway - now
            used = await client.me(session, port=replica.port)
            if min(abs(since), abs(until)) < EDGE:
                self.findings.counted["on the edge"] += 1
                continue
            valid = since < 0 < until
            kind = "accepted" if valid else "too early" if since > 0 else "expired"
            self.findings.counted[kind] += 1
            if used.outcome != ("ok" if valid else "err"):
                self.findings.violations.append(
                    f"I11: a token valid from {since:.0f} s to {until:.0f} s was {used.outcome}"
                )
            if header["kid"] not in await self._kids(replica) and valid:
                self.findings.violations.append("I12: a valid token's key is not published")

    async def check_rows(self, url: str) -> None:
        """Families know no clock but the database's, which is right."""
        connection = await asyncpg.connect(url)
        try:
            wrong = await connection.fetchval(
                "SELECT count(*) FROM refresh_families WHERE created_at > clock_timestamp() "
                "OR rotated_at NOT BETWEEN created_at AND clock_timestamp() "
                "OR idle_expires_at NOT BETWEEN clock_timestamp() + interval '6 days 23 hours 50 "
                "minutes' AND clock_timestamp() + interval '7 days' OR revoked_at IS NOT NULL"
            )
        finally:
            await connection.close()
        if wrong:
            self.findings.violations.append(f"{wrong} families have another clock's times")

    async def _kids(self, replica: Replica) -> set[str]:
        connection = await Connection.open(replica.port)
        try:
            request = b"GET /.well-known/jwks.json HTTP/1.1\r\nhost: localhost\r\n\r\n"
            return {key["kid"] for key in (await connection.ask(request)).body["keys"]}
        finally:
            await connection.close()

    @property
    def _ports(self) -> list[int]:
        return [replica.port for replica in self.replicas]

    def _any(self) -> int:
        return self.random.choice(self._ports)


def _decoded(part: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return found


@asynccontextmanager
async def _skewed(
    stage: Stage, offsets: Sequence[float] = (-120.0, 0.0, 120.0)
) -> AsyncIterator[tuple[list[Replica], list[Clock], str]]:
    """
    Replicas of one issuer, each with its clock; new keys begin to work in a few seconds.

    The second clock is never touched.
    """
    library = next(Path("/usr/lib").glob(LIBRARY), None)
    if library is None:
        raise RuntimeError("libfaketime is missing: install the Debian package libfaketime")
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(stage.database())
        place = Path(stack.enter_context(TemporaryDirectory(dir=stage.directory)))
        now = datetime.now(UTC)
        yesterday = now - timedelta(days=1)
        create_first_keys(place / "keys", now=yesterday)
        for kind in KeyKind:
            add(place / "keys", kind, now=yesterday, activation=now + SOON)
        replicas, clocks = [], []
        for index, offset in enumerate(offsets):
            clock = Clock(place / f"clock-{index}")
            clock.set(offset)
            replica = Replica(
                url,
                place,
                settings={
                    "ACCESS_TTL": str(ACCESS_TTL),
                    "ISSUER": "http://localhost:8000",
                    "REFRESH_RETRY_WINDOW": "0",
                },
                environment={
                    "LD_PRELOAD": str(library),
                    "FAKETIME_TIMESTAMP_FILE": str(clock.file),
                    "FAKETIME_NO_CACHE": "1",
                    "FAKETIME_DONT_FAKE_MONOTONIC": "1",
                    "TZ": "UTC",
                },
            )
            replica.start()
            stack.callback(replica.kill)
            replicas.append(replica)
            clocks.append(clock)
        for replica in replicas:
            await replica.ready()
        yield replicas, clocks, url
