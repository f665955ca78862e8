"""Migrations: complete, reversible, safe to start twice."""

from __future__ import annotations

import asyncio
import sys

import pytest
from alembic.script import ScriptDirectory

from authsvc.store import migrate
from authsvc.store.database import Database
from authsvc.store.schema import SCHEMA_REVISION, current


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


async def _revision(url: str) -> str | None:
    db = await Database.open(url)
    try:
        return (await current(db)).revision
    finally:
        await db.close()
