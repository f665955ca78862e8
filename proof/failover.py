"""
F04, F05: the primary is lost, and its standby takes over.

The service knows both hosts by its URL. Who promotes, and makes sure that the old primary is gone,
is whoever runs the database (Patroni, a cloud); here it is the harness.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from base64 import urlsafe_b64decode
from collections.abc import Sequence
from dataclasses import replace
from random import Random

import asyncpg
import httpx

from authsvc.protocol.refresh import HEALABLE_GENERATIONS
from proof.client import Account, Client, Session, generation_of
from proof.experiment import Findings, Stage
from proof.history import Operation
from proof.honest_load import RECOVERY, cross_check, honest_load
from proof.kill_postgres import replicas
from proof.replicated_postgres import ReplicatedPostgres, replicated_postgres

PAUSE = 0.05  # seconds between tries
WAYS = {
    "kill -9 of the primary": signal.SIGKILL,
    "the primary hangs": signal.SIGSTOP,
    "immediate stop": signal.SIGQUIT,
}
EVENTS = """
SELECT event, family_id::text FROM audit_records
WHERE event IN ('database_rollback_detected', 'generation_far_ahead')
"""


class SynchronousFailover:
    """Two replicas, five clients; every commit is on both servers."""

    name = "F04-synchronous-failover"
    promise = (
        "The primary is killed or hangs under load and its synchronous standby is promoted: "
        "nothing acknowledged is lost, clients that repeat with their key keep their sessions, "
        "and the service works again within 5 s of the promotion."
    )
    unit = "failovers"
    goal = 200
    batch = 6

    async def run(self, stage: Stage, *, units: int, random: Random) -> Findings:
        """All ways in turn."""
        return await _under_load(stage, units=units, random=random, synchronous=True)

    async def control(self, stage: Stage, *, random: Random) -> Findings:
        """A standby that commits do not wait for, and that falls behind."""
        return await _under_load(stage, units=1, random=random, synchronous=False)


class AsynchronousFailover:
    """Sessions that the failover throws back by a known number of rotations."""

    name = "F05-asynchronous-failover"
    promise = (
        "A standby is promoted that lacks the last commits: a session that was thrown back by one "
        "or two rotations goes on, with one successor, and theft of it is still seen; one that "
        "was thrown back further is refused and left as it is; both are audited once; and the "
        "revocation feed starts a new epoch."
    )
    unit = "failovers"
    goal = 200
    batch = 6

    async def run(self, stage: Stage, *, units: int, random: Random) -> Findings:
        """Each with new sessions."""
        return await _thrown_back(stage, units=units, random=random)

    async def control(self, stage: Stage, *, random: Random) -> Findings:
        """A build that heals nothing."""
        plant = "proof.failover:heals_nothing"
        return await _thrown_back(stage, units=1, random=random, plant=plant)


EXPERIMENTS = (SynchronousFailover(), AsynchronousFailover())


def heals_nothing() -> None:
    """A generation ahead is refused, however little."""
    from authsvc.protocol import refresh  # noqa: PLC0415 - only in the planted process

    refresh.HEALABLE_GENERATIONS = 0


async def _under_load(stage: Stage, *, units: int, random: Random, synchronous: bool) -> Findings:
    findings = Findings()
    ways = list(WAYS.items())
    async with (
        replicated_postgres(synchronous=synchronous) as pair,
        replicas(stage, pair.url) as ports,
    ):
        async with honest_load(findings, stage.recorder, ports, random=random) as load:
            for number in range(units):
                way, signum = ways[number % len(ways)]
                if not synchronous:
                    await pair.caught_up()
                    _hold_back(pair)
                await load.progress(random.randint(20, 60))
                pair.primary.signal(signum)
                await pair.fail_over()
                await load.recovered(time.monotonic(), way)
                findings.done += 1
                findings.counted[way] += 1
                await pair.attach()
        await cross_check(load, pair.primary.url)
    return findings


async def _thrown_back(
    stage: Stage, *, units: int, random: Random, plant: str | None = None
) -> Findings:
    findings = Findings()
    async with (
        replicated_postgres(synchronous=False) as pair,
        replicas(stage, pair.url, plant=plant) as ports,
    ):
        client = Client(f"f05-{random.getrandbits(32):08x}", stage.recorder, ports)
        try:
            for _ in range(units):
                await _one_failover(pair, client, findings, random)
                findings.done += 1
                await pair.attach()
        finally:
            await client.close()
    return findings


async def _one_failover(
    pair: ReplicatedPostgres, client: Client, findings: Findings, random: Random
) -> None:
    account = await client.register(f"user-{random.getrandbits(64):016x}@example.com")
    # How many rotations the failover will undo. A cookie session rotates once in ten seconds.
    behind = [(await _login(client, account, "native"), number) for number in (0, 1, 2, 3)]
    behind += [(await _login(client, account, "spa"), number) for number in (0, 1)]
    left = await _login(client, account, "native")
    epochs = {port: await _another_epoch(port, before=None) for port in client.ports}
    await pair.caught_up()
    _hold_back(pair)
    for session, number in behind:
        for _ in range(number):
            _demand(findings, await _refresh(client, session, random), "ok")
    _demand(findings, await client.logout(left), "ok")

    pair.primary.signal(signal.SIGKILL)
    await pair.fail_over()
    promoted = time.monotonic()
    healed = await _after_the_failover(client, behind, findings, random)
    took = time.monotonic() - promoted
    findings.at_most("recovery_seconds", took)
    if took > RECOVERY:
        findings.violations.append(f"recovered after {took:.1f} s")
    # What nobody can know any more: documented, and counted.
    again = await _refresh(client, left, random)
    findings.counted["logouts lost with the primary"] += again.outcome == "ok"

    for port, epoch in epochs.items():
        if await _another_epoch(port, before=epoch) is None:
            findings.violations.append("5 s later the feed has not started a new epoch")
    for session in healed:
        await _theft_is_seen(client, session, findings, random)
    await _audited(pair, behind, findings)


async def _after_the_failover(
    client: Client, behind: Sequence[tuple[Session, int]], findings: Findings, random: Random
) -> list[Session]:
    """What each owner meets; the sessions that were healed."""
    healed = []
    for session, number in behind:
        operation = await _refresh(client, session, random)
        _demand(findings, operation, "err" if number > HEALABLE_GENERATIONS else "ok")
        if number and operation.outcome == "ok":
            healed.append(session)
            findings.counted["healed"] += 1
            if generation_of(session.refresh_token) != number + 1:
                findings.violations.append(f"not one past the token: {operation.result}")
    return healed


async def _theft_is_seen(
    client: Client, session: Session, findings: Findings, random: Random
) -> None:
    """The token that healed it is spent: who presents it again has stolen it."""
    if session.delivery != "native":  # a cookie has its window of ten seconds
        return
    theft = replace(session, spent=[])
    stolen = await client.refresh(theft, token=session.spent[-1], key="f" * 32)
    _demand(findings, stolen, "err")
    _demand(findings, await _refresh(client, session, random), "err")


async def _audited(
    pair: ReplicatedPostgres, behind: Sequence[tuple[Session, int]], findings: Findings
) -> None:
    database = await asyncpg.connect(pair.primary.url)
    try:
        found = [tuple(row) for row in await database.fetch(EVENTS)]
        rows = await database.fetch("SELECT id::text, generation FROM refresh_families")
    finally:
        await database.close()
    mine = {session.family for session, _ in behind}
    expected = [
        (
            "generation_far_ahead"
            if number > HEALABLE_GENERATIONS
            else "database_rollback_detected",
            session.family,
        )
        for session, number in behind
        if number
    ]
    if sorted(event for event in found if event[1] in mine) != sorted(expected):
        findings.violations.append(f"audited {found}, expected {expected}")
    generations = {row["id"]: row["generation"] for row in rows}
    for session, number in behind:
        if number > HEALABLE_GENERATIONS and generations[session.family] != 0:
            findings.violations.append("a refused session was changed")


async def _login(client: Client, account: Account, delivery: str) -> Session:
    session = await client.login(account, delivery)
    assert session is not None
    return session


async def _refresh(client: Client, session: Session, random: Random) -> Operation:
    """As an honest client: with a key, repeated while there is no answer."""
    key = f"{random.getrandbits(128):032x}"
    deadline = time.monotonic() + 2 * RECOVERY
    while True:
        operation = await client.refresh(session, key=key)
        if operation.outcome != "info" or time.monotonic() > deadline:
            return operation
        await asyncio.sleep(PAUSE)


def _demand(findings: Findings, operation: Operation, outcome: str) -> None:
    if operation.outcome != outcome:
        findings.violations.append(
            f"{operation.operation} of {operation.value}: {operation.result}, expected {outcome}"
        )


def _hold_back(pair: ReplicatedPostgres) -> None:
    """From now on the standby hears nothing; it dies with the primary."""
    senders = pair.primary.processes("walsender")
    assert senders
    for pid in senders:
        os.kill(pid, signal.SIGSTOP)


async def _another_epoch(port: int, *, before: str | None) -> str | None:
    """The feed's epoch when it is another than that; None if it is not within 5 s."""
    deadline = time.monotonic() + RECOVERY
    async with httpx.AsyncClient() as client:
        while time.monotonic() < deadline:
            answer = await client.get(f"http://localhost:{port}/.well-known/revocations")
            if answer.status_code == 200:  # 503 while it cannot look into the database
                payload = answer.text.split(".")[1]
                document = json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
                if document["epoch"] != before:
                    return str(document["epoch"])
            await asyncio.sleep(PAUSE)
    return None
