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
from authsvc.protocol.refresh import Delivery
from authsvc.store import logins, sessions, users
from authsvc.store.admission import Place
from authsvc.store.database import Database
from authsvc.store.logins import NewSession, PasswordVerified
from authsvc.store.refresh_families import Family
from tests.conftest import CALLER, LIFETIMES, database_at

Change = Callable[[AsyncSession, UUID], Awaitable[object]]


async def _new_password(session: AsyncSession, user_id: UUID) -> None:
    await users.set_password(session, user_id, new_hash="new", verified_hash="old")


async def _disable(session: AsyncSession, user_id: UUID) -> None:
    await users.set_disabled(session, user_id, disabled=True)


async def _log_in(db: Database, user_id: UUID) -> Family | None:
    """The second statement of a login whose password was verified against `old`."""
    async with db.autocommit() as connection:
        return await logins.create_family(
            connection,
            NewSession(PasswordVerified(user_id, "old"), Delivery.NATIVE, remember=True),
            mac_key_id=b"k" * 8,
            lifetimes=LIFETIMES,
            place=Place("a@example.com", "203.0.113.7/32", None),
            caller=CALLER,
        )


async def _user(db: Database) -> UUID:
    async with db.transaction() as session:
        user = await users.create(session, email="a@example.com", password_hash="old")
    assert user is not None
    return user.id


async def _live(db: Database, user_id: UUID) -> int:
    async with db.transaction() as session:
        return len(await sessions.list_live(session, user_id))


async def _until_blocked(db: Database) -> None:
    """Until some statement waits for a lock; it must come to that."""
    async with asyncio.timeout(5), db.autocommit() as connection:
        waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        while await connection.fetchrow(waiting) is None:
            pass


@pytest.mark.requirement("R4")
@pytest.mark.parametrize("change", [_new_password, _disable])
async def test_a_login_that_waits_for_the_change_is_refused(db: Database, change: Change) -> None:
    user_id = await _user(db)

    async with db.transaction() as session:
        await change(session, user_id)
        login = asyncio.create_task(_log_in(db, user_id))
        await _until_blocked(db)
        await sessions.revoke_many(
            session, reason=RevokeReason.PASSWORD_CHANGED, caller=CALLER, user_id=user_id
        )

    assert await login is None
    assert 0 == await _live(db, user_id)


@pytest.mark.requirement("R4")
@pytest.mark.parametrize("change", [_new_password, _disable])
async def test_a_login_that_was_quicker_is_revoked(db: Database, change: Change) -> None:
    user_id = await _user(db)

    async with db.transaction() as session:
        family = await _log_in(db, user_id)
        await change(session, user_id)
        await sessions.revoke_many(
            session, reason=RevokeReason.PASSWORD_CHANGED, caller=CALLER, user_id=user_id
        )

    assert family is not None
    assert 0 == await _live(db, user_id)


@pytest.mark.requirement("R4", "D5")
@pytest.mark.parametrize("change", [_new_password, _disable])
async def test_no_session_survives_a_change_it_raced_with(db: Database, change: Change) -> None:
    """Barrier pairs without any order; whatever the order was, nothing is left."""
    for _ in range(30):
        async with db.transaction() as session:
            user = await users.create(session, email=f"{_}@example.com", password_hash="old")
        assert user is not None
        user_id = user.id

        async def revoke(user_id: UUID = user_id) -> None:
            async with db.transaction() as session:
                await change(session, user_id)
                await sessions.revoke_many(
                    session, reason=RevokeReason.PASSWORD_CHANGED, caller=CALLER, user_id=user_id
                )

        await asyncio.gather(_log_in(db, user_id), revoke(), _log_in(db, user_id))

        assert 0 == await _live(db, user_id)


async def test_pruning_keeps_a_family_until_a_day_after_its_absolute_expiry(
    db: Database,
) -> None:
    family = await _log_in(db, await _user(db))
    assert family is not None
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
