"""
The mixed workload: households of two devices on all replicas, and an administrator.

It goes on under any fault, until it is told to stop.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from math import inf
from random import Random

from authsvc.store.database import Database
from proof.client import Client, Session
from proof.history import Operation, Recorder
from proof.household import ACTIONS, BACK_OFF, Device, Household, Load

DEVICES = 2  # of one account
TRIES_AFTER_THE_DUST = 100


async def workload(
    recorder: Recorder,
    ports: Sequence[int],
    *,
    database_url: str,
    clients: int,
    operations: int,
    random: Random,
    stop: asyncio.Event | None = None,
    deadline: float = inf,
    actions: Mapping[str, int] | None = None,
    begun: list[Session] | None = None,
) -> list[Session]:
    """
    Run until so many operations more are recorded, `stop` is set or the deadline has come.

    Args:
        database_url: Where the administrator disables and enables accounts.
        clients: Devices; two of them share an account.
        deadline: A moment of `time.monotonic()`.
        actions: Weights other than those of `ACTIONS`.
        begun: Gets every session that a device began, also those that it ended.

    Returns:
        The sessions that their devices believe to be alive: see `after_the_dust`.
    """
    async with _database(database_url) as database:
        load = Load(
            recorder,
            ports,
            database,
            recorder.operations + operations,
            stop or asyncio.Event(),
            deadline,
            {**ACTIONS, **(actions or {})},
            begun if begun is not None else [],
        )
        run = f"{random.getrandbits(32):08x}"
        devices: list[Device] = []
        for number in range(clients):
            chance = Random(random.getrandbits(64))  # noqa: S311 - reproducible, not secret
            if number % DEVICES == 0:
                household = Household(load, chance)
            devices.append(Device(load, household, f"{run}-{number}", chance))
        try:
            async with asyncio.TaskGroup() as group:
                for device in devices:
                    group.create_task(device.live())
        finally:
            for device in devices:
                await device.close()
    return [device.session for device in devices if device.session is not None]


async def after_the_dust(
    recorder: Recorder, ports: Sequence[int], sessions: Sequence[Session]
) -> list[Operation]:
    """
    Every session still believed alive refreshes once more, until it is answered.

    Returns:
        The last answer to each; one that is `info` still had none.
    """
    client = Client("after-the-dust", recorder, ports)
    answers = []
    try:
        for number, session in enumerate(sessions):
            key = session.pending_key or f"after-the-dust-{number:06}"
            for _ in range(TRIES_AFTER_THE_DUST):
                answer = await client.refresh(session, key=key)
                if answer.outcome != "info":
                    break
                await asyncio.sleep(BACK_OFF)
            answers.append(answer)
    finally:
        await client.close()
    return answers


@asynccontextmanager
async def _database(url: str) -> AsyncIterator[Database]:
    database = await Database.open(url, hot_connections=1, sessions=4)
    try:
        yield database
    finally:
        await database.close()
