"""What the PostgreSQL server is like: asked by `authsvc doctor`, and in part by `/readyz`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from sqlmodel import SQLModel

from authsvc.store.database import Database
from authsvc.store.hot_statement import HotConnection, read
from authsvc.store.schema import VERSION_TABLE

# What `serve` needs on each of its tables. FOR UPDATE and FOR SHARE need UPDATE as well.
PRIVILEGES = ("SELECT", "INSERT", "UPDATE", "DELETE")


@dataclass(frozen=True, slots=True)
class DatabaseServer:
    """
    The server and what the configured role may do there.

    Args:
        now: The database's clock.
        version: Such as 180004.
        refusal: Why it would refuse a write, and what to do; None if it takes one.
        local: Whether it is on this machine: a Unix socket or a loopback address.
        encoding: Such as UTF8.
        encrypted: Whether our connection uses TLS.
        superuser: Whether the role may do everything.
        creates: Whether the role may make tables in the schema.
        connections: How many connections the server takes from roles like ours.
        missing: The privileges that `serve` needs and the role lacks, as `INSERT on users`.
        absent: The tables that are not there, on which nobody has a privilege.
    """

    now: datetime
    version: int
    version_name: str
    refusal: str | None
    fsync: bool
    full_page_writes: bool
    synchronous_commit: str
    local: bool
    encoding: str
    encrypted: bool
    role: str
    superuser: bool
    creates: bool
    connections: int
    missing: tuple[str, ...]
    absent: tuple[str, ...]


# Whether a transaction may write, not inferred from the server's role: managed databases refuse by
# default_transaction_read_only when their disk is full. What a role or a database is set to counts
# for new connections only, so that the one that asks does not feel it; the narrower setting wins.
# Of standbys a role without pg_read_all_stats sees that they are there, and no more.
WRITES = """
    pg_is_in_recovery() AS standby,
    current_setting('transaction_read_only')::bool AS read_only,
    coalesce((
        SELECT option_value::bool
        FROM pg_db_role_setting, pg_options_to_table(setconfig)
        WHERE option_name = 'default_transaction_read_only'
            AND setdatabase IN
                (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
            AND setrole IN (0, (SELECT oid FROM pg_roles WHERE rolname = session_user))
        ORDER BY setrole = 0, setdatabase = 0
        LIMIT 1
    ), false) AS next_read_only,
    current_setting('synchronous_standby_names') <> ''
        AND current_setting('synchronous_commit') NOT IN ('local', 'off')
        AND NOT EXISTS (
            SELECT FROM pg_stat_replication
            WHERE sync_state IS NULL OR sync_state IN ('sync', 'quorum')
        ) AS waits,
    current_setting('server_encoding') AS encoding"""


async def refusal_of(db: Database, row: Mapping[str, Any]) -> str | None:
    """
    Why a write would be refused; what to do follows a colon.

    Args:
        row: One with WRITES.
    """
    if row["standby"]:
        return "is read-only, so it is a standby: point AUTHSVC_DATABASE_URL at the primary"
    if row["waits"]:
        return (
            "waits with every commit for a synchronous standby that is away: bring it back, or "
            "take it out of synchronous_standby_names"
        )
    if row["read_only"] or row["next_read_only"]:
        return (
            "refuses writes (default_transaction_read_only is on): see whether its disk is full "
            "or its provider has locked it, then switch that off"
        )
    await db.try_to_write()
    return db.refused_writes.cause()


def encoding_fault(encoding: str) -> str | None:
    """Why names and addresses cannot be kept, and what to do; None in UTF8, which keeps all."""
    if encoding == "UTF8":
        return None
    return (
        f"has the encoding {encoding}, which cannot keep every name: make another with "
        "CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"
    )


async def inspect(db: Database) -> DatabaseServer:
    """
    Ask the server about itself; changes nothing.

    Raises:
        DatabaseUnavailable: It cannot be asked.
    """
    async with db.autocommit() as connection:
        [row] = await connection.fetch(_STATEMENT)
        missing, absent = await lacking(connection)
    refusal = await refusal_of(db, row)
    return read(DatabaseServer, row, refusal=refusal, missing=missing, absent=absent)


async def lacking(connection: HotConnection) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What `serve` needs and the role may not do, and the tables that are not there."""
    [needed] = await connection.fetch(_privileges())
    missing = tuple(name for name, has in needed.items() if has is False)
    tables = sorted(SQLModel.metadata.tables)
    return missing, tuple(name for name in tables if needed[f"SELECT on {name}"] is None)


_STATEMENT = f"""
SELECT
    clock_timestamp() AS now,
    current_setting('server_version_num')::int AS version,
    current_setting('server_version') AS version_name,
    {WRITES},
    current_setting('fsync')::bool AS fsync,
    current_setting('full_page_writes')::bool AS full_page_writes,
    current_setting('synchronous_commit') AS synchronous_commit,
    coalesce(host(inet_server_addr()) IN ('127.0.0.1', '::1'), true) AS local,
    coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false) AS encrypted,
    current_user AS role,
    (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS superuser,
    coalesce(has_schema_privilege(current_schema(), 'CREATE'), false) AS creates,
    current_setting('max_connections')::int
        - current_setting('superuser_reserved_connections')::int AS connections
"""  # noqa: S608 - a constant of this file


@cache
def _privileges() -> str:
    """A column for each table and privilege; NULL for a table that is not there."""
    needed = [(table, each) for table in sorted(SQLModel.metadata.tables) for each in PRIVILEGES]
    columns = [
        f"has_table_privilege(to_regclass('{table}'), '{privilege}') AS \"{privilege} on {table}\""
        for table, privilege in [(VERSION_TABLE, "SELECT"), *needed]
    ]
    return f"SELECT {', '.join(columns)}"
