"""Alive is the process; ready is everything that a login needs; both say what they know."""

from __future__ import annotations

from datetime import timedelta

import httpx
import pytest
from fastapi import FastAPI

from authsvc.http.response.problem_schema import status_of
from authsvc.protocol.errors import NoSigningKey
from authsvc.store.schema import SCHEMA_REVISION
from authsvc.store.server import WRITES
from tests.http.conftest import EMAIL, PASSWORD, MovableClock, log_in, refresh
from tests.http.oauth import ask, register

DOWN = "postgresql://nobody@127.0.0.1:1/nowhere"


@pytest.mark.requirement("Z3")
async def test_a_service_with_everything_is_alive_and_ready(client: httpx.AsyncClient) -> None:
    alive, ready = await client.get("/healthz"), await client.get("/readyz")

    assert (200, {"status": "ok"}) == (alive.status_code, alive.json())
    assert 200 == ready.status_code
    assert "ok" == ready.json()["status"]
    assert {"database", "schema", "signing_key"} <= set(ready.json()["checks"])
    assert {"ok"} == set(ready.json()["checks"].values())


@pytest.mark.requirement("Z3")
@pytest.mark.settings(database_url=DOWN)
async def test_without_a_database_it_is_alive_but_not_ready(client: httpx.AsyncClient) -> None:
    alive, ready = await client.get("/healthz"), await client.get("/readyz")

    assert 200 == alive.status_code
    assert (503, "unready") == (ready.status_code, ready.json()["status"])
    assert "ok" != ready.json()["checks"]["database"]
    assert "nobody" not in ready.text


@pytest.mark.requirement("Z3")
async def test_what_is_missing_is_named_with_the_command_to_run(
    app: FastAPI, client: httpx.AsyncClient
) -> None:
    async with app.state.service.db.transaction() as session:
        connection = await session.connection()
        await connection.exec_driver_sql("UPDATE authsvc_version SET version_num = '0000'")

    answer = await client.get("/readyz")

    assert 503 == answer.status_code
    assert "authsvc db upgrade" in answer.json()["checks"]["schema"]
    assert SCHEMA_REVISION in answer.json()["checks"]["schema"]


async def test_a_schema_that_is_newer_will_do(app: FastAPI, client: httpx.AsyncClient) -> None:
    """F22: while a release is rolled out, its schema is there before its last replica."""
    async with app.state.service.db.transaction() as session:
        connection = await session.connection()
        await connection.exec_driver_sql("UPDATE authsvc_version SET version_num = '9999'")

    assert 200 == (await client.get("/readyz")).status_code


@pytest.mark.settings(commit="0123abc")
async def test_the_version_names_the_build(app: FastAPI, client: httpx.AsyncClient) -> None:
    answer = await client.get("/version")

    assert {"version": app.version, "commit": "0123abc"} == answer.json()


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/version", "/metrics"])
async def test_probes_may_ask_with_head_and_nothing_is_kept(
    client: httpx.AsyncClient, path: str
) -> None:
    get, head = await client.get(path), await client.head(path)

    assert (200, 200) == (get.status_code, head.status_code)
    assert ("no-store", "no-store") == (
        get.headers["cache-control"],
        head.headers["cache-control"],
    )


@pytest.mark.finding("11.13")
async def test_before_the_first_activation_the_signing_key_is_not_ready(
    client: httpx.AsyncClient, clock: MovableClock
) -> None:
    clock.advance(timedelta(days=-2))

    answer = await client.get("/readyz")

    assert 503 == answer.status_code
    assert "none is active yet" in answer.json()["checks"]["signing_key"]


@pytest.mark.finding("11.13")
@pytest.mark.usefixtures("alice")
async def test_before_the_first_activation_nothing_is_signed_and_nothing_is_lost(
    app: FastAPI, client: httpx.AsyncClient, clock: MovableClock
) -> None:
    secret = await register(app)
    token = (await log_in(client)).json()["refresh_token"]
    body = {"email": EMAIL, "password": PASSWORD, "delivery": "native"}
    clock.advance(timedelta(days=-2))

    answers = [
        await client.post("/auth/login", json=body),
        await refresh(client, token),
        await client.get("/.well-known/revocations"),
    ]
    error = await ask(client, secret)

    assert {(503, "database_unavailable")} == {(a.status_code, a.json()["code"]) for a in answers}
    assert "active signing key" in answers[0].json()["detail"]
    assert (503, "temporarily_unavailable") == (error.status_code, error.json()["error"])
    assert "retry-after" in error.headers
    assert 503 == status_of(NoSigningKey)  # which identity assertions raise as well
    clock.advance(timedelta(days=2, minutes=5))
    assert 200 == (await refresh(client, token)).status_code  # no rotation without an answer


@pytest.mark.finding("11.18")
async def test_a_primary_that_refuses_writes_is_not_ready(
    app: FastAPI, client: httpx.AsyncClient
) -> None:
    db = app.state.service.db
    async with db.transaction() as session:
        connection = await session.connection()
        name = (await connection.exec_driver_sql("SELECT current_database()")).scalar_one()
        await connection.exec_driver_sql(
            f'ALTER DATABASE "{name}" SET default_transaction_read_only = on'
        )
    db.distrust_idle()

    answer = await client.get("/readyz")

    assert 503 == answer.status_code
    assert "default_transaction_read_only" in answer.json()["checks"]["database"]


@pytest.mark.finding("11.18")
@pytest.mark.parametrize("narrower", ["", "SET default_transaction_read_only = off"])
async def test_what_new_connections_will_be_refused_is_told_before_there_is_one(
    app: FastAPI, client: httpx.AsyncClient, narrower: str
) -> None:
    """Of a setting for a database and one for its role there, the narrower one counts."""
    assert 200 == (await client.get("/readyz")).status_code  # on what will be the old connection
    async with app.state.service.db.transaction() as session:
        connection = await session.connection()
        name = (await connection.exec_driver_sql("SELECT current_database()")).scalar_one()
        await connection.exec_driver_sql(
            f'ALTER DATABASE "{name}" SET default_transaction_read_only = on'
        )
        if narrower:
            await connection.exec_driver_sql(f'ALTER ROLE postgres IN DATABASE "{name}" {narrower}')

    answer = await client.get("/readyz")

    assert (200 if narrower else 503) == answer.status_code
    assert narrower or "default_transaction_read_only" in answer.json()["checks"]["database"]


@pytest.mark.finding("11.14")
@pytest.mark.parametrize(
    "change",
    [
        "UPDATE authsvc_version SET version_num = 'head'",
        "UPDATE authsvc_version SET version_num = 'abcd'",
        "UPDATE authsvc_version SET version_num = '10'",
        "INSERT INTO authsvc_version VALUES ('0010')",
    ],
)
async def test_what_is_no_revision_of_ours_is_not_taken_for_a_newer_one(
    app: FastAPI, client: httpx.AsyncClient, change: str
) -> None:
    async with app.state.service.db.transaction() as session:
        await (await session.connection()).exec_driver_sql(change)

    answer = await client.get("/readyz")

    assert 503 == answer.status_code
    assert "authsvc_version must have one row" in answer.json()["checks"]["schema"]


@pytest.mark.finding("P02")
async def test_a_revision_without_its_tables_is_not_ready(
    app: FastAPI, client: httpx.AsyncClient
) -> None:
    async with app.state.service.db.transaction() as session:
        await (await session.connection()).exec_driver_sql("DROP TABLE spent_jtis")

    answer = await client.get("/readyz")

    assert 503 == answer.status_code
    assert "there is no table spent_jtis" in answer.json()["checks"]["schema"]


@pytest.mark.finding("P02")
async def test_beside_a_table_of_before_a_replica_is_ready_until_the_upgrade(
    app: FastAPI, client: httpx.AsyncClient
) -> None:
    async with app.state.service.db.transaction() as session:
        connection = await session.connection()
        await connection.exec_driver_sql("ALTER TABLE authsvc_version RENAME TO alembic_version")

    assert 200 == (await client.get("/readyz")).status_code


@pytest.mark.finding("P09")
async def test_a_database_of_another_encoding_is_not_ready(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    latin = WRITES.replace("current_setting('server_encoding')", "'LATIN1'")
    assert latin != WRITES
    monkeypatch.setattr("authsvc.store.readiness.WRITES", latin)

    answer = await client.get("/readyz")

    assert 503 == answer.status_code
    assert "encoding LATIN1" in answer.json()["checks"]["database"]
