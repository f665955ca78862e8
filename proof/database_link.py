"""F09: the link between the service and PostgreSQL fails in every way that a link can."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import asyncpg

from proof.client import Client, Session, generation_of
from proof.experiment import Experiment, Findings, Stage
from proof.history import Operation, Recorder
from proof.http_proxy import read_answer
from proof.replica import Replica
from tests.support.fault_proxy import FaultProxy

CLIENTS = 6
DELIVERIES = ("native", "spa", "web")
DEADLINE = 5.0  # seconds for any answer, and for the recovery
SLACK = 0.5  # seconds; two busy cores measure no finer
MAX_FAULTS = 10  # faults until the control must have failed
PAUSE = 0.05  # seconds between a client's operations, as between a person's
ALWAYS = ("/.well-known/jwks.json", "/.well-known/oauth-authorization-server", "/healthz")

Fault = Callable[[FaultProxy], None]


def _cut(link: FaultProxy) -> None:
    link.refuse()
    link.cut()


def _blackhole_requests(link: FaultProxy) -> None:
    link.blackhole(link.to_server)


def _blackhole_answers(link: FaultProxy) -> None:
    link.blackhole(link.to_client)


def _blackhole(link: FaultProxy) -> None:
    link.blackhole()


def _late(link: FaultProxy) -> None:
    link.slow(delay=0.4, jitter=0.2)


def _narrow(link: FaultProxy) -> None:
    link.slow(rate=8_000)  # 64 kbit/s


# Longer than the deadline of a request: what was refused meanwhile must not happen afterwards.
LONGER = "blackhole, longer than a request may take"
LONGER_SECONDS = (DEADLINE + 0.5, DEADLINE + 3.0)

FAULTS: dict[str, Fault] = {
    "cut": _cut,
    "reset": FaultProxy.cut,
    "requests into a hole": _blackhole_requests,
    "answers into a hole": _blackhole_answers,
    "blackhole": _blackhole,
    LONGER: _blackhole,
    "latency 400±200 ms": _late,
    "64 kbit/s": _narrow,
    "half-open": FaultProxy.forget,
    "half-closed": FaultProxy.half_close,
    "answer lost": FaultProxy.lose_answer,
    "answer torn, then down": lambda link: link.lose_answer(after=9, then_down=True),
}


class DatabaseLink:
    """
    Honest clients with an Idempotency-Key, while the link behind the service fails.

    Args:
        faults: Which, in turn.
        longest: Seconds that most last at most, unless it takes longer to be felt.
    """

    name = "F09-database-link"
    promise = (
        "However the way to the database fails, every answer comes within 5 s and is right or a "
        "503 with Retry-After; who repeats a key loses nothing; 5 s later everything works."
    )
    unit = "faults of the link"
    goal = 1_200
    batch = len(FAULTS)

    def __init__(self, faults: Sequence[str] = tuple(FAULTS), *, longest: float = 3.0) -> None:
        self._faults = faults
        self._longest = longest

    async def run(self, stage: Stage, *, units: int, random: Random) -> Findings:
        """Play `units` faults, each kind in turn, each for as long as it takes to be felt."""
        findings = Findings()
        async with _linked(stage, random) as (link, replica, url):
            crowd = Crowd(findings, random, with_key=True)
            await crowd.enter(stage.recorder, replica.port)
            async with asyncio.TaskGroup() as group:
                probes = group.create_task(_probe(replica.port, crowd))
                group.create_task(crowd.act())
                for index in range(units):
                    name = self._faults[index % len(self._faults)]
                    await _play(name, link, crowd, random=random, longest=self._longest)
                crowd.leaving = True
                await probes
            findings.done = units
            await crowd.check(url)
        return findings

    async def control(self, stage: Stage, *, random: Random) -> Findings:
        """Clients without a key: an answer lost on the way from the database ends a session."""
        findings = Findings()
        async with _linked(stage, random, REFRESH_RETRY_WINDOW="0") as (link, replica, url):
            crowd = Crowd(findings, random, with_key=False)
            await crowd.enter(stage.recorder, replica.port)
            async with asyncio.TaskGroup() as group:
                group.create_task(crowd.act())
                while not findings.violations and findings.done < MAX_FAULTS:
                    for name in ("answers into a hole", "answer torn, then down"):
                        await _play(name, link, crowd, random=random, longest=0.2)
                        findings.done += 1
                crowd.leaving = True
            await crowd.check(url)
        return findings


EXPERIMENTS: tuple[Experiment, ...] = (DatabaseLink(),)


async def _play(
    name: str, link: FaultProxy, crowd: Crowd, *, random: Random, longest: float
) -> None:
    """One fault, until clients have felt it, then the way back to normal."""
    findings = crowd.findings
    crowd.felt.clear()
    FAULTS[name](link)
    await asyncio.sleep(random.uniform(*(LONGER_SECONDS if name == LONGER else (0.1, longest))))
    # A hole swallows every answer until somebody's patience ends; the others are felt at once.
    with suppress(TimeoutError):
        await asyncio.wait_for(crowd.felt.wait(), DEADLINE)
    link.heal()
    healed = time.monotonic()
    if not await crowd.all_served(since=healed):
        findings.violations.append(f"{name}: not everybody was served within 5 s after the fault")
    findings.at_most("recovery, seconds", time.monotonic() - healed)
    findings.counted[name] += 1


@dataclass
class Crowd:
    """Clients that refresh, use what they got, and repeat what was not answered."""

    findings: Findings
    random: Random
    with_key: bool
    leaving: bool = False
    felt: asyncio.Event = field(default_factory=asyncio.Event)
    """Set by each answer."""
    _members: list[tuple[Client, Session]] = field(default_factory=list)
    _served: dict[str, float] = field(default_factory=dict)
    _lost: set[str] = field(default_factory=set)
    _rotated: dict[tuple[str, int], set[str]] = field(default_factory=dict)

    async def enter(self, recorder: Recorder, port: int) -> None:
        """Register and log in."""
        run = f"{self.random.getrandbits(32):08x}"
        for index in range(CLIENTS):
            client = Client(f"f09-{run}-{index}", recorder, [port])
            account = await client.register(f"{client.name}@example.com")
            session = await client.login(account, DELIVERIES[index % len(DELIVERIES)])
            assert session is not None
            self._members.append((client, session))

    async def act(self) -> None:
        """Until it is time to leave."""
        await asyncio.gather(*(self._live(*member) for member in self._members))

    async def all_served(self, *, since: float) -> bool:
        """Wait until everybody who is still logged in began and finished a refresh."""
        while time.monotonic() < since + DEADLINE + SLACK:
            if all(
                self._served.get(client.name, 0.0) > since
                for client, _ in self._members
                if client.name not in self._lost
            ):
                return True
            await asyncio.sleep(PAUSE / 5)
        return False

    async def _live(self, client: Client, session: Session) -> None:
        while not self.leaving and client.name not in self._lost:
            key = f"{self.random.getrandbits(128):032x}" if self.with_key else None
            presented = generation_of(session.refresh_token)
            while True:
                answer = await client.refresh(session, key=key)
                self._judge(answer)
                if answer.outcome != "info":
                    break
                await asyncio.sleep(PAUSE)
            if answer.outcome == "err":
                self._lost.add(client.name)
                self.findings.violations.append(f"I7: logged out: {answer.result}")
                break
            self._served[client.name] = answer.invoked
            if answer.result["how"] == "rotated":
                self._rotated.setdefault((session.family, presented), set()).add(
                    answer.result["token"]
                )
            used = await client.me(session)
            self._judge(used)
            if used.outcome == "err":
                self.findings.violations.append(f"a fresh access token was refused: {used.result}")
            await asyncio.sleep(PAUSE)
        await client.close()

    def _judge(self, answer: Operation) -> None:
        """In time, and either right or 503 with Retry-After."""
        self.felt.set()
        seconds = answer.returned - answer.invoked
        self.findings.at_most("answer, seconds", seconds)
        self.findings.counted[
            answer.result.get("how") or f"{answer.operation} {answer.outcome}"
        ] += 1
        if seconds > DEADLINE + SLACK:
            self.findings.violations.append(f"{answer.operation} took {seconds:.1f} s")
        status = answer.result.get("status")
        if answer.outcome == "info" and (status != 503 or not answer.result.get("retry_after")):
            self.findings.violations.append(f"{answer.operation} was answered {answer.result}")

    async def check(self, url: str) -> None:
        """Fork: twice rotated. Loss: the row is not where the client is."""
        connection = await asyncpg.connect(url)
        try:
            for client, session in self._members:
                row = await connection.fetchrow(
                    "SELECT generation, revoked_at FROM refresh_families WHERE id = $1",
                    session.family,
                )
                acknowledged = generation_of(session.refresh_token)
                if client.name not in self._lost and (
                    row is None or row["revoked_at"] or row["generation"] != acknowledged
                ):
                    self.findings.violations.append(
                        f"generation {acknowledged} is held, the row is {row}"
                    )
        finally:
            await connection.close()
        self.findings.violations += [
            f"I1: {family} rotated {generation} to {len(tokens)} tokens"
            for (family, generation), tokens in self._rotated.items()
            if len(tokens) > 1
        ]


async def _probe(port: int, crowd: Crowd) -> None:
    """What needs no database answers 200, and quickly, all the time."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while not crowd.leaving:
        for path in ALWAYS:
            asked = time.monotonic()
            writer.write(f"GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
            answer = await asyncio.wait_for(read_answer(reader), DEADLINE)
            crowd.findings.at_most("JWKS, seconds", time.monotonic() - asked)
            crowd.findings.counted["probes"] += 1
            if not answer.startswith(b"HTTP/1.1 200 "):
                crowd.findings.violations.append(f"{path}: {answer[:40]!r}")
        await asyncio.sleep(PAUSE)
    writer.close()


@asynccontextmanager
async def _linked(
    stage: Stage, random: Random, **settings: str
) -> AsyncIterator[tuple[FaultProxy, Replica, str]]:
    """A replica whose database is behind a faulty link; the URL is the direct one."""
    async with stage.database() as url:
        with stage.place() as place, TemporaryDirectory(prefix="link-") as directory:
            link, through = FaultProxy.of_database(url, Path(directory), random=random)
            async with link:
                replica = Replica(through, place, settings=settings)
                replica.start()
                try:
                    await replica.ready()
                    yield link, replica, url
                finally:
                    replica.kill()
