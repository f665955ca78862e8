"""The pool of hot connections: bounded, patient for a while, and never a dirty connection twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import asyncpg
import pytest

from authsvc.protocol.errors import DatabaseUnavailable, InvalidRefreshToken, OutcomeUnknown
from authsvc.store.database import Database
from authsvc.store.hot_pool import HotPool
from tests.support.waiting import eventually

SIZE = 2
OWN_PID = "SELECT pg_backend_pid()"


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[HotPool]:
    async def connect() -> asyncpg.Connection:
        return await asyncpg.connect(database_url)

    pool = HotPool(connect, size=SIZE, patience=0.2)
    yield pool
    pool.close()


async def pid(connection: asyncpg.Connection) -> int:
    row = await connection.fetchrow("SELECT pg_backend_pid() AS pid")
    return int(row["pid"])


async def test_a_connection_is_used_again(pool: HotPool) -> None:
    first = await pool.acquire()
    pool.release(first)

    assert first is await pool.acquire()
    assert (1, 1) == (pool.in_use, pool.opened)


async def test_there_are_never_more_than_its_size(pool: HotPool) -> None:
    acquired = [await pool.acquire() for _ in range(SIZE)]

    with pytest.raises(TimeoutError):
        await pool.acquire()

    pool.release(acquired[0])
    assert acquired[0] is await pool.acquire()
    assert (SIZE, SIZE) == (pool.in_use, pool.opened)


async def test_whoever_waited_longest_is_served_first(pool: HotPool) -> None:
    acquired = [await pool.acquire() for _ in range(SIZE)]
    waiting = [asyncio.create_task(pool.acquire()) for _ in range(2)]
    await asyncio.sleep(0)

    pool.release(acquired[1])
    pool.release(acquired[0])

    assert [acquired[1], acquired[0]] == [await task for task in waiting]


async def test_a_waiter_that_was_cancelled_takes_nothing_with_it(pool: HotPool) -> None:
    acquired = [await pool.acquire() for _ in range(SIZE)]
    early = asyncio.create_task(pool.acquire())
    late = asyncio.create_task(pool.acquire())
    await asyncio.sleep(0)

    pool.release(acquired[0])  # handed to the first waiter …
    early.cancel()  # … which gives up before it runs again

    assert acquired[0] is await late
    with pytest.raises(asyncio.CancelledError):
        await early


async def test_a_discarded_connection_makes_room_for_a_new_one(pool: HotPool) -> None:
    acquired = [await pool.acquire() for _ in range(SIZE)]
    waiting = asyncio.create_task(pool.acquire())
    await asyncio.sleep(0)

    pool.discard(acquired[0])
    fresh = await waiting

    assert acquired[0].is_closed()
    assert await pid(fresh) != 0
    assert (SIZE, SIZE) == (pool.in_use, pool.opened)


async def test_one_that_died_while_it_was_idle_is_replaced(
    pool: HotPool, database_url: str
) -> None:
    dead = await pool.acquire()
    number = await pid(dead)
    pool.release(dead)
    killer = await asyncpg.connect(database_url)
    await killer.execute("SELECT pg_terminate_backend($1)", number)
    await killer.close()
    await eventually(dead.is_closed)

    assert number != await pid(await pool.acquire())
    assert (1, 1) == (pool.in_use, pool.opened)


async def test_a_connection_that_cannot_be_opened_costs_no_slot(database_url: str) -> None:
    attempts = 0

    async def connect() -> asyncpg.Connection:
        nonlocal attempts
        attempts += 1
        if attempts <= 2 * SIZE:
            raise OSError
        return await asyncpg.connect(database_url)

    pool = HotPool(connect, size=SIZE, patience=0.2)
    for _ in range(2 * SIZE):
        with pytest.raises(OSError):  # noqa: PT011 - raised above
            await pool.acquire()

    acquired = [await pool.acquire() for _ in range(SIZE)]
    assert SIZE == len(acquired)
    pool.close()


async def test_a_connection_left_by_an_exception_is_never_used_again(db: Database) -> None:
    """The dirty-connection trap: what a cancelled request leaves behind is nobody's."""

    async def slow() -> None:
        async with db.autocommit() as connection:
            await connection.fetchrow("SELECT pg_sleep(60)")

    request = asyncio.create_task(slow())
    await eventually(lambda: db.hot_pool_size[0] == 1)
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request

    assert (0, 0) == db.hot_pool_size
    async with db.autocommit() as connection:
        assert await connection.fetchrow("SELECT 1 AS one") is not None


async def test_an_error_of_the_server_closes_its_connection(db: Database) -> None:
    with pytest.raises(DatabaseUnavailable):
        async with db.autocommit() as connection:
            await connection.fetchrow("SELECT pg_terminate_backend(pg_backend_pid())")

    assert (0, 0) == db.hot_pool_size


async def test_our_own_refusal_keeps_it(db: Database) -> None:
    async def refuse() -> None:
        async with db.autocommit() as connection:
            await connection.fetchrow("SELECT 1")
            raise InvalidRefreshToken("reused")

    with pytest.raises(InvalidRefreshToken):
        await refuse()

    assert (0, 1) == db.hot_pool_size


async def acquired(db: Database, number: int) -> None:
    """So many connections, which then lie idle."""
    async with AsyncExitStack() as stack:
        for _ in range(number):
            await stack.enter_async_context(db.autocommit())


async def test_one_that_breaks_takes_the_idle_ones_with_it(db: Database) -> None:
    """A server that is gone leaves none alive; each that lay idle would cost a request 2 s."""
    await acquired(db, 3)
    async with db.transaction() as session:
        before = (await (await session.connection()).exec_driver_sql(OWN_PID)).scalar_one()

    with pytest.raises(OutcomeUnknown):
        async with db.autocommit() as connection:
            await connection.fetchrow("SELECT pg_terminate_backend(pg_backend_pid())")

    assert (0, 0) == db.hot_pool_size
    async with db.transaction() as session:
        after = (await (await session.connection()).exec_driver_sql(OWN_PID)).scalar_one()
    assert before != after


async def test_a_transaction_under_way_goes_on_when_another_connection_breaks(
    db: Database,
) -> None:
    async with db.transaction() as session:
        connection = await session.connection()
        before = (await connection.exec_driver_sql(OWN_PID)).scalar_one()
        with pytest.raises(OutcomeUnknown):
            async with db.autocommit() as hot:
                await hot.fetchrow("SELECT pg_terminate_backend(pg_backend_pid())")

        assert before == (await connection.exec_driver_sql(OWN_PID)).scalar_one()


async def test_a_statement_that_is_refused_leaves_the_idle_ones_alone(db: Database) -> None:
    await acquired(db, 2)

    with pytest.raises(asyncpg.DivisionByZeroError):
        async with db.autocommit() as connection:
            await connection.fetchrow("SELECT 1 / 0")

    assert (0, 1) == db.hot_pool_size
