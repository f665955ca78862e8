"""An account with very many sessions, and what a request wrote to end them."""

from __future__ import annotations

from uuid import UUID

import asyncpg

MANY = 100_000
TABLES = ("users", "refresh_families", "revocations", "audit_records", "unfinished_endings")

COPY = """
INSERT INTO refresh_families SELECT (r).* FROM (
  SELECT jsonb_populate_record(f, jsonb_build_object('id', gen_random_uuid())) AS r
  FROM refresh_families f, generate_series(1, $2::int) WHERE f.id = $1
) copies
"""


async def copy_session(owner: asyncpg.Connection, family_id: UUID | str, count: int = MANY) -> None:
    """So many more sessions like this one: of its user, its key and its generation."""
    await owner.execute(COPY, UUID(str(family_id)), count)
    await owner.execute("ANALYZE refresh_families")


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
