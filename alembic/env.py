"""Alembic's entry: the tables, the URL from the settings, one migration at a time."""

import asyncio

from sqlalchemy import Connection, pool, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlmodel import SQLModel

from alembic import context
from authsvc.store import version_table
from authsvc.store.schema import FORMER_TABLE, VERSION_TABLE

# Any constant; it names "authsvc migrates" among the database's advisory locks.
MIGRATION_LOCK = 0x61757468737663


def run(connection: Connection) -> None:
    """Run the migrations of this command in one transaction, alone."""
    context.configure(
        connection=connection,
        target_metadata=SQLModel.metadata,
        version_table=VERSION_TABLE,
        include_name=lambda name, kind, _parents: (kind, name) != ("table", FORMER_TABLE),
        compare_type=True,
        compare_server_default=True,
    )
    with context.begin_transaction():
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        # Two jobs that start at once: the second waits, then finds nothing to do.
        connection.execute(text(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})"))
        connection.execute(text("SET LOCAL lock_timeout = '10s'"))
        version_table.prepare(connection, context.get_context(), context.script)
        context.run_migrations()


def database_url() -> str:
    """The configured database; the embedded one hands over a connection instead."""
    from authsvc.settings import Settings  # noqa: PLC0415 - only where the caller gave no URL

    url = context.config.attributes.get("url") or Settings.load().database_url
    if url is None:
        raise SystemExit(
            "AUTHSVC_DATABASE_URL is not set; set it, or use `authsvc db upgrade` beside a "
            "running `make run`."
        )
    return url if isinstance(url, str) else url.get_secret_value()


async def connect_and_run() -> None:
    """Migrate over a connection of our own."""
    from authsvc.store.connections import connector, normalise  # noqa: PLC0415 - as above

    url = normalise(database_url())
    engine = create_async_engine(url, poolclass=pool.NullPool, async_creator=connector(url))
    try:
        async with engine.connect() as connection:
            await connection.run_sync(run)
    finally:
        await engine.dispose()


if context.is_offline_mode():
    context.configure(
        dialect_name="postgresql",
        target_metadata=SQLModel.metadata,
        version_table=VERSION_TABLE,
        literal_binds=True,
    )
    with context.begin_transaction():
        context.run_migrations()
elif (given := context.config.attributes.get("connection")) is not None:
    run(given)
else:
    asyncio.run(connect_and_run())
