"""
The schema that a database has: its revision, the version table, and whether its tables are there.

The version table has a name of our own. `alembic_version`, Alembic's default, is also that of
every other application that uses Alembic, and its revision said nothing about our tables.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Select, Text, column, select, table, text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlmodel import SQLModel

import authsvc.store.tables  # noqa: F401 - fills SQLModel.metadata
from authsvc.protocol.errors import SchemaMismatch
from authsvc.store.database import Database

# The newest revision in alembic/versions: what this code needs. A test holds the two together.
SCHEMA_REVISION = "0009"
VERSION_TABLE = "authsvc_version"
# Where versions up to 0.1 wrote their revision. It stays, so that their replicas go on.
FORMER_TABLE = "alembic_version"
# What the first migration made: with these beside it, the former table is ours.
FIRST_TABLES = ("audit_records", "refresh_families", "throttle_counters", "users")
OURS = re.compile(r"[0-9]{4}")
PRESENT = text(
    "SELECT name FROM unnest(CAST(:names AS text[])) AS name "
    "WHERE to_regclass(quote_ident(name)) IS NOT NULL"
)


@dataclass(frozen=True, slots=True)
class Schema:
    """
    Args:
        revision: None before the first migration.
        missing: Tables that a schema of this revision has and the database has not.
        carried: Whether the revision is in the table of our own name.
    """

    revision: str | None
    missing: tuple[str, ...] = ()
    carried: bool = True

    @property
    def suffices(self) -> bool:
        """
        Whether this code can run on it.

        A newer one will do: every migration leaves what the version before it needs, so that
        replicas of both can run while a release is rolled out. Revisions have four digits.
        """
        return self.ours and (self.revision or "") >= SCHEMA_REVISION and not self.missing

    @property
    def ours(self) -> bool:
        """Whether there is a revision, and one that authsvc may ever have."""
        return self.revision is not None and OURS.fullmatch(self.revision) is not None

    @property
    def fault(self) -> str | None:
        """Why this code cannot run on it, and after a colon what to do; None if it can."""
        if self.suffices:
            return None
        if self.revision is not None and not self.ours:
            return (
                f"says {self.revision}, which is no revision of authsvc: {VERSION_TABLE} must have "
                "one row of four digits; restore the database from a backup"
            )
        if self.missing:
            return (
                f"says {self.revision}, but there is no table {', '.join(self.missing)}: restore "
                "the database from a backup, or point AUTHSVC_DATABASE_URL at the right one"
            )
        return f"is {self.revision or 'empty'}, not {SCHEMA_REVISION}: run `authsvc db upgrade`"


async def current(db: Database) -> Schema:
    """
    The database's schema.

    Raises:
        DatabaseUnavailable: It cannot be asked.
    """
    try:
        async with db.transaction() as session:
            return await _read(await session.connection())
    except (SchemaMismatch, ProgrammingError):  # the version table is not ours to read
        return Schema(None)


async def _read(connection: AsyncConnection) -> Schema:
    tables = sorted(SQLModel.metadata.tables)
    names = [*tables, VERSION_TABLE, FORMER_TABLE]
    present = set((await connection.execute(PRESENT, {"names": names})).scalars())
    if VERSION_TABLE in present:
        revisions = (await connection.execute(revision_in(VERSION_TABLE))).scalars().all()
        found = Schema(" and ".join(sorted(revisions)) or None)
        absent = tuple(name for name in tables if name not in present)
        return replace(found, missing=absent) if found.suffices else found
    if FORMER_TABLE in present:
        former = (await connection.execute(revision_in(FORMER_TABLE))).scalars().all()
        needed = tables if SCHEMA_REVISION in former else FIRST_TABLES
        if is_ours(former) and present.issuperset(needed):
            return Schema(former[0], carried=False)
    return Schema(None)


def revision_in(version_table: str) -> Select[str]:
    """What reads a version table."""
    return select(column("version_num", Text())).select_from(table(version_table))


def is_ours(revisions: Sequence[str]) -> bool:
    """Whether the former table may hold a revision of ours: one, and none that is yet to come."""
    return (
        len(revisions) == 1
        and OURS.fullmatch(revisions[0]) is not None
        and revisions[0] <= SCHEMA_REVISION
    )
