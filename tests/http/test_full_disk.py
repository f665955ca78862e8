"""A database whose disk is full refuses writes and answers questions: that is not ready."""

from __future__ import annotations

import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import mkdtemp
from uuid import uuid4

import asyncpg
import httpx
import pytest
from fastapi import FastAPI

from authsvc.embedded_postgres import EmbeddedPostgres
from authsvc.protocol.errors import DatabaseUnavailable
from authsvc.settings import Settings
from authsvc.store.database import Database
from authsvc.store.refused_writes import CAUSES, REMEMBERED, TRIAL, TRIAL_INTERVAL, RefusedWrites
from authsvc.store.server import inspect
from tests.conftest import Statements
from tests.http.conftest import CHEAP_ARGON2, EMAIL, PASSWORD

SIZE = "24m"  # a database of ours has 9 MiB


class Seconds:
    """A monotonic clock that stands until it is moved."""

    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def seconds(app: FastAPI) -> Seconds:
    """What the service takes for time when it remembers a refused write."""
    clock = Seconds()
    app.state.service.db.refused_writes = RefusedWrites(clock)
    return clock


@pytest.fixture
def disk(postgres: EmbeddedPostgres) -> Iterator[Path]:
    """A small file system that PostgreSQL may write; mounting one needs CAP_SYS_ADMIN."""
    path = Path(mkdtemp(prefix="authsvc-"))
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "test", path], check=True)
    try:
        folder = path / "tables"
        folder.mkdir(mode=0o700)
        os.chown(folder, Path(f"/proc/{postgres.pid}").stat().st_uid, -1)
        path.chmod(0o711)
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)
        path.rmdir()


@pytest.fixture
async def small_url(postgres: EmbeddedPostgres, template: str, disk: Path) -> AsyncIterator[str]:
    """A migrated database on that file system."""
    name = f"small_{uuid4().hex}"
    connection = await asyncpg.connect(postgres.url)
    try:
        await connection.execute(f"CREATE TABLESPACE {name} LOCATION '{disk}'")
        await connection.execute(
            f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy TABLESPACE {name}"
        )
        yield postgres.url.replace("/authsvc?", f"/{name}?")
        await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await connection.execute(f"DROP TABLESPACE {name}")
    finally:
        await connection.close()


class TestOnASmallDisk:
    """The service on a database whose disk can be filled."""

    @pytest.fixture
    def settings(self, small_url: str, keys_dir: Path) -> Settings:
        return Settings.load(
            env="development",
            database_url=small_url,
            keys_dir=keys_dir,
            log_level="error",
            **CHEAP_ARGON2,
        )

    @pytest.mark.finding("11.18")
    async def test_a_database_whose_disk_is_full_is_not_ready_until_there_is_space(
        self, client: httpx.AsyncClient, disk: Path, small_url: str, seconds: Seconds
    ) -> None:
        """Nothing was written and refused before: the look itself finds out."""
        assert 200 == (await client.get("/readyz")).status_code
        filler = fill(disk)
        seconds.time += TRIAL_INTERVAL

        full = await client.get("/readyz")
        doctor = await Database.open(small_url)
        said = (await inspect(doctor)).refusal
        await doctor.close()
        filler.unlink()
        seconds.time += REMEMBERED
        free = await client.get("/readyz")

        assert 503 == full.status_code
        assert CAUSES["53100"] == full.json()["checks"]["database"] == said
        assert 200 == free.status_code

    @pytest.mark.finding("11.18")
    async def test_where_a_look_finds_no_space_a_row_finds_none_either(
        self, client: httpx.AsyncClient, disk: Path
    ) -> None:
        """Else the look would be of another disk."""
        account = {"email": EMAIL, "password": PASSWORD}
        filler = fill(disk)

        full = await client.post("/auth/register", json=account)
        filler.unlink()
        free = await client.post("/auth/register", json=account)

        assert (503, "database_unavailable") == (full.status_code, full.json()["code"])
        assert 201 == free.status_code


def fill(disk: Path) -> Path:
    """Take what is left of the space, to the last byte."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12):
            with suppress(OSError):
                while file.write(bytes(size)) == size:
                    pass
    return filler


@pytest.mark.finding("11.18")
@pytest.mark.parametrize("sqlstate", CAUSES)
@pytest.mark.parametrize("way", ["autocommit", "transaction"])
async def test_a_write_that_the_disk_refused_is_remembered_for_a_while(
    app: FastAPI, client: httpx.AsyncClient, seconds: Seconds, sqlstate: str, way: str
) -> None:
    """Also where temporary files lie on another disk than the tables."""
    await fail(app.state.service.db, sqlstate, way)

    at_once = await client.get("/readyz")
    seconds.time += REMEMBERED
    later = await client.get("/readyz")

    assert (503, CAUSES[sqlstate]) == (at_once.status_code, at_once.json()["checks"]["database"])
    assert 200 == later.status_code


@pytest.mark.finding("11.18")
@pytest.mark.parametrize("sqlstate", ["53200", "53300", "55P03", "40001"])
async def test_other_failures_leave_it_ready(
    app: FastAPI, client: httpx.AsyncClient, seconds: Seconds, sqlstate: str
) -> None:
    del seconds
    await fail(app.state.service.db, sqlstate, "autocommit")

    assert 200 == (await client.get("/readyz")).status_code


@pytest.mark.finding("11.18")
async def test_the_disk_is_tried_once_in_five_seconds_whoever_asks(
    client: httpx.AsyncClient, seconds: Seconds, statements: Statements
) -> None:
    for _ in range(3):
        assert 200 == (await client.get("/readyz")).status_code
    assert 1 == list(statements).count(TRIAL[1])

    seconds.time += TRIAL_INTERVAL
    await client.get("/readyz")

    assert 2 == list(statements).count(TRIAL[1])


@pytest.mark.finding("11.18")
async def test_a_limit_on_temporary_files_is_no_full_disk(
    app: FastAPI, client: httpx.AsyncClient, seconds: Seconds
) -> None:
    del seconds
    db = app.state.service.db
    async with db.transaction() as session:
        connection = await session.connection()
        name = (await connection.exec_driver_sql("SELECT current_database()")).scalar_one()
        await connection.exec_driver_sql(f'ALTER DATABASE "{name}" SET temp_file_limit = 0')
    db.distrust_idle()

    assert 200 == (await client.get("/readyz")).status_code


async def fail(db: Database, sqlstate: str, way: str) -> None:
    """Have a statement fail with that code, on one of the two kinds of connection."""
    statement = f"DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{sqlstate}'; END $$"
    with suppress(DatabaseUnavailable):
        if way == "autocommit":
            async with db.autocommit() as connection:
                await connection.fetchrow(statement)
        else:
            async with db.transaction() as session:
                await (await session.connection()).exec_driver_sql(statement)
        pytest.fail("the statement did not fail")
