"""An account with very many sessions can be stopped, and gets no more than it may have."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from authsvc.flows import accounts, administer_sessions, maintain
from authsvc.protocol.audit import RevokeReason
from authsvc.protocol.refresh import Verdict, verdict
from authsvc.store import endings, logins, refresh_families, rotation, sessions, users
from authsvc.store.database import Database
from authsvc.store.hot_statement import HotConnection
from authsvc.store.refresh_families import Family
from authsvc.store.rotation import RotationRequest
from authsvc.store.tables import RefreshFamily
from tests.conftest import CALLER, LIFETIMES, START, Statements
from tests.support.accounts import add_user, log_in, login
from tests.support.crowd import MANY, copy_session


async def copy(db: Database, family: Family, count: int, **changes: object) -> None:
    """More rows like that one."""
    async with db.autocommit() as connection:
        await copy_session(connection, family.id, count, **changes)


async def crowd(db: Database, count: int = MANY) -> tuple[UUID, Family]:
    """An account with so many live sessions and one more."""
    user_id = await add_user(db)
    family = await log_in(db, user_id)
    await copy(db, family, count)
    return user_id, family


async def refresh(db: Database, family: Family) -> Family | None:
    request = RotationRequest(
        token=family.newest_token,
        successor_key_id=b"l" * 8,
        digest=b"d" * 32,
        lifetimes=LIFETIMES,
        caller=CALLER,
    )
    async with db.autocommit() as connection:
        return await rotation.rotate(connection, request)


async def live(db: Database, user_id: UUID) -> int:
    return await administer_sessions.count_sessions(db, user_id)


async def value(db: Database, query: str, *arguments: object) -> Any:
    async with db.autocommit() as connection:
        row = await connection.fetchrow(query, *arguments)
    return None if row is None else row[0]  # type: ignore[index]  # asyncpg's have both


async def _revoke(db: Database, user_id: UUID) -> object:
    return await administer_sessions.revoke_user_sessions(db, user_id)


async def _disable(db: Database, user_id: UUID) -> object:
    return await accounts.disable_account(db, user_id)


async def _delete(db: Database, user_id: UUID) -> object:
    return await accounts.delete_account(db, user_id)


async def _set_password(db: Database, user_id: UUID) -> object:
    return await accounts._store_password(db, user_id, "new", None)


@pytest.mark.finding("11.1", "P38")
@pytest.mark.parametrize("end", [_revoke, _disable, _delete, _set_password])
async def test_the_end_of_all_sessions_does_not_depend_on_their_number(
    db: Database, end: Callable[[Database, UUID], Awaitable[object]]
) -> None:
    user_id, family = await crowd(db)
    stray = await value(
        db, "SELECT id FROM refresh_families WHERE id <> $1 AND revoked_at IS NULL", family.id
    )

    await end(db, user_id)

    # Ended, all of them, while nearly all rows are as they were.
    assert 0 == await live(db, user_id)
    assert await refresh(db, family) is None
    untouched = await value(
        db, "SELECT count(*)::int FROM refresh_families WHERE revoked_at IS NULL"
    )
    assert untouched >= MANY - 2 * endings.AT_ONCE
    if end is not _delete:
        async with db.autocommit() as connection:
            loaded = await refresh_families.load(connection, stray)
        assert loaded is not None
        found, state = loaded
        assert Verdict.REVOKED == verdict(
            state,
            found.newest_token,
            attempt_digest=b"",
            retry_window=timedelta(0),
            now=found.now,
        )


@pytest.mark.finding("11.1", "P38")
async def test_one_entry_speaks_for_all_and_one_record_for_all_but_the_first(
    db: Database,
) -> None:
    user_id, _ = await crowd(db, 1000)

    ended = await administer_sessions.revoke_user_sessions(db, user_id, reason="moved")

    assert endings.AT_ONCE == ended
    assert 1 == await value(db, "SELECT count(*)::int FROM revocations WHERE kind = 'ver'")
    assert 2 == await value(db, "SELECT least_ver FROM revocations WHERE kind = 'ver'")
    assert 0 == await value(db, "SELECT count(*)::int FROM revocations WHERE kind = 'sid'")
    rest = await value(
        db,
        "SELECT details::text FROM audit_records"
        " WHERE event = 'session_revoked' AND family_id IS NULL",
    )
    assert {"reason": "moved", "below_epoch": 2} == json.loads(rest)


@pytest.mark.finding("11.1", "P38")
async def test_what_lives_on_moves_along(db: Database) -> None:
    user_id, family = await crowd(db, 1000)

    async with db.transaction() as session:
        await sessions.revoke_many(
            session,
            reason=RevokeReason.LOGOUT_OTHERS,
            caller=CALLER,
            user_id=user_id,
            keep=(family.id,),
        )

    assert 1 == await live(db, user_id)
    refreshed = await refresh(db, family)
    assert refreshed is not None
    assert 2 == refreshed.ver


@pytest.mark.finding("11.1")
async def test_a_session_that_has_ended_does_not_come_back_as_the_one_that_is_kept(
    db: Database,
) -> None:
    user_id, family = await crowd(db, 1000)
    await administer_sessions.revoke_user_sessions(db, user_id)

    async with db.transaction() as session:
        await sessions.revoke_many(
            session, reason="x", caller=None, user_id=user_id, keep=(family.id,)
        )

    assert 0 == await live(db, user_id)
    assert await refresh(db, family) is None


async def _end_all(session: AsyncSession, user_id: UUID) -> None:
    await sessions.revoke_many(session, reason="moved", caller=None, user_id=user_id)


async def _tidy(session: AsyncSession, user_id: UUID) -> None:
    del user_id
    assert endings.AT_ONCE == await endings.finish(session, batch=endings.AT_ONCE)


async def _delete_user(session: AsyncSession, user_id: UUID) -> None:
    await users.remove(session, user_id)
    await endings.forget_user(session, user_id)


@pytest.mark.finding("11.1")
async def test_no_row_is_looked_at_that_does_not_end(db: Database) -> None:
    """Even where the account is most of the table, and most of its sessions ended long ago."""
    user_id = await add_user(db)
    family = await log_in(db, user_id)
    await copy(db, family, MANY, revoked_at=START.isoformat(), revoke_reason="logout")
    await copy(db, family, MANY // 4)

    for act in (_end_all, _tidy, _delete_user, _tidy):
        async with db.transaction() as session:
            await act(session, user_id)
            read = await (await session.connection()).scalar(text(READ))

        assert 0 < read <= 10 * endings.AT_ONCE, act.__name__


# How many rows this connection has read of late.
READ = """
SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = 'refresh_families'
"""


@pytest.mark.finding("11.1", "P38")
async def test_the_rows_are_tidied_behind_and_any_time_is_good_to_stop(db: Database) -> None:
    user_id, _ = await crowd(db, 1000)
    await administer_sessions.revoke_user_sessions(db, user_id, reason="moved")
    young = await log_in(db, user_id)

    async with db.transaction() as session:
        assert 500 == await endings.finish(session, batch=500)
    async with db.transaction() as session:
        assert 301 == await endings.finish(session, batch=500)

    assert 1 == await live(db, user_id)
    assert await refresh(db, young) is not None
    assert 1001 == await value(
        db, "SELECT count(*)::int FROM refresh_families WHERE revoke_reason = 'moved'"
    )
    assert 0 == await value(db, "SELECT count(*)::int FROM unfinished_endings")


@pytest.mark.finding("11.1", "P38")
async def test_the_rows_of_a_deleted_user_go(db: Database) -> None:
    user_id, _ = await crowd(db, 1000)
    other = await log_in(db, await add_user(db, "b@example.com"))
    await accounts.delete_account(db, user_id)

    done = await maintain.prune(db, audit_retention=timedelta(days=1))

    assert 1001 - endings.AT_ONCE == done.endings
    assert other.id == await value(db, "SELECT id FROM refresh_families")
    assert 0 == await value(db, "SELECT count(*)::int FROM unfinished_endings")


@pytest.mark.finding("11.1")
async def test_a_login_above_the_limit_ends_the_one_that_was_idle_for_longest(
    db: Database,
) -> None:
    user_id = await add_user(db)
    first, second, third = [await log_in(db, user_id, max_sessions=3) for _ in range(3)]
    assert await refresh(db, first) is not None

    fourth = await log_in(db, user_id, max_sessions=3)

    async with db.transaction() as session:
        found = {family.id for family in await sessions.list_live(session, user_id)}
        ended = await session.get(RefreshFamily, second.id)
    assert {first.id, third.id, fourth.id} == found
    assert ended is not None
    assert "too_many" == ended.revoke_reason
    assert second.id == await value(
        db,
        "SELECT family_id FROM audit_records"
        " WHERE event = 'session_revoked' AND details->>'reason' = 'too_many'",
    )
    assert 1 == await value(db, "SELECT count(*)::int FROM revocations WHERE kind = 'sid'")


@pytest.mark.finding("11.1")
async def test_the_limit_costs_the_same_however_many_rows_an_account_has(db: Database) -> None:
    """The dead ones are not looked at, and of too many live ones a hundred end at a time."""
    user_id = await add_user(db)
    family = await log_in(db, user_id)
    await copy(db, family, MANY, revoked_at=START.isoformat(), revoke_reason="logout")
    await copy(db, family, 1000)

    assert 1001 == await live(db, user_id)
    await log_in(db, user_id, max_sessions=10)
    assert 1001 - 101 + 1 == await live(db, user_id)
    for _ in range(9):
        await log_in(db, user_id, max_sessions=10)

    assert 10 == await live(db, user_id)
    async with db.autocommit() as connection:
        explained = Explained(connection)
        await logins.create_family(explained, **login(user_id, max_sessions=10))
    assert max(_rows(explained.plan)) <= 10 + 100


class Explained:
    """Keeps the plan of a statement that it runs, and returns no row."""

    now = None

    def __init__(self, connection: HotConnection) -> None:
        self._connection = connection
        self.plan: dict[str, Any] = {}

    async def fetchrow(self, query: str, *args: object) -> None:
        found = await self.fetch(query, *args)
        self.plan = json.loads(found[0][0])[0]["Plan"]

    async def fetch(self, query: str, *args: object) -> Any:
        return await self._connection.fetch(f"EXPLAIN (ANALYZE, FORMAT JSON) {query}", *args)


def _rows(node: dict[str, Any]) -> list[int]:
    """How many rows each node has looked at."""
    looked_at = node["Actual Rows"] * node["Actual Loops"]
    looked_at += node.get("Rows Removed by Filter", 0) * node["Actual Loops"]
    return [looked_at, *(rows for child in node.get("Plans", ()) for rows in _rows(child))]


@pytest.mark.finding("11.1")
async def test_the_limit_is_kept_within_the_statement_of_the_login(
    db: Database, statements: Statements
) -> None:
    user_id = await add_user(db)
    await log_in(db, user_id, max_sessions=1)
    statements.clear()

    await log_in(db, user_id, max_sessions=1)

    assert 1 == len(statements)
    assert 1 == await live(db, user_id)


async def _end_from_a_request(db: Database, family: Family) -> bool:
    async with db.autocommit() as connection:
        return await refresh_families.revoke_family(
            connection, family.id, reason=RevokeReason.LOGOUT, caller=CALLER
        )


async def _end_by_an_operator(db: Database, family: Family) -> bool:
    async with db.transaction() as session:
        return await sessions.revoke_one(session, family.id, reason="moved", caller=None)


@pytest.mark.finding("11.1")
@pytest.mark.parametrize("end", [_end_from_a_request, _end_by_an_operator])
async def test_a_session_that_ended_with_all_does_not_end_again(
    db: Database, end: Callable[[Database, Family], Awaitable[bool]]
) -> None:
    """Its row says so later; until then nothing is audited, announced or said to have ended."""
    user_id = await add_user(db)
    family = await log_in(db, user_id)
    async with db.transaction() as session:
        await endings.raise_epoch(session, user_id)
    told = "SELECT (SELECT count(*) FROM audit_records) + (SELECT count(*) FROM revocations)"
    before = await value(db, told)

    ended = await end(db, family)

    assert not ended
    assert before == await value(db, told)
    assert await end(db, await log_in(db, user_id))
