from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from authsvc.embedded_postgres import EmbeddedPostgres
from authsvc.store import migrate
from tests.cli.conftest import Command

NEEDED = migrate.SCHEMA_REVISION


@pytest.fixture
def empty(run: Command, environment: pytest.MonkeyPatch, empty_database_url: str) -> Command:
    """Commands on a database without any table."""
    environment.setenv("AUTHSVC_DATABASE_URL", empty_database_url)
    return run


async def test_an_empty_database_is_upgraded_once(empty: Command) -> None:
    before = await empty("db", "current")
    done = await empty("db", "upgrade")
    again = await empty("db", "upgrade")
    after = await empty("db", "current")

    assert f"empty (this authsvc needs {NEEDED})\n" == before.out
    assert (0, f"The schema was empty and is now {NEEDED}.\n") == (done.code, done.out), done.err
    assert (0, f"The schema is {NEEDED} already; nothing to do.\n") == (again.code, again.out)
    assert f"{NEEDED} (what this authsvc needs)\n" == after.out


async def test_current_tells_machines_and_can_be_a_check(empty: Command) -> None:
    before = await empty("db", "current", "--json", "--check")
    await empty("db", "upgrade")
    after = await empty("db", "current", "--json", "--check")

    assert {"revision": None, "needed": NEEDED, "current": False} == before.json
    assert {"revision": NEEDED, "needed": NEEDED, "current": True} == after.json
    assert (1, 0) == (before.code, after.code)
    assert "authsvc db upgrade" in before.err


async def test_a_downgrade_says_what_is_lost_and_needs_a_yes(authsvc: Command) -> None:
    unasked = await authsvc("db", "downgrade", "base")
    still = await authsvc("db", "current")
    done = await authsvc("db", "downgrade", "base", "--yes")
    again = await authsvc("db", "downgrade", "base", "--yes")

    assert 1 == unasked.code
    assert "0001  The first schema" in unasked.err
    assert "Every account, session and audit record is lost." in unasked.err
    assert "repeat with --yes" in unasked.err
    assert still.out.startswith(NEEDED)
    assert (0, f"The schema was {NEEDED} and is now empty.\n") == (done.code, done.out)
    assert 1 == again.code
    assert "nothing to take back" in again.err


@pytest.mark.parametrize("revision", ["9999", "head+1", ""])
async def test_a_revision_that_does_not_exist_is_one_line(authsvc: Command, revision: str) -> None:
    done = await authsvc("db", "downgrade", revision, "--yes")

    assert (1, 1) == (done.code, len(done.err.splitlines()))
    assert "There is no way down" in done.err


async def test_a_downgrade_to_where_it_is_does_nothing(authsvc: Command) -> None:
    done = await authsvc("db", "downgrade", NEEDED)

    assert (0, f"The schema is {NEEDED} already; nothing to do.\n") == (done.code, done.out)


@pytest.mark.finding("11.14")
@pytest.mark.parametrize("revision", [NEEDED, "9999"])
async def test_commands_run_on_this_schema_and_on_a_newer_one(
    authsvc: Command, database_url: str, revision: str
) -> None:
    await execute(database_url, f"UPDATE alembic_version SET version_num = '{revision}'")  # noqa: S608

    upgraded = await authsvc("db", "upgrade")
    checked = await authsvc("db", "current", "--check")
    used = await authsvc("users", "list")

    assert (0, 0, 0) == (upgraded.code, checked.code, used.code)
    assert f"The schema is {revision} already; nothing to do.\n" == upgraded.out


@pytest.mark.requirement("S5")
async def test_a_role_that_may_not_make_tables_is_told_so_in_one_line(
    run: Command, environment: pytest.MonkeyPatch, empty_database_url: str
) -> None:
    await execute(empty_database_url, "CREATE ROLE guest LOGIN")
    try:
        environment.setenv(
            "AUTHSVC_DATABASE_URL", empty_database_url.replace("postgres@", "guest@")
        )
        done = await run("db", "upgrade")
    finally:
        await execute(empty_database_url, "DROP ROLE guest")

    assert (1, 1) == (done.code, len(done.err.splitlines())), done.err
    assert "PostgreSQL refuses it: permission denied" in done.err


async def test_a_running_embedded_database_is_found_by_its_directory(
    run: Command, environment: pytest.MonkeyPatch, postgres: EmbeddedPostgres
) -> None:
    """As beside a running `make run`: no URL is set."""
    environment.setenv("AUTHSVC_DATA_DIR", str(postgres.data_dir))

    done = await run("db", "current", "--json")

    assert 0 == done.code, done.err
    assert {"revision": None, "needed": NEEDED, "current": False} == done.json


def test_two_upgrades_at_once_both_succeed(
    environment: pytest.MonkeyPatch, empty_database_url: str, tmp_path: Path
) -> None:
    """The real program, as two jobs that start together."""
    environment.setenv("AUTHSVC_DATABASE_URL", empty_database_url)
    command = [sys.executable, "-m", "authsvc", "db", "upgrade"]

    both = [subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE) for _ in range(2)]
    outputs = [process.communicate(timeout=60)[0].decode() for process in both]

    assert [0, 0] == [process.returncode for process in both]
    assert all(NEEDED in output for output in outputs)
    assert "test_" in urlsplit(empty_database_url).path
    asyncio.run(execute(empty_database_url, "SELECT 1 FROM users"))


async def execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
