"""F08: clients that hang up in the middle, thousands of times, while others use the same pool."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from random import Random

import asyncpg

from proof.client import Client, Session, generation_of
from proof.experiment import Experiment, Findings, Stage
from proof.replica import Replica
from proof.storm import Storm

AT_ONCE = 64  # requests of the last check
RECOVERY = 5.0  # seconds
STUCK = 2.0  # seconds; no transaction of ours waits for the service so long

# A build whose connections now and then deliver the row before: what a pool does that takes a
# connection back in the middle of an answer.
DIRTY = """
from asyncpg import Connection
last, count, fetchrow = {}, 0, Connection.fetchrow

async def dirty(self, query, *args, **kwargs):
    global count
    row = await fetchrow(self, query, *args, **kwargs)
    earlier, last[query] = last.get(query), row
    count += 1
    return earlier if count % 20 == 0 and row is not None and earlier is not None else row

Connection.fetchrow = dirty
from authsvc.cli.main import main
main()
"""


class ClientAborts:
    """
    Requests of all kinds that nobody waits for, beside clients that do.

    A session goes on at once after its repetition, while the request that was given up may still
    wait in the service (docs/decisions/0011).
    """

    name = "F08-client-aborts"
    promise = (
        "A client that hangs up at any moment harms nobody, itself included: no answer reaches "
        "another user, no connection stays in a transaction, and what was acknowledged is kept "
        "over a kill -9."
    )
    unit = "aborted requests"
    goal = 20_000
    batch = 2_000

    async def run(self, stage: Stage, *, units: int, random: Random) -> Findings:
        """Abort `units` requests, then kill the service and read again."""
        findings = Findings()
        async with _served(stage) as (replica, url):
            storm = Storm(stage.recorder, findings, random, replica.port)
            watch = asyncio.create_task(_watch_transactions(url, findings))
            try:
                await storm.rage(units)
            finally:
                watch.cancel()
                with suppress(asyncio.CancelledError):
                    await watch
            await storm.leave()
            await _check_pool(storm, url)
            replica.kill()
            replica.start()
            await replica.ready()
            await _check_kept(storm, url)
            await storm.leave()
        return findings

    async def control(self, stage: Stage, *, random: Random) -> Findings:
        """A pool with dirty connections gives one user's tokens to another."""
        findings = Findings()
        async with _served(stage, command=(sys.executable, "-c", DIRTY, "serve")) as (replica, _):
            storm = Storm(stage.recorder, findings, random, replica.port)
            await storm.rage(40)
            await storm.leave()
        return findings


EXPERIMENTS: tuple[Experiment, ...] = (ClientAborts(),)


async def _check_pool(storm: Storm, url: str) -> None:
    """Soon after the last abort nothing is left of the storm."""
    began = time.monotonic()
    while stuck := await _transactions(url, 0.0):
        if time.monotonic() > began + RECOVERY:
            storm.findings.violations.append(f"{stuck} connections are left in a transaction")
            break
        await asyncio.sleep(0.02)
    members = [storm.alive[n % len(storm.alive)] for n in range(AT_ONCE)]
    clients = [
        Client(f"{client.name}-{number}", storm.recorder, [storm.port])
        for number, (client, _) in enumerate(members)
    ]
    answers = await asyncio.gather(
        *(client.me(session) for client, (_, session) in zip(clients, members, strict=True))
    )
    for client, answer, (_, session) in zip(clients, answers, members, strict=True):
        storm.judge(answer, session)
        await client.close()
    storm.findings.at_most("recovery, seconds", time.monotonic() - began)


async def _check_kept(storm: Storm, url: str) -> None:
    """After the kill: what was acknowledged is there, what was ended is not."""
    connection = await asyncpg.connect(url)
    try:
        for _, session in storm.alive:
            acknowledged = generation_of(session.refresh_token)
            row = await connection.fetchval(
                "SELECT generation FROM refresh_families WHERE id = $1", session.family
            )
            if row != acknowledged:
                storm.findings.violations.append(
                    f"D: generation {acknowledged} is held, row: {row}"
                )
        reused = await connection.fetch(
            "SELECT details FROM audit_records WHERE event = 'refresh_token_reused'"
        )
        storm.findings.violations += [
            f"I7: an honest session was ended for reuse: {row['details']}" for row in reused
        ]
    finally:
        await connection.close()
    for begin in range(0, len(storm.alive), AT_ONCE):
        await asyncio.gather(
            *(_check_alive(storm, *member) for member in storm.alive[begin : begin + AT_ONCE])
        )
    for client, session in storm.ended:
        await client.close()
        if (await client.refresh(session)).outcome != "err":
            storm.findings.violations.append("I5: an ended session lives after the restart")
        await client.close()
    storm.findings.counted["sessions read again"] += len(storm.alive) + len(storm.ended)


async def _check_alive(storm: Storm, client: Client, session: Session) -> None:
    """The session and the password are the acknowledged ones."""
    storm.judge(await client.refresh(session, key=storm.key()), session)
    if await client.login(session.account) is None:
        storm.findings.violations.append("D: an acknowledged password was forgotten")
    await client.close()


async def _watch_transactions(url: str, findings: Findings) -> None:
    """As long as the storm lasts."""
    while True:
        if stuck := await _transactions(url, STUCK):
            findings.violations.append(f"{stuck} connections idle in transaction")
        await asyncio.sleep(0.2)


async def _transactions(url: str, seconds: float) -> int:
    """How many connections of the service wait in a transaction for longer than that."""
    connection = await asyncpg.connect(url)
    try:
        count: int = await connection.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
            "AND application_name = 'authsvc' AND state LIKE 'idle in transaction%' "
            "AND clock_timestamp() - state_change >= make_interval(secs => $1)",
            seconds,
        )
    finally:
        await connection.close()
    return count


@asynccontextmanager
async def _served(
    stage: Stage, command: Sequence[str] = (sys.executable, "-m", "authsvc", "serve")
) -> AsyncIterator[tuple[Replica, str]]:
    async with stage.database() as url:
        with stage.place() as place:
            replica = Replica(url, place, command=command)
            replica.start()
            try:
                await replica.ready()
                yield replica, url
            finally:
                replica.kill()
