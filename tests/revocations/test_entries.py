"""An entry is there exactly when the revocation is: the same statement writes both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from authsvc.flows import accounts, administer_sessions
from authsvc.flows.maintain import prune
from authsvc.flows.revoke_key import announce_key
from authsvc.protocol.audit import RevokeReason
from authsvc.protocol.errors import DatabaseUnavailable, SchemaMismatch
from authsvc.store import refresh_families, sessions, spent_jtis
from authsvc.store.database import Database
from authsvc.store.revocations import PRUNE_AFTER
from authsvc_client.tokens.revocations import Kind, digest
from tests.conftest import CALLER, LIFETIMES, MOMENT, START, database_at
from tests.support.accounts import add_user, log_in
from tests.support.revocation_entries import (
    announced_sessions,
    digest_of,
    entries,
    revoked_sessions,
)
from tests.support.waiting import HANGS


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    """Now is START, unless a test says otherwise."""
    database = await Database.open(database_url, now=lambda: MOMENT.get() or START)
    yield database
    await database.close()


async def end(
    db: Database, family_id: UUID, reason: RevokeReason, at: timedelta = timedelta(0)
) -> bool:
    async with db.autocommit() as connection:
        with database_at(START + at):
            return await refresh_families.revoke_family(
                connection, family_id, reason=reason, caller=CALLER
            )


Act = Callable[[Database, UUID], Awaitable[object]]


async def _disable(db: Database, user_id: UUID) -> None:
    await accounts.disable_account(db, user_id)


async def _set_password(db: Database, user_id: UUID) -> None:
    await accounts._store_password(db, user_id, "new", None)


async def _end_all(db: Database, user_id: UUID) -> None:
    await administer_sessions.revoke_user_sessions(db, user_id)


@pytest.mark.requirement("D4", "D5")
@pytest.mark.parametrize("act", [_disable, _set_password, _end_all])
async def test_whatever_ends_a_users_sessions_announces_each_that_lives(
    db: Database, act: Act
) -> None:
    user_id, other = await add_user(db), await add_user(db, "bob@example.com")
    dead, *_ = families = [await log_in(db, user_id) for _ in range(3)]
    await log_in(db, other)
    await end(db, dead.id, RevokeReason.LOGOUT)

    await act(db, user_id)
    await act(db, user_id)  # there is nothing left to announce

    assert sorted(digest_of(family.id) for family in families) == await announced_sessions(db)
    assert await revoked_sessions(db) == await announced_sessions(db)


@pytest.mark.requirement("D4", "D5")
async def test_deleting_an_account_leaves_the_entries_of_its_sessions(db: Database) -> None:
    user_id = await add_user(db)
    families = [await log_in(db, user_id) for _ in range(2)]

    await accounts.delete_account(db, user_id)

    assert sorted(digest_of(family.id) for family in families) == await announced_sessions(db)


@pytest.mark.requirement("R2", "D2", "D4")
@pytest.mark.parametrize("reason", [r for r in RevokeReason if r is not RevokeReason.TOKEN_REVOKED])
async def test_a_session_that_ends_is_announced_once_whatever_ended_it(
    db: Database, reason: RevokeReason
) -> None:
    family = await log_in(db, await add_user(db))

    ended = await asyncio.gather(*(end(db, family.id, reason) for _ in range(4)))

    assert 1 == sum(ended)
    assert [(Kind.SID, digest_of(family.id), None)] == await entries(db)


async def test_a_session_whose_tokens_are_dead_for_an_hour_is_not_announced(db: Database) -> None:
    user_id = await add_user(db)
    families = [await log_in(db, user_id) for _ in range(2)]
    age = LIFETIMES.idle + timedelta(seconds=3660)

    await end(db, families[0].id, RevokeReason.LOGOUT, age - timedelta(microseconds=1))
    await end(db, families[1].id, RevokeReason.LOGOUT, age)

    assert [digest_of(families[0].id)] == await announced_sessions(db)
    assert 2 == len(await revoked_sessions(db))


@pytest.mark.requirement("D7")
async def test_a_revocation_that_is_rolled_back_is_not_announced(db: Database) -> None:
    user_id = await add_user(db)
    await log_in(db, user_id)

    async def fail() -> None:
        async with db.transaction() as session:
            await sessions.revoke_many(session, reason="x", caller=None, user_id=user_id)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()

    assert [] == await announced_sessions(db)
    assert [] == await revoked_sessions(db)


@pytest.mark.requirement("D7")
async def test_a_revocation_that_cannot_be_announced_does_not_happen(
    db: Database, database_url: str
) -> None:
    """One statement: if the entry cannot be written, the session lives and the caller hears 503."""
    family = await log_in(db, await add_user(db))
    async with db.autocommit() as connection:
        await connection.fetchrow("ALTER TABLE revocations RENAME TO gone")
    restricted = await Database.open(database_url, now=lambda: START)
    try:
        with pytest.raises(SchemaMismatch):
            await end(restricted, family.id, RevokeReason.LOGOUT)
    finally:
        await restricted.close()
    async with db.autocommit() as connection:
        await connection.fetchrow("ALTER TABLE gone RENAME TO revocations")

    assert [] == await revoked_sessions(db) == await announced_sessions(db)


@pytest.mark.requirement("D7")
async def test_a_connection_that_breaks_in_the_statement_leaves_neither(db: Database) -> None:
    user_id = await add_user(db)
    family = await log_in(db, user_id)
    kill = (
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
        "WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )

    async with db.transaction() as session, asyncio.timeout(HANGS):
        await sessions.revoke_one(session, family.id, reason="x", caller=None)
        ending = asyncio.create_task(end(db, family.id, RevokeReason.LOGOUT))
        connection = await session.connection()
        while not (await connection.exec_driver_sql(kill)).scalar_one():
            pass
        with pytest.raises(DatabaseUnavailable):
            await ending
        await session.rollback()

    assert [] == await revoked_sessions(db)
    assert [] == await announced_sessions(db)


async def test_ending_all_sessions_of_everybody_announces_a_moment(db: Database) -> None:
    user_id = await add_user(db)
    for _ in range(3):
        await log_in(db, user_id)

    assert 3 == await administer_sessions.revoke_everybody(db)
    assert 0 == await administer_sessions.revoke_everybody(db)

    assert [(Kind.ISSUED_BEFORE, None, None)] == await entries(db)


@pytest.mark.requirement("T14")
async def test_a_change_of_roles_announces_the_next_version_and_ends_nothing(
    db: Database,
) -> None:
    user_id = await add_user(db)
    family = await log_in(db, user_id)

    await accounts.set_account_roles(db, user_id, ["admin"])
    await accounts.set_account_roles(db, user_id, ["admin"])  # no change
    await accounts.set_account_roles(db, user_id, [])

    subject = digest(str(user_id))
    assert [(Kind.VER, subject, 2), (Kind.VER, subject, 3)] == await entries(db)
    async with db.autocommit() as connection:
        loaded = await refresh_families.load(connection, family.id)
    assert loaded is not None
    assert (1, 3, None) == (family.grant.ver, loaded[0].grant.ver, loaded[1].revoked_at)


async def test_roles_changed_at_once_make_as_many_versions(db: Database) -> None:
    user_id = await add_user(db)

    await asyncio.gather(*(accounts.set_account_roles(db, user_id, [f"r{n}"]) for n in range(5)))

    assert [2, 3, 4, 5, 6] == [ver for _, _, ver in await entries(db)]


@pytest.mark.requirement("D4")
async def test_a_single_token_is_announced_by_its_jti_once(db: Database) -> None:
    for _ in range(2):
        async with db.autocommit() as connection:
            await spent_jtis.revoke_access_token(
                connection,
                client_id="shop",
                jti="1",
                issued_at=START,
                expires_at=START,
                caller=CALLER,
            )
    async with db.autocommit() as connection:
        await spent_jtis.consume_assertion(connection, client_id="shop", jti="2", expires_at=START)

    assert [(Kind.JTI, digest("1"), None)] == await entries(db)


@pytest.mark.requirement("K3")
async def test_a_key_is_announced(db: Database) -> None:
    await announce_key(db, "some-kid")

    assert [(Kind.KID, digest("some-kid"), None)] == await entries(db)


@pytest.mark.requirement("D3")
async def test_entries_are_kept_as_long_as_they_concern_a_token_and_the_newest_for_ever(
    db: Database,
) -> None:
    for _ in range(2):
        await announce_key(db, str(uuid4()))

    with database_at(START + PRUNE_AFTER):
        early = await prune(db, audit_retention=timedelta(days=1))
    with database_at(START + PRUNE_AFTER + timedelta(seconds=1)):
        pruned = await prune(db, audit_retention=timedelta(days=1))

    assert (0, 1) == (early.revocations, pruned.revocations)
    assert 1 == len(await entries(db))
