"""A real PostgreSQL for the session, a database of its own for every test that asks for one."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from authsvc.embedded_postgres import EmbeddedPostgres, start_temporary
from authsvc.keys.passwords import PasswordHasher
from authsvc.observe.logging import configure_logging
from authsvc.protocol.audit import Caller
from authsvc.protocol.refresh import Lifetimes
from authsvc.remote.client_jwks import RemoteKeys
from authsvc.remote.fetch import Fetcher
from authsvc.settings import Settings
from authsvc.store import migrate
from authsvc.store.database import BACKGROUND, Database
from tests.support.databases import administer, database, url_of

START = datetime(2026, 11, 22, 10, 0, 0, tzinfo=UTC)
LIFETIMES = Lifetimes(
    idle=timedelta(days=7), absolute=timedelta(days=30), retry_window=timedelta(seconds=10)
)
NO_REMOTE_KEYS = RemoteKeys(Fetcher(loopback=False).fetch)
# Of `db`, in this task and those it starts; None is PostgreSQL's own clock.
MOMENT: ContextVar[datetime | None] = ContextVar("moment", default=None)
CALLER = Caller(ip="203.0.113.7", user_agent="tests", request_id=str(uuid4()))


@pytest.fixture(scope="session", autouse=True)
def logging_as_in_a_service() -> None:
    """Set up once: else the first test that makes an application decides for those after it."""
    configure_logging(Settings.load(log_level="warning", log_format="json"))


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """One server for the whole run; its log names database and application of each line."""
    options = {
        "log_line_prefix": "%m [%p] db=%d app=%a ",
        "log_statement": "all",
        "max_connections": "300",
    }
    with start_temporary(options=options) as server:
        yield server


@pytest.fixture(scope="session")
def template(postgres: EmbeddedPostgres) -> str:
    """The name of a migrated database, to be cloned."""
    asyncio.run(administer(postgres.url, 'CREATE DATABASE "template_migrated"'))
    asyncio.run(migrate.upgrade(url_of(postgres, "template_migrated")))
    return "template_migrated"


@pytest.fixture
async def database_url(postgres: EmbeddedPostgres, template: str) -> AsyncIterator[str]:
    """The URL of a fresh, migrated database."""
    async with database(postgres, template) as url:
        yield url


@pytest.fixture
async def empty_database_url(postgres: EmbeddedPostgres) -> AsyncIterator[str]:
    """The URL of a database without any table."""
    async with database(postgres) as url:
        yield url


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    """Both pools on a fresh database; see `database_at` for its clock."""
    database = await Database.open(database_url, now=MOMENT.get)
    yield database
    await database.close()


@contextmanager
def database_at(moment: datetime) -> Iterator[None]:
    """Have the statements inside take this moment for now."""
    before = MOMENT.set(moment)
    try:
        yield
    finally:
        MOMENT.reset(before)


@pytest.fixture
def hasher() -> Iterator[PasswordHasher]:
    """One that costs next to nothing."""
    cheap = PasswordHasher(8, 1, 1, threads=1, memory_budget_mib=1, queue_seconds=2)
    yield cheap
    cheap.queue.close()


@dataclass
class Statements:
    """
    The statements that PostgreSQL executed since the last `clear()`, from its own log.

    The looks at the revocation log are left out: they are no request's, and come when they will.
    """

    log_path: Path
    database: str
    _offset: int = field(default=0, init=False)

    def clear(self) -> None:
        """Forget what was executed so far."""
        self._offset = self.log_path.stat().st_size

    def __iter__(self) -> Iterator[str]:
        with self.log_path.open("rb") as log:
            log.seek(self._offset)
            text = log.read().decode()
        origin = rf"^\S+ \S+ \S+ \[\d+\] db={self.database} app=(?!{BACKGROUND})\S*"
        line = rf"{origin} LOG:  (?:execute [^:]+|statement): (.*)"
        return iter(re.findall(line, text, re.MULTILINE))

    def __len__(self) -> int:
        return len(list(iter(self)))


@pytest.fixture
def statements(postgres: EmbeddedPostgres, database_url: str) -> Statements:
    """Counts SQL where it is executed: BEGIN, COMMIT and resets are seen as well."""
    name = urlsplit(database_url).path.removeprefix("/")
    counted = Statements(log_path=postgres.log_path, database=name)
    counted.clear()
    return counted
