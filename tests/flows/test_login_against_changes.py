"""A login in flight does not survive what happens to the account meanwhile (SECURITY F14)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from urllib.parse import urlsplit
from uuid import UUID

import pytest
from sqlmodel.ext.asyncio.session import AsyncSession

from authsvc.protocol.audit import RevokeReason
from authsvc.store import sessions, users
from authsvc.store.database import Database
from tests.conftest import CALLER, database_at
from tests.support.accounts import HASH, add_user, live_sessions, log_in, try_log_in
from tests.support.databases import until_a_lock_is_waited_for

Change = Callable[[AsyncSession, UUID], Awaitable[object]]


async def _new_password(session: AsyncSession, user_id: UUID) -> None:
    await users.set_password(session, user_id, new_hash="new", verified_hash=HASH)


async def _disable(session: AsyncSession, user_id: UUID) -> None:
    await users.set_disabled(session, user_id, disabled=True)


@pytest.mark.requirement("R4")
@pytest.mark.parametrize("change", [_new_password, _disable])
async def test_a_login_that_waits_for_the_change_is_refused(db: Database, change: Change) -> None:
    user_id = await add_user(db)

    async with db.transaction() as session:
        await change(session, user_id)
        login = asyncio.create_task(try_log_in(db, user_id))
        await until_a_lock_is_waited_for(db)
        await sessions.revoke_many(
            session, reason=RevokeReason.PASSWORD_CHANGED, caller=CALLER, user_id=user_id
        )

    assert await login is None
    assert set() == await live_sessions(db)


@pytest.mark.requirement("R4")
@pytest.mark.parametrize("change", [_new_password, _disable])
async def test_a_login_that_was_quicker_is_revoked(db: Database, change: Change) -> None:
    user_id = await add_user(db)

    async with db.transaction() as session:
        family = await try_log_in(db, user_id)
        await change(session, user_id)
        await sessions.revoke_many(
            session, reason=RevokeReason.PASSWORD_CHANGED, caller=CALLER, user_id=user_id
        )

    assert family is not None
    assert set() == await live_sessions(db)


@pytest.mark.requirement("R4", "D5")
@pytest.mark.parametrize("change", [_new_password, _disable])
async def test_no_session_survives_a_change_it_raced_with(db: Database, change: Change) -> None:
    """Barrier pairs without any order; whatever the order was, nothing is left."""
    for _ in range(30):
        user_id = await add_user(db, f"{_}@example.com")

        async def revoke(user_id: UUID = user_id) -> None:
            async with db.transaction() as session:
                await change(session, user_id)
                await sessions.revoke_many(
                    session, reason=RevokeReason.PASSWORD_CHANGED, caller=CALLER, user_id=user_id
                )

        await asyncio.gather(try_log_in(db, user_id), revoke(), try_log_in(db, user_id))

        assert set() == await live_sessions(db)


async def test_pruning_keeps_a_family_until_a_day_after_its_absolute_expiry(
    db: Database,
) -> None:
    family = await log_in(db, await add_user(db))
    end = family.absolute_expires_at + timedelta(days=1)

    async with db.transaction() as session:
        with database_at(end):
            early = await sessions.prune_families(session, batch=500)
        with database_at(end + timedelta(microseconds=1)):
            late = await sessions.prune_families(session, batch=500)

    assert (0, 1) == (early, late)


@pytest.mark.requirement("R4", "D5")
async def test_the_isolation_level_is_ours_whatever_the_servers_default_is(
    database_url: str,
) -> None:
    """Under a stricter one, ending all sessions would not see the login it waited for."""
    name = urlsplit(database_url).path.removeprefix("/")
    owner = await Database.open(database_url)
    async with owner.autocommit() as connection:
        await connection.fetchrow(
            f"ALTER DATABASE \"{name}\" SET default_transaction_isolation = 'repeatable read'"
        )
    await owner.close()
    db = await Database.open(database_url)
    try:
        async with db.transaction() as session:
            level = await (await session.connection()).exec_driver_sql("SHOW transaction_isolation")
            assert "read committed" == level.scalar_one()
        async with db.autocommit() as connection:
            row = await connection.fetchrow("SHOW transaction_isolation")
            assert row is not None
            assert "read committed" == row["transaction_isolation"]
    finally:
        await db.close()
