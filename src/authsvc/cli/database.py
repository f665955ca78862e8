"""The database, for commands: find it, see that its schema fits, say in words what is wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TypeVar

from authsvc.cli.console import plural
from authsvc.cli.errors import CommandError
from authsvc.embedded_postgres import running_url
from authsvc.protocol.errors import (
    DatabaseUnavailable,
    EmailTaken,
    NotFound,
    OutcomeUnknown,
    Refusal,
    ValidationFailed,
)
from authsvc.settings import Settings
from authsvc.store import schema
from authsvc.store.database import Database
from authsvc.store.endings import AT_ONCE

T = TypeVar("T")

NO_DATABASE = (
    "AUTHSVC_DATABASE_URL is not set and no embedded database runs on {}; start `make run` (or "
    "`authsvc serve`) in another terminal, or set AUTHSVC_DATABASE_URL"
)
# What a failed connection means, by the exception's name or its SQLSTATE.
CAUSES = {
    "ConnectionRefusedError": "nothing listens there",
    "FileNotFoundError": "its socket does not exist",
    "PermissionError": "this user has no permission for its socket",
    "TimeoutError": "it does not answer",
    "gaierror": "its host name is unknown",
    "28P01": "it refuses the password",
    "28000": "it refuses the user",
    "3D000": "there is no such database",
    "53300": "it has no free connection",
    "57P03": "it is starting up or shutting down",
}


def with_database(settings: Settings, act: Callable[[Database], Awaitable[T]]) -> T:
    """
    Run one act on the configured database, whose schema must be ours.

    Raises:
        CommandError: There is no database, it cannot be asked, or the act was refused.
    """

    async def run() -> T:
        async with open_database(settings) as db:
            await _require_schema(db)
            return await act(db)

    with refusals():
        return asyncio.run(run())


@contextmanager
def refusals() -> Iterator[None]:
    """Turn a refusal into the one line that ends the command."""
    try:
        yield
    except Refusal as exc:
        raise CommandError(in_words(exc)) from exc


@asynccontextmanager
async def open_database(settings: Settings) -> AsyncIterator[Database]:
    """
    The configured database, or the embedded one that runs now.

    Raises:
        CommandError: There is neither.
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
        CommandError: There is neither.
    """
    if settings.database_url is not None:
        return settings.database_url.get_secret_value()
    url = running_url(settings.data_dir)
    if url is None:
        raise CommandError(NO_DATABASE.format(settings.data_dir))
    return url


def in_words(refusal: Refusal) -> str:
    """A refusal as words for a terminal, where there is neither a form nor a status."""
    if isinstance(refusal, ValidationFailed):
        return "; ".join(f"{error.loc[-1]}: {error.msg}" for error in refusal.errors)
    if isinstance(refusal, OutcomeUnknown):
        return (
            f"The connection to the database broke ({refusal.detail}); it is not known whether "
            "the change was made. Check, and repeat it if it was not."
        )
    if isinstance(refusal, DatabaseUnavailable):
        return f"The database cannot be used: {unreachable(refusal)}"
    if isinstance(refusal, EmailTaken):
        return "An account with this e-mail address exists already."
    if isinstance(refusal, NotFound):
        return f"There is no such {refusal.detail}; see `authsvc {refusal.detail}s list`"
    return refusal.description


def sessions_ended(count: int) -> str:
    """How many sessions ended; of very many only the first are counted."""
    return plural(count, "session") + (" or more" if count == AT_ONCE else "")


def unreachable(refusal: DatabaseUnavailable) -> str:
    """Why the database cannot be used, and where that is set."""
    words = refusal.detail.split()
    cause = next((CAUSES[word] for word in words if word in CAUSES), None)
    said = f"{cause} ({refusal.detail})" if cause else refusal.detail
    return f"{said}. Check AUTHSVC_DATABASE_URL and that PostgreSQL runs"


async def _require_schema(db: Database) -> None:
    fault = (await schema.current(db)).fault
    if fault is not None:
        found, _, fix = fault.partition(": ")
        raise CommandError(f"The database's schema {found}; {fix}")
