"""
A1: an account with 100,000 sessions ends them, and all is killed while the rows are tidied.

The answer comes with one number on the account's row (decision 0017); what the rows say follows in
batches behind. Whatever is killed meanwhile, no session that has ended comes back, the one that
was kept stays, and the tidying goes on where it was.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import asyncpg
from sqlalchemy import delete, select

from authsvc import app
from authsvc.flows.accounts import disable_account
from authsvc.keys.directory import KeyDirectory
from authsvc.keys.refresh_tokens import seal
from authsvc.protocol.refresh import Delivery, RefreshToken
from authsvc.store import endings
from authsvc.store.database import Database
from authsvc.store.tables import unfinished_endings, users
from authsvc_client.tokens.revocations import digest
from proof.client import Client, Session
from proof.experiment import Findings, Stage
from proof.zygote import Service, Zygote
from tests.support.crowd import MANY, copy_session
from tests.support.live import free_port
from tests.support.own_postgres import OwnPostgres, own_postgres

PATIENCE = 120.0  # seconds until the rows of an account are tidied, kills included
POLL = 0.01  # seconds
ALL, OTHERS, DISABLE = "logout all", "logout others", "disable"
WAYS = (ALL, OTHERS, DISABLE)
VICTIMS = ("the service", "PostgreSQL")
SAMPLE = 4  # of the sessions that ended are tried each time
KILLS = 2  # for each ending


class ManyEndings:
    """Every way with every victim in turn."""

    name = "A1-end-very-many-sessions"
    promise = (
        "An account with 100,000 sessions is disabled or ends all of them, or all others, in one "
        "request; the service or PostgreSQL is killed with kill -9, twice, while the rows are "
        "tidied behind. From the answer on no ended session can be refreshed, the kept one can, "
        "one entry of the feed tells of it, and the tidying goes on until it is done."
    )
    unit = "endings"
    goal = 100
    batch = 3

    def __init__(self, sessions: int = MANY) -> None:
        self.sessions = sessions

    async def run(self, stage: Stage, *, units: int, random: Random) -> Findings:
        """As it is, but that it is tidied twenty times a second instead of every five minutes."""
        return await _end(
            stage, units=units, random=random, sessions=self.sessions, plant=tidy_at_once.__name__
        )

    async def control(self, stage: Stage, *, random: Random) -> Findings:
        """A build whose sweep ends them, and one that forgets it when it is killed."""
        found = Findings()
        for plant in (sweep_ends_them, tidying_is_forgotten):
            one = await _end(
                stage,
                units=1,
                random=random,
                sessions=5_000,
                plant=plant.__name__,
                ways=(ALL,),
                victims=VICTIMS[:1],
            )
            if not one.violations:
                return Findings(done=found.done + one.done)  # one undetected bug is enough
            found.done += one.done
            found.violations += one.violations
        return found


EXPERIMENTS = (ManyEndings(),)


def tidy_at_once() -> None:
    """No bug: the tidying comes soon after the ending, so that it can be interrupted."""
    app.PRUNE_INTERVAL = timedelta(seconds=0.05)


def sweep_ends_them() -> None:
    """A session ends when the tidying has reached its row, and not with the answer."""
    tidy_at_once()

    async def not_raised(session: Any, user_id: UUID, **_: Any) -> int | None:
        found = await session.exec(select(users.c.session_epoch).where(users.c.id == user_id))
        epoch: int | None = found.scalar_one_or_none()
        return None if epoch is None else epoch + 1

    endings.raise_epoch = not_raised


def tidying_is_forgotten() -> None:
    """What is left to do lives in the memory of the process that began it."""
    tidy_at_once()
    finish = endings.finish

    async def forgetful(session: Any, *, batch: int) -> int:
        done = await finish(session, batch=batch)
        await session.exec(delete(unfinished_endings))
        return done

    endings.finish = forgetful


@dataclass
class World:
    """One deployment, whose parts are killed again and again."""

    url: str
    postgres: OwnPostgres | None
    zygote: Zygote
    service: Service
    keys: KeyDirectory
    client: Client
    findings: Findings
    random: Random
    where: str = ""

    def demand(self, holds: bool, sentence: str) -> None:  # noqa: FBT001 - as assert
        """Note a violation unless it holds."""
        if not holds:
            self.findings.violations.append(f"{self.where}: {sentence}")

    async def kill(self, victim: str) -> None:
        """Kill it and start it again."""
        if self.postgres is not None and victim == "PostgreSQL":
            self.postgres.signal(signal.SIGKILL)
            await self.postgres.start()
        else:
            self.service.kill()
            await self.client.close()
            self.service = self.zygote.spawn(self.service.port, self.url)
        await self.service.ready()
        self.findings.counted[f"kills of {victim}"] += 1

    async def refresh(self, session: Session) -> str:
        """Whether it can be: `ok`, or `err` where it is refused."""
        answer = await self.client.refresh(session, key=f"{self.random.getrandbits(128):032x}")
        deadline = time.monotonic() + PATIENCE
        while answer.outcome == "info" and time.monotonic() < deadline:
            await asyncio.sleep(POLL)
            answer = await self.client.refresh(session, key=f"{self.random.getrandbits(128):032x}")
        return answer.outcome

    async def fetchrow(self, query: str, *arguments: object) -> asyncpg.Record:
        """One row of the database."""
        connection = await asyncpg.connect(self.url)
        try:
            return await connection.fetchrow(query, *arguments)
        finally:
            await connection.close()


async def _end(
    stage: Stage,
    *,
    units: int,
    random: Random,
    sessions: int,
    plant: str,
    ways: tuple[str, ...] = WAYS,
    victims: tuple[str, ...] = VICTIMS,
) -> Findings:
    killable = "PostgreSQL" in victims
    async with _world(stage, random, f"{__name__}:{plant}", killable=killable) as world:
        shift = random.getrandbits(1)
        for unit in range(units):
            way = ways[unit % len(ways)]
            # Over the batches each way meets each victim.
            victim = victims[(unit + shift) % len(victims)]
            world.where = f"{way}, {victim} killed"
            await _end_one(world, way, victim, sessions)
            world.findings.done += 1
            world.findings.counted[world.where] += 1
        return world.findings


async def _end_one(world: World, way: str, victim: str, sessions: int) -> None:
    """One account's ending, from its logins to its last tidied row."""
    client = world.client
    account = await client.register(f"{world.random.getrandbits(64):x}@example.com")
    own, other = await client.login(account), await client.login(account)
    assert own is not None
    assert other is not None
    await _copy(world, other, sessions)
    ended = [other, *await _copies(world, other)]
    world.demand(await world.refresh(ended.pop()) == "ok", "a copied session does not work")

    began = time.monotonic()
    if way == DISABLE:
        await _disable(world, UUID(account.id))
    else:
        answer = await client.logout(own, "others" if way == OTHERS else "all")
        world.demand(answer.outcome == "ok", f"not ended: {answer.result}")
    world.findings.at_most(f"milliseconds of one {way}", 1000 * (time.monotonic() - began))

    await _all_have_ended(world, ended)
    left = sessions
    for _ in range(KILLS):
        left = await _progress(world, UUID(account.id), below=left)
        if left:
            world.findings.counted["killed while rows were left"] += 1
        await world.kill(victim)
        await _all_have_ended(world, ended)
    await _tidied(world, UUID(account.id))
    await _all_have_ended(world, ended)
    wanted = "ok" if way == OTHERS else "err"
    world.demand(await world.refresh(own) == wanted, f"its own session is not {wanted}")
    await _told(world, UUID(account.id), spared=way == OTHERS)


async def _all_have_ended(world: World, ended: list[Session]) -> None:
    for session in world.random.sample(ended, min(SAMPLE, len(ended))):
        outcome = await world.refresh(session)
        world.demand(outcome == "err", f"a refresh after the end of the session: {outcome}")


async def _disable(world: World, user_id: UUID) -> None:
    """What the command does."""
    database = await Database.open(world.url)
    try:
        await disable_account(database, user_id)
    finally:
        await database.close()


async def _copy(world: World, session: Session, count: int) -> None:
    connection = await asyncpg.connect(world.url)
    try:
        await copy_session(connection, session.family, count)
    finally:
        await connection.close()


async def _copies(world: World, session: Session) -> list[Session]:
    """Some of the copies, the last rows to be tidied among them, as clients hold them."""
    connection = await asyncpg.connect(world.url)
    try:
        rows = await connection.fetch(
            "(SELECT id, mac_key_id FROM refresh_families WHERE user_id = $1 ORDER BY id LIMIT 9)"
            " UNION (SELECT id, mac_key_id FROM refresh_families WHERE user_id = $1"
            " ORDER BY ctid DESC LIMIT 9)",
            UUID(session.account.id),
        )
    finally:
        await connection.close()
    return [
        Session(
            account=session.account,
            family=str(row["id"]),
            delivery="native",
            refresh_token=seal(
                world.keys.refresh,
                RefreshToken(row["mac_key_id"], row["id"], 0, Delivery.NATIVE),
            ),
            access_token="",
        )
        for row in rows
    ]


LEFT = """
SELECT count(*) FILTER (WHERE f.epoch < u.session_epoch) AS behind,
    count(*) FILTER (WHERE f.epoch = u.session_epoch) AS current,
    EXISTS (SELECT FROM unfinished_endings e WHERE e.user_id = u.id) AS remembered
FROM users u LEFT JOIN refresh_families f ON f.user_id = u.id AND f.revoked_at IS NULL
WHERE u.id = $1 GROUP BY u.id
"""


async def _progress(world: World, user_id: UUID, *, below: int) -> int:
    """Wait until the tidying is somewhat further; returns how many rows are left."""
    wanted = below - world.random.randint(1, max(1, below // 2))
    async with asyncio.timeout(PATIENCE):
        while True:
            row = await world.fetchrow(LEFT, user_id)
            behind: int = row["behind"]
            if behind <= wanted or not row["remembered"]:
                return behind
            await asyncio.sleep(POLL)


async def _tidied(world: World, user_id: UUID) -> None:
    """Wait until nothing is left to do, and demand that nothing is left."""
    row = await world.fetchrow(LEFT, user_id)
    with suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE):
            while row["remembered"]:
                await asyncio.sleep(POLL)
                row = await world.fetchrow(LEFT, user_id)
    world.demand(not row["remembered"], f"not tidied in {PATIENCE:g} s")
    world.demand(row["behind"] == 0, f"{row['behind']} rows are never tidied")


TOLD = """
SELECT (SELECT count(*) FROM revocations r WHERE r.digest = $2 AND r.kind = 'ver') AS entries,
    (SELECT count(*) FROM audit_records a WHERE a.user_id = $1 AND a.family_id IS NULL
        AND a.event = 'session_revoked' AND a.details ? 'below_epoch') AS records,
    (SELECT count(*) FROM refresh_families f WHERE f.user_id = $1 AND f.revoked_at IS NULL) AS alive
"""


async def _told(world: World, user_id: UUID, *, spared: bool) -> None:
    """The feed and the audit trail have one each, and the rows say that all but one ended."""
    row = await world.fetchrow(TOLD, user_id, digest(str(user_id)))
    found = (row["entries"], row["records"], row["alive"])
    world.demand(found == (1, 1, int(spared)), f"entries, records and rows that live are {found}")


@asynccontextmanager
async def _world(
    stage: Stage, random: Random, plant: str, *, killable: bool
) -> AsyncIterator[World]:
    """A service that is tidied at once; on a PostgreSQL of its own where that is killed."""
    async with AsyncExitStack() as stack:
        postgres = await stack.enter_async_context(own_postgres()) if killable else None
        url = postgres.url if postgres else await stack.enter_async_context(stage.database())
        place = stack.enter_context(stage.place())
        zygote = stack.enter_context(Zygote(place, plant=plant))
        service = zygote.spawn(free_port(), url)
        await service.ready()
        client = Client(f"endings-{random.getrandbits(32):08x}", stage.recorder, [service.port])
        stack.push_async_callback(client.close)
        yield World(url, postgres, zygote, service, _keys(place), client, Findings(), random)


def _keys(place: Path) -> KeyDirectory:
    keys = KeyDirectory(
        place / "keys",
        passphrase=None,
        strict_modes=False,
    )
    keys.load(datetime.now(UTC))
    return keys
