"""Databases of the tests' server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import asyncpg

from authsvc.embedded_postgres import EmbeddedPostgres
from authsvc.store.database import Database
from tests.support.waiting import eventually_true

WAITS = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"


@asynccontextmanager
async def database(postgres: EmbeddedPostgres, template: str = "template1") -> AsyncIterator[str]:
    """The URL of a new one, a copy of the template; dropped at the end."""
    name = f"test_{uuid4().hex}"
    copied = f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY file_copy'
    await administer(postgres.url, copied)
    yield url_of(postgres, name)
    await administer(postgres.url, f'DROP DATABASE "{name}" WITH (FORCE)')


def url_of(postgres: EmbeddedPostgres, name: str) -> str:
    return postgres.url.replace("/authsvc?", f"/{name}?")


async def administer(url: str, *statements: str) -> None:
    """Statements that no transaction may surround, on a connection of their own."""
    connection = await asyncpg.connect(url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def until_a_lock_is_waited_for(db: Database) -> None:
    """By some statement; it must come to that."""
    async with db.autocommit() as connection:
        await eventually_true(lambda: connection.fetchrow(WAITS))
