"""
Honest clients under a fault of the database, and what they may demand.

Each repeats a request that got no answer, with its key, until it has one. Afterwards everything
that was acknowledged must be in the database.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from random import Random

import asyncpg

from proof.client import Account, Client, Session, generation_of
from proof.experiment import Findings
from proof.history import Operation, Recorder

ANSWER = 5.5  # seconds: the promise of 5, and what a busy machine adds
RECOVERY = 5.0  # seconds
PAUSE = 0.05  # seconds between tries; the Retry-After of 1 s would only make it longer
GIVE_UP = 30.0  # seconds; the finding is recorded long before
POLL = 0.005  # seconds


@dataclass
class Load:
    """Clients that refresh, log out and log in without end."""

    findings: Findings
    random: Random
    clients: list[Client] = field(default_factory=list)
    accounts: list[Account] = field(default_factory=list)
    sessions: dict[str, Session] = field(default_factory=dict)
    """Acknowledged logins by family; each with the newest acknowledged token."""
    logged_out: set[str] = field(default_factory=set)
    acknowledged: int = 0
    last: list[float] = field(default_factory=list)
    """When the last successful operation of each client began."""
    stopping: bool = False

    async def progress(self, operations: int) -> None:
        """Wait until so many more operations have succeeded, or something is wrong already."""
        goal = self.acknowledged + operations
        async with asyncio.timeout(GIVE_UP):
            while self.acknowledged < goal and not self.findings.violations:  # noqa: ASYNC110 - many tasks add up
                await asyncio.sleep(POLL)

    async def recovered(self, since: float, where: str) -> None:
        """Every client is served again within 5 s after the fault."""
        while min(self.last) <= since and time.monotonic() < since + GIVE_UP:  # noqa: ASYNC110
            await asyncio.sleep(POLL)
        took = time.monotonic() - since
        self.findings.at_most("recovery_seconds", took)
        if took > RECOVERY:
            self.findings.violations.append(f"{where}: recovered after {took:.1f} s")

    async def run(self, index: int) -> None:
        """One client, until the end."""
        client, random = self.clients[index], Random(self.random.getrandbits(64))  # noqa: S311 - seeded on purpose
        session: Session | None = None
        while not self.stopping:
            if session is None:
                session = await self._login(index, random)
            elif random.random() < 0.1:
                ended = await self._insist(index, partial(client.logout, session))
                if ended:
                    self.logged_out.add(session.family)
                session = None
            else:
                key = f"{random.getrandbits(128):032x}"
                if not await self._insist(index, partial(client.refresh, session, key=key)):
                    session = None

    async def _login(self, index: int, random: Random) -> Session | None:
        delivery = random.choice(("native", "native", "spa"))
        deadline = time.monotonic() + GIVE_UP
        while time.monotonic() < deadline and not self.stopping:
            began = time.monotonic()
            session = await self.clients[index].login(self.accounts[index], delivery)
            if session is not None:
                self._succeeded(index, began)
                self.sessions[session.family] = session
                return session
            await asyncio.sleep(PAUSE)
        if not self.stopping:
            self.findings.violations.append(f"no login in {GIVE_UP:.0f} s")
        return None

    async def _insist(self, index: int, ask: Callable[[], Awaitable[Operation]]) -> bool:
        """Repeat until it is answered; True if with success."""
        deadline = time.monotonic() + GIVE_UP
        while time.monotonic() < deadline:
            operation = await ask()
            self._judge(operation)
            if operation.outcome == "ok":
                self._succeeded(index, operation.invoked)
                return True
            if operation.outcome == "err":
                return False
            await asyncio.sleep(PAUSE)
        return False

    def _judge(self, operation: Operation) -> None:
        took = operation.returned - operation.invoked
        self.findings.at_most("answer_seconds", took)
        said = f"{operation.operation} of {operation.family}: {operation.result}"
        if operation.outcome == "err":
            self.findings.violations.append(f"an honest client was refused: {said}")
        elif operation.outcome == "info":
            unavailable = operation.result.get("status") == 503
            self.findings.counted["503" if unavailable else "other than 503"] += 1
            if not unavailable:
                self.findings.violations.append(f"neither an answer nor 503: {said}")
        if took > ANSWER:
            self.findings.violations.append(f"answered after {took:.1f} s: {said}")

    def _succeeded(self, index: int, began: float) -> None:
        self.acknowledged += 1
        self.last[index] = began


@asynccontextmanager
async def honest_load(
    findings: Findings,
    recorder: Recorder,
    ports: Sequence[int],
    *,
    random: Random,
    clients: int = 5,
) -> AsyncIterator[Load]:
    """Run the clients meanwhile; at the end each finishes what it has begun."""
    load = Load(findings, random)
    run = random.getrandbits(32)
    tasks: list[asyncio.Task[None]] = []
    try:
        for index in range(clients):
            client = Client(f"honest-{run:08x}-{index}", recorder, ports)
            load.clients.append(client)
            load.accounts.append(await client.register(f"honest-{index}@example.com"))
            load.last.append(0.0)
        tasks += [asyncio.create_task(load.run(index)) for index in range(clients)]
        yield load
        load.stopping = True
        await asyncio.wait_for(asyncio.gather(*tasks), 2 * GIVE_UP)
        findings.counted["operations acknowledged"] += load.acknowledged
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for client in load.clients:
            await client.close()


async def cross_check(load: Load, url: str) -> None:
    """Everything acknowledged is in the database, and nothing else happened to the sessions."""
    database = await asyncpg.connect(url)
    try:
        rows = await database.fetch("SELECT id, generation, revoke_reason FROM refresh_families")
        strange = await database.fetch(
            "SELECT event, count(*) FROM audit_records WHERE event NOT IN "
            "('user_registered', 'login_succeeded', 'session_revoked') GROUP BY event"
        )
        half = await database.fetchval(HALF_MADE)
        stuck = await database.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'"
        )
    finally:
        await database.close()
    violations = load.findings.violations
    families = {str(row["id"]): row for row in rows}
    for family, session in load.sessions.items():
        row = families.get(family)
        if row is None:
            violations.append(f"an acknowledged login is lost: {family}")
            continue
        acknowledged = generation_of(session.refresh_token)
        if row["generation"] != acknowledged:
            violations.append(
                f"generation {row['generation']}, acknowledged {acknowledged}: {family}"
            )
        if (row["revoke_reason"] == "logout") != (family in load.logged_out):
            violations.append(f"revoked: {row['revoke_reason']}, against the answers: {family}")
    violations += [f"{row['count']} of {row['event']}" for row in strange]
    if half:
        violations.append(f"{half} families whose audit trail tells something else")
    if stuck:
        violations.append(f"{stuck} connections idle in transaction")


# A login without its audit record, a record without its login, a revocation without or with two.
HALF_MADE = """
SELECT count(*) FROM
  (SELECT id, (revoked_at IS NOT NULL)::int AS ends FROM refresh_families) f
  FULL JOIN
  (SELECT family_id,
     count(*) FILTER (WHERE event = 'login_succeeded') AS logins,
     count(*) FILTER (WHERE event = 'session_revoked') AS revocations,
     count(*) FILTER (WHERE event NOT IN ('login_succeeded', 'session_revoked')) AS others
   FROM audit_records WHERE family_id IS NOT NULL GROUP BY family_id) a
  ON a.family_id = f.id
WHERE (a.logins, a.revocations, a.others) IS DISTINCT FROM (1, f.ends, 0)
"""
