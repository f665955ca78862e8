"""
F02, F03: PostgreSQL is killed under load, as a whole or one backend, and starts again.

It runs with fsync on its own data directory. What was acknowledged must be there afterwards, and
the service recovers by itself.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from random import Random

import asyncpg

from proof.experiment import Findings, Stage
from proof.honest_load import cross_check, honest_load
from proof.zygote import Zygote
from tests.support.live import free_port
from tests.support.own_postgres import OwnPostgres, own_postgres

BACKEND = "authsvc [local]"  # database and address in the title of a client's process
SERVER_RECOVERY = 60.0  # seconds
POLL = 0.005  # seconds
TERMINATE = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE application_name = 'authsvc' AND pid = ANY($1::int[])
"""
WAYS = (
    "kill -9 of the postmaster",
    "immediate stop",
    "kill -9 of a backend",
    "pg_terminate_backend",
)


class KillPostgres:
    """Two replicas, five clients, a kill every few operations."""

    name = "F02-F03-kill-postgres"
    promise = (
        "PostgreSQL is killed at any moment (kill -9 of the server or of a backend, immediate "
        "stop, terminated connections): nothing acknowledged is lost, clients that repeat with "
        "their key keep their sessions, and the service works again within 5 s."
    )
    unit = "PostgreSQL kills"
    goal = 500
    batch = 20

    async def run(self, stage: Stage, *, units: int, random: Random) -> Findings:
        """All ways in turn."""
        return await _kills(stage, units=units, random=random, ways=WAYS, options={})

    async def control(self, stage: Stage, *, random: Random) -> Findings:
        """A server that acknowledges before it has written."""
        # wal_writer_delay: nobody else writes it for us.
        options = {"synchronous_commit": "off", "wal_writer_delay": "10s"}
        return await _kills(stage, units=3, random=random, ways=WAYS[:1], options=options)


EXPERIMENTS = (KillPostgres(),)


async def _kills(
    stage: Stage, *, units: int, random: Random, ways: Sequence[str], options: dict[str, str]
) -> Findings:
    findings = Findings()
    async with own_postgres(options) as postgres, replicas(stage, postgres.url) as ports:
        async with honest_load(findings, stage.recorder, ports, random=random) as load:
            # The control forgets what the clients did, not who they are.
            await checkpoint(postgres.url)
            while findings.done < units and findings.counted["nothing to kill"] < 10 * units:
                way = ways[findings.done % len(ways)]
                await load.progress(random.randint(5, 60))
                if await _kill(postgres, way, random):
                    findings.done += 1
                    findings.counted[way] += 1
                    await load.recovered(time.monotonic(), way)
                else:
                    findings.counted["nothing to kill"] += 1
        await cross_check(load, postgres.url)
    return findings


@asynccontextmanager
async def replicas(
    stage: Stage, url: str, number: int = 2, *, plant: str | None = None
) -> AsyncIterator[list[int]]:
    """Services on that database, with a planted bug if one is named; their ports."""
    with stage.place() as place, Zygote(place, plant=plant) as zygote:
        services = [zygote.spawn(free_port(), url) for _ in range(number)]
        for service in services:
            await service.ready()
        yield [service.port for service in services]
        assert not any(service.has_ended() for service in services), "a replica has ended"


async def _kill(postgres: OwnPostgres, way: str, random: Random) -> bool:
    """Do it; a killed server runs again when this returns. False if there was no backend."""
    if way in WAYS[:2]:
        postgres.signal(signal.SIGKILL if way == WAYS[0] else signal.SIGQUIT)
        await postgres.start()
        return True
    backends = postgres.children(BACKEND)
    if not backends:
        return False
    chosen = random.sample(backends, random.randint(1, len(backends)))
    if way == WAYS[2]:
        with suppress(ProcessLookupError):
            os.kill(chosen[0], signal.SIGKILL)
            await _server_answers(postgres)
            return True
        return False
    connection = await asyncpg.connect(postgres.url)
    try:
        return bool(await connection.fetch(TERMINATE, chosen))
    finally:
        await connection.close()


async def checkpoint(url: str) -> None:
    """Write everything so far."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("CHECKPOINT")
    finally:
        await connection.close()


async def _server_answers(postgres: OwnPostgres) -> None:
    """The death of one backend restarts all; until the server is back, the fault lasts."""
    async with asyncio.timeout(SERVER_RECOVERY):
        # The postmaster first has to notice.
        while postgres.children("startup") == [] and postgres.children(BACKEND):  # noqa: ASYNC110
            await asyncio.sleep(POLL)
        while True:
            with suppress(OSError, asyncpg.PostgresError):
                await (await asyncpg.connect(postgres.url)).close()
                return
            await asyncio.sleep(POLL)
