"""Before any migration: carry an older installation's revision over, keep off what is foreign."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Connection, text
from sqlmodel import SQLModel

from authsvc.store.migrate import MigrationRefused
from authsvc.store.schema import FIRST_TABLES, FORMER_TABLE, VERSION_TABLE, is_ours, revision_in
from authsvc.store.server import encoding_fault

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

ENCODING = text("SELECT current_setting('server_encoding')")
# Where our tables would be made; elsewhere on the search path others may have theirs.
TAKEN = text(
    "SELECT relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace "
    "AND relname = ANY (:names) ORDER BY relname"
)
VISIBLE = text("SELECT to_regclass(:name) IS NOT NULL")
# Whoever could read the former table can read ours and, whatever the default privileges are,
# whoever could not write it cannot write ours.
PRIVILEGES = text(f"""
SELECT CASE named.relname WHEN '{VERSION_TABLE}'
    THEN format('REVOKE ALL ON {VERSION_TABLE} FROM %s', holder)
    ELSE format('GRANT %s ON {VERSION_TABLE} TO %s', privilege_type, holder) END
FROM pg_class AS named, aclexplode(named.relacl),
    LATERAL (SELECT CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END) AS h (holder)
WHERE named.oid IN (to_regclass('{VERSION_TABLE}'), to_regclass('{FORMER_TABLE}'))
    AND grantee <> named.relowner
ORDER BY named.relname DESC
""")  # noqa: S608 - constants


def prepare(connection: Connection, migrations: MigrationContext, script: ScriptDirectory) -> None:
    """
    Make sure that what the migrations find is ours.

    Raises:
        MigrationRefused: It is somebody else's; nothing was made.
    """
    fault = encoding_fault(connection.execute(ENCODING).scalar_one())
    if fault is not None:
        raise MigrationRefused(f"The database {fault}")
    if _visible(connection, VERSION_TABLE):
        return
    if (former := _former_revision(connection)) is not None:
        migrations.stamp(script, former)
        for statement in connection.execute(PRIVILEGES).scalars().all():
            connection.execute(text(statement))
        return
    names = {"names": sorted(SQLModel.metadata.tables)}
    taken = connection.execute(TAKEN, names).scalars().all()
    if taken:
        raise MigrationRefused(
            f"The database has already {', '.join(taken)}, not made by authsvc, where its own "
            "tables would be. Nothing was created: give authsvc a database or a schema of its own."
        )


def _former_revision(connection: Connection) -> str | None:
    """The revision in the former table, if that is ours."""
    if not all(_visible(connection, name) for name in (FORMER_TABLE, *FIRST_TABLES)):
        return None
    revisions = connection.execute(revision_in(FORMER_TABLE)).scalars().all()
    return revisions[0] if is_ours(revisions) else None


def _visible(connection: Connection, name: str) -> bool:
    return bool(connection.execute(VISIBLE, {"name": name}).scalar_one())
