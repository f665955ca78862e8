"""What an experiment is: a fault or a race, run in batches that add up over many runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Protocol
from uuid import uuid4

import asyncpg

from authsvc.embedded_postgres import EmbeddedPostgres, start_temporary
from authsvc.keys.rotation import create_first_keys
from authsvc.store import migrate
from proof.history import Recorder

# As in production; a temporary server has all three off.
DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}


@dataclass
class Findings:
    """
    What one batch found.

    Args:
        done: Units done, as the experiment counts them (kills, rounds, refreshes …).
        counted: Further counters; they add up over batches.
        worst: Maxima, such as the longest recovery in seconds.
        violations: A sentence each; empty is the promise.
    """

    done: int = 0
    counted: Counter[str] = field(default_factory=Counter)
    worst: dict[str, float] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)

    def at_most(self, name: str, value: float) -> None:
        """Keep a maximum."""
        self.worst[name] = max(value, self.worst.get(name, value))


class Experiment(Protocol):
    """
    One fault of SECURITY §3.4, or one figure of the long form.

    Attributes:
        name: Such as `F01-kill-at-every-system-call`; names its results.
        promise: One sentence for the page: what must hold.
        unit: What `done` counts, in the plural.
        goal: Units of the long form.
        batch: Units of one batch; a batch should take less than a minute.
    """

    name: str
    promise: str
    unit: str
    goal: int
    batch: int

    async def run(self, stage: Stage, *, units: int, random: Random) -> Findings:
        """Run `units` units. All chance comes from `random`, which is seeded by the batch."""

    async def control(self, stage: Stage, *, random: Random) -> Findings:
        """The positive control: the same against a build or setting that must fail."""


@dataclass
class Stage:
    """What an experiment plays on: a PostgreSQL with fsync on, and a directory."""

    postgres: EmbeddedPostgres
    directory: Path
    recorder: Recorder

    @asynccontextmanager
    async def database(self) -> AsyncIterator[str]:
        """The URL of a fresh, migrated database; dropped at the end."""
        name = f"proof_{uuid4().hex}"
        await self._admin(f'CREATE DATABASE "{name}"')
        url = self.postgres.url.replace("/authsvc?", f"/{name}?")
        await migrate.upgrade(url)
        yield url
        await self._admin(f'DROP DATABASE "{name}" WITH (FORCE)')

    @contextmanager
    def place(self) -> Iterator[Path]:
        """A fresh directory with `keys/` in it: one deployment's."""
        with TemporaryDirectory(dir=self.directory) as directory:
            place = Path(directory)
            create_first_keys(place / "keys", now=datetime.now(UTC) - timedelta(minutes=1))
            yield place

    async def _admin(self, statement: str) -> None:
        connection = await asyncpg.connect(self.postgres.url)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


@asynccontextmanager
async def stage(
    directory: Path,
    *,
    history: str = "history.jsonl",
    options: Mapping[str, str] | None = None,
) -> AsyncIterator[Stage]:
    """A stage in `directory`, with a PostgreSQL of its own, started with `options` besides."""
    server = start_temporary(options={**DURABLE, "max_connections": "300", **(options or {})})
    with server as postgres, (directory / history).open("a") as file:
        yield Stage(postgres=postgres, directory=directory, recorder=Recorder(file))
