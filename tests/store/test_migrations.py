"""Migrations: complete, reversible, safe to start twice."""

from __future__ import annotations

import asyncio
import sys
from uuid import UUID

import asyncpg
import pytest
from alembic.script import ScriptDirectory

from authsvc.store import migrate
from authsvc.store.database import Database
from authsvc.store.schema import SCHEMA_REVISION, current
from tests.support.accounts import add_user, log_in


def test_the_code_names_the_newest_migration() -> None:
    assert (
        SCHEMA_REVISION == ScriptDirectory.from_config(migrate.configuration()).get_current_head()
    )


async def test_the_migrated_schema_is_what_the_tables_say(database_url: str) -> None:
    await migrate.check(database_url)


async def test_migrations_go_down_to_base_and_up_again(empty_database_url: str) -> None:
    await migrate.upgrade(empty_database_url)
    await migrate.downgrade(empty_database_url, "base")
    assert await _revision(empty_database_url) is None

    await migrate.upgrade(empty_database_url)

    await migrate.check(empty_database_url)
    assert SCHEMA_REVISION == await _revision(empty_database_url)


@pytest.mark.requirement("Z5")
async def test_two_migrations_that_start_at_once_do_it_once(empty_database_url: str) -> None:
    program = (
        "import asyncio, sys; from authsvc.store import migrate;"
        "asyncio.run(migrate.upgrade(sys.argv[1]))"
    )
    both = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", program, empty_database_url)
        for _ in range(2)
    ]

    assert [0, 0] == [await process.wait() for process in both]
    assert SCHEMA_REVISION == await _revision(empty_database_url)


@pytest.mark.finding("11.1")
async def test_families_of_the_version_before_live_until_their_user_ends_all(
    empty_database_url: str,
) -> None:
    """Those that are there, and those that its replicas write beside the new ones (0005)."""
    await migrate.upgrade(empty_database_url)
    user_id, first = await _user_with_a_family(empty_database_url)
    await migrate.downgrade(empty_database_url, "0004")
    connection = await asyncpg.connect(empty_database_url)
    try:
        names = await connection.fetch(
            "SELECT column_name::text FROM information_schema.columns"
            " WHERE table_name = 'refresh_families' AND column_name <> 'id'"
        )
        columns = ", ".join(name for (name,) in names)
        old_insert = (
            f"INSERT INTO refresh_families (id, {columns}) SELECT gen_random_uuid(), {columns}"  # noqa: S608 - the names are the schema's
            " FROM refresh_families WHERE id = $1 RETURNING id"
        )
        there = await connection.fetchval(old_insert, first)
        await migrate.upgrade(empty_database_url)
        before = await connection.fetchval(old_insert, first)

        alive = await _alive(connection)
        await connection.execute("UPDATE users SET session_epoch = 2 WHERE id = $1", user_id)
        after = await connection.fetchval(old_insert, first)

        assert "epoch" not in columns.split(", ")
        assert {first, there, before} == alive
        assert {after} == await _alive(connection)
    finally:
        await connection.close()


async def test_a_session_for_another_audience_does_not_outlive_its_column(
    empty_database_url: str,
) -> None:
    """The version before 0009 would hand out tokens for AUTHSVC_AUDIENCE instead."""
    await migrate.upgrade(empty_database_url)
    _, own = await _user_with_a_family(empty_database_url)
    connection = await asyncpg.connect(empty_database_url)
    try:
        await connection.execute(
            "INSERT INTO refresh_families SELECT (jsonb_populate_record(f, jsonb_build_object("
            "'id', gen_random_uuid(), 'audience', 'https://orders.example.com'))).*"
            " FROM refresh_families f"
        )
        both = await _alive(connection)
        await migrate.downgrade(empty_database_url, "0008")

        assert (2, {own}) == (len(both), await _alive(connection))
    finally:
        await connection.close()


async def _user_with_a_family(url: str) -> tuple[UUID, UUID]:
    db = await Database.open(url)
    try:
        user_id = await add_user(db)
        return user_id, (await log_in(db, user_id)).id
    finally:
        await db.close()


async def _alive(connection: asyncpg.Connection) -> set[UUID]:
    rows = await connection.fetch(
        "SELECT f.id FROM refresh_families f JOIN users u ON u.id = f.user_id"
        " WHERE f.epoch = u.session_epoch AND f.revoked_at IS NULL"
    )
    return {row["id"] for row in rows}


async def _revision(url: str) -> str | None:
    db = await Database.open(url)
    try:
        return (await current(db)).revision
    finally:
        await db.close()
