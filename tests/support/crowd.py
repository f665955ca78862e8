"""An account with very many sessions, and what a request wrote to end them."""

from __future__ import annotations

import json
from uuid import UUID

import asyncpg

from authsvc.store.hot_statement import HotConnection
from authsvc.store.tables import RefreshFamily

MANY = 100_000
TABLES = ("users", "refresh_families", "revocations", "audit_records", "unfinished_endings")

BATCH = 10_000  # copies a statement: within the service's limit of 2 s on a busy machine too
COLUMNS = ", ".join(name for name in RefreshFamily.model_fields if name != "id")
COPY = f"""
WITH original AS MATERIALIZED (
  SELECT (jsonb_populate_record(f, $2::jsonb)).* FROM refresh_families f WHERE f.id = $1
)
INSERT INTO refresh_families (id, {COLUMNS})
SELECT gen_random_uuid(), {COLUMNS} FROM original, generate_series(1, $3::int)
"""  # noqa: S608 - the names of our own table


async def copy_session(
    connection: HotConnection, family_id: UUID | str, count: int = MANY, **changes: object
) -> None:
    """So many more sessions like this one: of its user, its key and its generation."""
    for done in range(0, count, BATCH):
        batch = min(BATCH, count - done)
        await connection.fetchrow(COPY, UUID(str(family_id)), json.dumps(changes), batch)
    await connection.fetchrow("ANALYZE refresh_families")


async def copies(owner: asyncpg.Connection, family_id: UUID | str, count: int) -> list[UUID]:
    """Some of the copies."""
    rows = await owner.fetch(
        "SELECT id FROM refresh_families WHERE id <> $1 ORDER BY id LIMIT $2",
        UUID(str(family_id)),
        count,
    )
    return [row["id"] for row in rows]


async def mark(owner: asyncpg.Connection) -> int:
    """A transaction later than all before it; see `written`."""
    number: int = await owner.fetchval("SELECT pg_current_xact_id()::text::bigint")
    return number


async def written(owner: asyncpg.Connection, since: int) -> dict[str, int]:
    """How many rows of each table have been written by transactions after the mark."""
    return {
        table: await owner.fetchval(
            # The tables are constants of this module.
            f"SELECT count(*) FROM {table} WHERE xmin::text::bigint > $1",  # noqa: S608
            since,
        )
        for table in TABLES
    }


async def not_revoked(owner: asyncpg.Connection) -> int:
    """How many rows do not say yet that they have ended."""
    found: int = await owner.fetchval(
        "SELECT count(*) FROM refresh_families WHERE revoked_at IS NULL"
    )
    return found
