"""Rotations that go together: one statement, each its own family, nobody waits for a stranger."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from authsvc.protocol.errors import DatabaseUnavailable, OutcomeUnknown
from authsvc.protocol.refresh import Delivery, RefreshToken
from authsvc.store import rotations, users
from authsvc.store.database import Database
from authsvc.store.hot_statement import HotConnection, Row
from authsvc.store.refresh_families import Attempt
from authsvc.store.rotations import Rotations
from authsvc.store.tables import RefreshFamily
from tests.conftest import CALLER, LIFETIMES, Statements

COMPANY = 10
Begin = Callable[[int], Awaitable[list[Attempt]]]


class Slow:
    """A connection whose statements wait until they may run."""

    waiting = 0

    def __init__(self, connection: HotConnection, may_run: asyncio.Event) -> None:
        self._connection = connection
        self._may_run = may_run

    async def fetchrow(self, query: str, *args: object) -> Row | None:
        await self._wait()
        return await self._connection.fetchrow(query, *args)

    async def fetch(self, query: str, *args: object) -> Sequence[Row]:
        await self._wait()
        return await self._connection.fetch(query, *args)

    async def _wait(self) -> None:
        Slow.waiting += 1
        await self._may_run.wait()
        Slow.waiting -= 1


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - it is the event loop that has to run
            await asyncio.sleep(0)


@pytest.fixture
def begin(db: Database) -> Begin:
    """Begin so many families, each of a user of its own; an attempt for each."""

    async def begin(number: int) -> list[Attempt]:
        now = datetime.now(UTC)
        attempts = []
        async with db.transaction() as session:
            for each in range(number):
                user = await users.create(session, email=f"{each}@example.com", password_hash="x")
                assert user is not None
                family = RefreshFamily(
                    user_id=user.id,
                    client_id="authsvc",
                    delivery="native",
                    remember=True,
                    generation=0,
                    mac_key_id=b"k" * 8,
                    rotated_at=now,
                    created_at=now,
                    auth_time=now,
                    amr=["pwd"],
                    scope="",
                    idle_expires_at=now + timedelta(hours=1),
                    absolute_expires_at=now + timedelta(days=1),
                    ip="",
                    user_agent="",
                    last_ip="",
                    last_user_agent="",
                )
                session.add(family)
                await session.flush()
                token = RefreshToken(
                    mac_key_id=b"k" * 8,
                    family_id=family.id,
                    generation=0,
                    delivery=Delivery.NATIVE,
                )
                attempts.append(
                    Attempt(
                        token=token,
                        successor_key_id=b"l" * 8,
                        digest=bytes([each]) * 32,
                        lifetimes=LIFETIMES,
                        caller=CALLER,
                    )
                )
        return attempts

    return begin


@pytest.mark.requirement("R1")
async def test_what_comes_together_is_one_statement_and_each_gets_its_own_family(
    db: Database, begin: Begin, statements: Statements
) -> None:
    attempts = await begin(COMPANY)
    statements.clear()

    rotated = await asyncio.gather(*(db.rotations.rotate(attempt) for attempt in attempts))

    assert 1 == len(statements), list(statements)
    assert [attempt.token.family_id for attempt in attempts] == [
        family.id for family in rotated if family
    ]
    assert {1} == {family.generation for family in rotated if family}
    assert COMPANY == len({family.user_id for family in rotated if family})
    assert [attempt.digest for attempt in attempts] == await _digests(db, attempts)


async def test_who_comes_alone_is_not_held_back(
    db: Database, begin: Begin, statements: Statements
) -> None:
    [attempt] = await begin(1)
    statements.clear()

    family = await db.rotations.rotate(attempt)

    assert family is not None
    assert ["unnest" in text for text in statements] == [False]


@pytest.mark.requirement("R1", "R2")
async def test_one_family_twice_rotates_once(db: Database, begin: Begin) -> None:
    first, *others = await begin(3)

    rotated = await asyncio.gather(
        *(db.rotations.rotate(attempt) for attempt in (first, *others, first, first))
    )

    assert 1 == sum(family is not None and family.id == first.token.family_id for family in rotated)
    assert [True, True] == [family is not None for family in rotated[1:3]]


@pytest.mark.requirement("R1")
async def test_a_family_that_somebody_holds_delays_no_other(
    db: Database, database_url: str, begin: Begin
) -> None:
    held, *others = await begin(COMPANY)
    holder = await asyncpg.connect(database_url)
    try:
        async with holder.transaction():
            await holder.execute(
                "SELECT FROM refresh_families WHERE id = $1 FOR UPDATE", held.token.family_id
            )

            rotated = await asyncio.gather(
                *(db.rotations.rotate(attempt) for attempt in (held, *others))
            )
    finally:
        await holder.close()

    assert [None] == [family for family in rotated if family is None]
    assert rotated[0] is None
    assert await db.rotations.alone(held) is not None


@pytest.mark.requirement("R4")
async def test_one_that_was_revoked_meanwhile_does_not_rotate(
    db: Database, database_url: str, begin: Begin
) -> None:
    revoked, other = await begin(2)
    connection = await asyncpg.connect(database_url)
    await connection.execute(
        "UPDATE refresh_families SET revoked_at = now(), revoke_reason = 'logout' WHERE id = $1",
        revoked.token.family_id,
    )
    await connection.close()

    rotated = await asyncio.gather(db.rotations.rotate(revoked), db.rotations.rotate(other))

    assert [True, False] == [family is None for family in rotated]


async def test_what_one_request_brings_along_spoils_no_other(db: Database, begin: Begin) -> None:
    attempts = await begin(COMPANY)
    spoiled = replace(attempts[3], caller=replace(CALLER, user_agent="\N{NULL}"))

    rotated = await asyncio.gather(
        *(db.rotations.rotate(attempt) for attempt in (spoiled, *attempts[:3], *attempts[4:])),
        return_exceptions=True,
    )

    assert isinstance(rotated[0], asyncpg.DataError)
    assert not [each for each in rotated[1:] if each is None or isinstance(each, BaseException)]


async def test_a_request_that_is_given_up_takes_no_other_with_it(
    db: Database, begin: Begin
) -> None:
    attempts = await begin(COMPANY)
    tasks = [asyncio.create_task(db.rotations.rotate(attempt)) for attempt in attempts]
    await asyncio.sleep(0)

    tasks[0].cancel()
    rotated = await asyncio.gather(*tasks, return_exceptions=True)

    assert isinstance(rotated[0], asyncio.CancelledError)
    assert not [each for each in rotated[1:] if each is None or isinstance(each, BaseException)]


@pytest.mark.parametrize("refusal", [DatabaseUnavailable, OutcomeUnknown])
@pytest.mark.requirement("Z1")
async def test_a_failure_of_the_database_is_told_to_all(
    begin: Begin, refusal: type[DatabaseUnavailable]
) -> None:
    @asynccontextmanager
    async def broken() -> AsyncIterator[HotConnection]:
        raise refusal("broken")
        yield

    attempts = await begin(COMPANY)
    together = Rotations(broken)

    told = await asyncio.gather(
        *(together.rotate(attempt) for attempt in attempts), return_exceptions=True
    )

    assert [refusal] * COMPANY == [type(each) for each in told]


async def test_statements_that_hang_hold_back_nobody_else(
    db: Database, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts = await begin(rotations.LANES + COMPANY)
    hanging = asyncio.Event()
    leased = 0

    @asynccontextmanager
    async def lease() -> AsyncIterator[HotConnection]:
        nonlocal leased
        leased += 1
        hangs = leased <= rotations.LANES
        async with db.autocommit() as connection:
            yield Slow(connection, hanging) if hangs else connection

    monkeypatch.setattr(rotations, "PATIENCE", 0.0)
    together = Rotations(lease)
    stuck = []
    for number, attempt in enumerate(attempts[: rotations.LANES]):
        stuck.append(asyncio.create_task(together.rotate(attempt)))
        await until(lambda: Slow.waiting > number)  # noqa: B023 - awaited in this very turn

    rotated = await asyncio.gather(
        *(together.rotate(attempt) for attempt in attempts[rotations.LANES :])
    )

    assert None not in rotated
    assert not any(task.done() for task in stuck)
    hanging.set()
    assert None not in await asyncio.gather(*stuck)


async def test_without_a_connection_of_its_own_a_statement_leaves_its_requests_to_another(
    db: Database, begin: Begin
) -> None:
    first, second = await begin(2)
    goes_on = asyncio.Event()
    leased = 0

    @asynccontextmanager
    async def lease() -> AsyncIterator[HotConnection]:
        nonlocal leased
        leased += 1
        if leased == 2:
            raise DatabaseUnavailable("no free connection")
        async with db.autocommit() as connection:
            yield Slow(connection, goes_on) if leased == 1 else connection

    together = Rotations(lease)
    one = asyncio.create_task(together.rotate(first))
    await until(lambda: Slow.waiting == 1)
    other = asyncio.create_task(together.rotate(second))
    await until(lambda: leased == 2)
    assert not other.done()
    goes_on.set()

    assert None not in await asyncio.gather(one, other)


async def test_no_statement_takes_more_than_its_share(
    db: Database, begin: Begin, statements: Statements, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rotations, "MOST_TOGETHER", 4)
    attempts = await begin(10)
    statements.clear()

    rotated = await asyncio.gather(*(db.rotations.rotate(attempt) for attempt in attempts))

    assert None not in rotated
    assert 3 == len(statements), list(statements)


async def _digests(db: Database, attempts: Sequence[Attempt]) -> list[bytes]:
    async with db.autocommit() as connection:
        rows = await connection.fetch("SELECT id, attempt_digest FROM refresh_families")
    stored = {row["id"]: row["attempt_digest"] for row in rows}
    return [stored[attempt.token.family_id] for attempt in attempts]
