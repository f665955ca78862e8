"""The database, for commands: find it, and see that its schema fits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from authsvc.cli.console import plural
from authsvc.embedded_postgres import running_url
from authsvc.operator_errors import OperatorError
from authsvc.settings import Settings
from authsvc.store import schema
from authsvc.store.database import Database
from authsvc.store.endings import AT_ONCE

T = TypeVar("T")

NO_DATABASE = (
    "AUTHSVC_DATABASE_URL is not set and no embedded database runs on {}; start `make run` (or "
    "`authsvc serve`) in another terminal, or set AUTHSVC_DATABASE_URL"
)


def with_database(settings: Settings, act: Callable[[Database], Awaitable[T]]) -> T:
    """
    Run one act on the configured database, whose schema must be ours.

    Raises:
        OperatorError: There is no database, or its schema is another.
        Refusal: It cannot be asked, or the act was refused.
    """

    async def run() -> T:
        async with open_database(settings) as db:
            await _require_schema(db)
            return await act(db)

    return asyncio.run(run())


@asynccontextmanager
async def open_database(settings: Settings) -> AsyncIterator[Database]:
    """
    The configured database, or the embedded one that runs now.

    Raises:
        OperatorError: There is neither.
        DatabaseUnavailable: It cannot be reached.
    """
    db = await Database.open(database_url(settings), hot_connections=1, sessions=1)
    try:
        async with db.autocommit():
            pass  # the first connection; its failure is a refusal with a cause
        yield db
    finally:
        await db.close()


def database_url(settings: Settings) -> str:
    """
    The URL of the configured database, or of the embedded one if it runs now.

    Raises:
        OperatorError: There is neither.
    """
    if settings.database_url is not None:
        return settings.database_url.get_secret_value()
    url = running_url(settings.data_dir)
    if url is None:
        raise OperatorError(NO_DATABASE.format(settings.data_dir))
    return url


def sessions_ended(count: int) -> str:
    """How many sessions ended; of very many only the first are counted."""
    return plural(count, "session") + (" or more" if count == AT_ONCE else "")


async def _require_schema(db: Database) -> None:
    fault = (await schema.current(db)).fault
    if fault is not None:
        found, _, fix = fault.partition(": ")
        raise OperatorError(f"The database's schema {found}; {fix}")
