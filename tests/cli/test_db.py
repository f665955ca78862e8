from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from authsvc.embedded_postgres import EmbeddedPostgres
from authsvc.store.schema import SCHEMA_REVISION
from tests.cli.conftest import Command

NEEDED = SCHEMA_REVISION

FOREIGN = f"CREATE TABLE alembic_version AS SELECT '{NEEDED}'::text AS version_num;"
# As versions up to 0.1 left a database.
AS_BEFORE = "DROP TABLE authsvc_version;" + FOREIGN


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
    # By whatever name: the rule is older than the name of the table.
    table = await value(
        database_url,
        "SELECT table_name FROM information_schema.columns WHERE column_name = 'version_num'",
    )
    await execute(database_url, f"UPDATE {table} SET version_num = '{revision}'")  # noqa: S608

    upgraded = await authsvc("db", "upgrade")
    checked = await authsvc("db", "current", "--check")
    used = await authsvc("users", "list")

    assert (0, 0, 0) == (upgraded.code, checked.code, used.code)
    assert f"The schema is {revision} already; nothing to do.\n" == upgraded.out


@pytest.mark.finding("P02")
async def test_the_revision_of_another_application_is_not_ours(
    empty: Command, empty_database_url: str
) -> None:
    await execute(empty_database_url, FOREIGN)

    before = await empty("db", "current", "--check")
    doctor = await empty("doctor", "--json")
    done = await empty("db", "upgrade")
    again = await empty("db", "upgrade")
    theirs = await value(empty_database_url, "SELECT version_num FROM alembic_version")

    judged = {f["id"]: f["severity"] for f in doctor.json["findings"]}
    assert 1 == before.code
    assert ("error", "error") == (judged["AUTHSVC-DB-006"], judged["AUTHSVC-DB-007"])
    assert (0, f"The schema was empty and is now {NEEDED}.\n") == (done.code, done.out), done.err
    assert "nothing to do" in again.out
    assert NEEDED == theirs


@pytest.mark.finding("P02")
async def test_a_table_of_others_with_a_name_of_ours_is_refused_before_anything_is_made(
    empty: Command, empty_database_url: str
) -> None:
    await execute(empty_database_url, FOREIGN + "CREATE TABLE users (id int)")

    done = await empty("db", "upgrade")

    assert (1, 1) == (done.code, len(done.err.splitlines())), done.err
    assert "has already users, not made by authsvc" in done.err
    assert 2 == await value(
        empty_database_url, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
    )


@pytest.mark.finding("P02")
async def test_an_older_installation_is_carried_over_with_its_privileges(
    authsvc: Command, database_url: str
) -> None:
    await execute(database_url, AS_BEFORE)
    await execute(
        database_url,
        "DROP ROLE IF EXISTS reader; CREATE ROLE reader; GRANT SELECT ON alembic_version TO reader;"
        "ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO reader",
    )
    try:
        checked = await authsvc("db", "current", "--check")
        done = await authsvc("db", "upgrade")
        again = await authsvc("db", "upgrade")
        rights = await value(
            database_url,
            "SELECT string_agg(privilege_type, ' ') FROM information_schema.table_privileges "
            "WHERE table_name = 'authsvc_version' AND grantee = 'reader'",
        )
    finally:
        await execute(database_url, "DROP OWNED BY reader; DROP ROLE reader")

    assert (0, 0) == (checked.code, done.code), done.err
    assert f"The schema stays {NEEDED}; the table authsvc_version says so now.\n" == done.out
    assert "nothing to do" in again.out
    assert "SELECT" == rights
    for name in ("alembic_version", "authsvc_version"):  # an old replica goes on
        assert NEEDED == await value(database_url, f"SELECT version_num FROM {name}")  # noqa: S608


@pytest.mark.finding("P02")
async def test_a_revision_without_its_tables_does_not_suffice(
    authsvc: Command, database_url: str
) -> None:
    await execute(database_url, "DROP TABLE spent_jtis")

    checked = await authsvc("db", "current", "--check")
    upgraded = await authsvc("db", "upgrade")
    used = await authsvc("users", "list")

    assert (1, 1, 1) == (checked.code, upgraded.code, used.code)
    assert all("no table spent_jtis" in done.err for done in (checked, upgraded, used))


@pytest.mark.finding("P09")
@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
async def test_a_database_that_cannot_keep_every_name_is_refused(
    run: Command, environment: pytest.MonkeyPatch, postgres: EmbeddedPostgres, encoding: str
) -> None:
    name = f"test_{encoding.lower()}"
    url = postgres.url.replace("/authsvc?", f"/{name}?")
    await execute(
        postgres.url,
        f"CREATE DATABASE {name} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0",
    )
    try:
        environment.setenv("AUTHSVC_DATABASE_URL", url)
        done = await run("db", "upgrade")
        doctor = await run("doctor", "--json")
    finally:
        await execute(postgres.url, f"DROP DATABASE {name} WITH (FORCE)")

    (found,) = [f for f in doctor.json["findings"] if f["id"] == "AUTHSVC-DB-011"]
    assert (1, 1) == (done.code, len(done.err.splitlines())), done.err
    assert f"encoding {encoding}" in done.err
    assert "error" == found["severity"]


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


async def value(url: str, question: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(question)
    finally:
        await connection.close()


@pytest.mark.finding("11.14")
@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("UPDATE authsvc_version SET version_num = 'head'", "head"),
        ("INSERT INTO authsvc_version VALUES ('0010')", f"{NEEDED} and 0010"),
    ],
)
async def test_what_is_no_revision_of_ours_is_one_line_everywhere(
    authsvc: Command, database_url: str, change: str, named: str
) -> None:
    await execute(database_url, change)

    refused = [
        await authsvc("db", "upgrade"),
        await authsvc("db", "current", "--check"),
        await authsvc("users", "list"),
    ]

    assert [(1, 1)] * 3 == [(done.code, len(done.err.splitlines())) for done in refused]
    assert all(f"{named}, which is no revision of authsvc" in done.err for done in refused)
