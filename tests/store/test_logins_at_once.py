"""Logins of one account at once: never more live sessions than the limit."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from uuid import UUID

import asyncpg
import pytest

from authsvc.store import logins, sessions
from authsvc.store.database import Database
from authsvc.store.refresh_families import Family
from tests.store.test_many_sessions import live, value
from tests.support.accounts import add_user, log_in, login

WAITING = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


class Unlimited(asyncpg.Connection):  # type: ignore[misc]  # asyncpg has no types
    """A connection for hot statements that wait for as long as it takes."""

    now = None


async def log_in_at_once(url: str, user_id: UUID, *, count: int, max_sessions: int) -> list[Family]:
    """So many logins, each of which began before any of the others had ended."""
    async with AsyncExitStack() as stack:

        async def connect() -> Unlimited:
            connection: Unlimited = await asyncpg.connect(url, connection_class=Unlimited)
            stack.push_async_callback(connection.close)
            return connection

        gate, watch = await connect(), await connect()
        await gate.execute("BEGIN")
        await gate.execute("SELECT FROM users WHERE id = $1 FOR UPDATE", user_id)
        async with asyncio.TaskGroup() as group:
            started = [
                group.create_task(
                    logins.create_family(
                        await connect(), **login(user_id, max_sessions=max_sessions)
                    )
                )
                for _ in range(count)
            ]
            while await watch.fetchval(WAITING) < count:  # noqa: ASYNC110 - on the database
                await asyncio.sleep(0)
            await gate.execute("ROLLBACK")
    return [family for task in started if (family := task.result()) is not None]


async def ended_as_too_many(db: Database) -> set[UUID]:
    found = await value(
        db,
        "SELECT array_agg(f.id) FROM refresh_families f JOIN audit_records a ON a.family_id = f.id"
        " WHERE revoke_reason = 'too_many' AND a.event = 'session_revoked'"
        " AND a.details->>'reason' = 'too_many'",
    )
    return set(found or ())


@pytest.mark.finding("11.1")
@pytest.mark.parametrize(("max_sessions", "count"), [(1, 2), (3, 20), (25, 2), (25, 20)])
async def test_logins_at_once_end_those_that_were_idle_for_longest(
    db: Database, database_url: str, max_sessions: int, count: int
) -> None:
    user_id = await add_user(db)
    before = [
        (await log_in(db, user_id, max_sessions=max_sessions)).id for _ in range(max_sessions)
    ]

    begun = await log_in_at_once(database_url, user_id, count=count, max_sessions=max_sessions)

    assert (count, max_sessions) == (len(begun), await live(db, user_id))
    async with db.transaction() as session:
        alive = {family.id for family in await sessions.list_live(session, user_id)}
    # In the order of their beginning; which of those at once came first, only they know.
    assert set(before[count:]) <= alive
    assert (set(before) | {family.id for family in begun}) - alive == await ended_as_too_many(db)
    assert not set(before[:count]) & alive
    assert count == await value(db, "SELECT count(*)::int FROM revocations WHERE kind = 'sid'")


@pytest.mark.finding("11.1")
async def test_a_session_that_is_being_refreshed_is_not_idle(
    db: Database, database_url: str
) -> None:
    """Its row is taken: the login waits for no refresh, and the next in the row ends."""
    user_id = await add_user(db)
    first, second, third = [await log_in(db, user_id, max_sessions=3) for _ in range(3)]
    refreshing = await asyncpg.connect(database_url)
    try:
        await refreshing.execute("BEGIN")
        await refreshing.execute(
            "UPDATE refresh_families SET generation = 1 WHERE id = $1", first.id
        )
        fourth = await log_in(db, user_id, max_sessions=3)
        await refreshing.execute("COMMIT")
    finally:
        await refreshing.close()

    async with db.transaction() as session:
        alive = {family.id for family in await sessions.list_live(session, user_id)}
    assert {first.id, third.id, fourth.id} == alive
    assert {second.id} == await ended_as_too_many(db)
