"""The database role that docs/deployment.md gives to `serve` is enough, and too little for more."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import asyncpg
import httpx
import pytest
from fastapi import FastAPI

from authsvc.flows.maintain import prune
from authsvc.http.request.service import Service
from authsvc.settings import Settings
from tests.http.conftest import EMAIL, PASSWORD, log_in, me, refresh
from tests.http.oauth import (
    GRANT,
    INTROSPECT,
    ORDERS,
    REVOKE,
    TOKEN,
    assertion,
    basic,
    register,
    register_with_keys,
)

PAGE = Path(__file__).parents[2] / "docs" / "deployment.md"
ROLE = "authsvc_serve"


@pytest.fixture
async def settings(settings: Settings, database_url: str) -> AsyncIterator[Settings]:
    """The usual ones, with the role of the page."""
    page = PAGE.read_text(encoding="utf-8")
    (sql,) = re.findall(r"^```sql\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    owner = await asyncpg.connect(database_url)
    try:
        await owner.execute(sql.replace("FOR ROLE authsvc ", "FOR ROLE postgres "))
        yield Settings.load(
            **settings.model_dump()
            | {"database_url": database_url.replace("//postgres@", f"//{ROLE}@")}
        )
        await owner.execute(f"DROP OWNED BY {ROLE}; DROP ROLE {ROLE}")
    finally:
        await owner.close()


@pytest.mark.requirement("S5")
async def test_the_role_of_the_page_is_enough_to_serve(
    client: httpx.AsyncClient, app: FastAPI, settings: Settings
) -> None:
    registered = await client.post("/auth/register", json={"email": EMAIL, "password": PASSWORD})
    wrong = await client.post("/auth/login", json={"email": EMAIL, "password": "not this one"})
    tokens = (await log_in(client)).json()
    refreshed = await refresh(client, tokens["refresh_token"])
    access = {"authorization": f"Bearer {refreshed.json()['access_token']}"}
    changed = await client.post(
        "/auth/password/change",
        json={"current_password": PASSWORD, "new_password": "another staple of horses"},
        headers=access,
    )
    ready = await client.get("/readyz")
    service: Service = app.state.service
    await prune(service.db, audit_retention=settings.audit_retention)
    reused = await refresh(client, tokens["refresh_token"])

    assert (201, 401, 200, 204, 200, 401) == (
        registered.status_code,
        wrong.status_code,
        refreshed.status_code,
        changed.status_code,
        ready.status_code,
        reused.status_code,
    )
    assert 401 == (await me(client, refreshed.json()["access_token"])).status_code


@pytest.mark.requirement("S5")
@pytest.mark.finding("11.1")
async def test_the_role_of_the_page_is_enough_to_end_very_many_sessions(
    client: httpx.AsyncClient, app: FastAPI, database_url: str
) -> None:
    """Their rows are left for later, which takes a table of its own."""
    await client.post("/auth/register", json={"email": EMAIL, "password": PASSWORD})
    tokens = (await log_in(client)).json()
    owner = await asyncpg.connect(database_url)
    try:
        await owner.execute(
            "INSERT INTO refresh_families SELECT (jsonb_populate_record(f,"
            " jsonb_build_object('id', gen_random_uuid()))).*"
            " FROM refresh_families f, generate_series(1, 500)"
        )
        changed = await client.post(
            "/auth/password/change",
            json={"current_password": PASSWORD, "new_password": "another staple of horses"},
            headers={"authorization": f"Bearer {tokens['access_token']}"},
        )
        left = await owner.fetchval("SELECT count(*) FROM unfinished_endings")
        await prune(app.state.service.db, audit_retention=timedelta(days=1))

        assert (204, 1) == (changed.status_code, left)
        assert 0 == await owner.fetchval("SELECT count(*) FROM unfinished_endings")
        assert 1 == await owner.fetchval(
            "SELECT count(*) FROM refresh_families WHERE revoked_at IS NULL"
        )
    finally:
        await owner.close()
    assert 200 == (await refresh(client, tokens["refresh_token"])).status_code


@pytest.mark.requirement("S5")
async def test_the_role_of_the_page_is_enough_for_clients(
    client: httpx.AsyncClient, app: FastAPI
) -> None:
    secret = basic("shop", await register(app, audiences=(ORDERS,)))
    await register_with_keys(app, client_id="keyed")
    wrong = await client.post(TOKEN, data=GRANT, headers=basic("shop", "wrong"))
    signed = await client.post(TOKEN, data={**GRANT, **assertion("keyed")})
    token = {"token": (await client.post(TOKEN, data=GRANT, headers=secret)).json()["access_token"]}

    before = (await client.post(INTROSPECT, data=token, headers=secret)).json()["active"]
    revoked = await client.post(REVOKE, data=token, headers=secret)
    after = (await client.post(INTROSPECT, data=token, headers=secret)).json()["active"]

    assert (401, 200, 200) == (wrong.status_code, signed.status_code, revoked.status_code)
    assert (True, False) == (before, after)


@pytest.mark.requirement("S5")
@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE users ADD COLUMN backdoor text",
        "CREATE TABLE mine (id int)",
        "DROP TABLE audit_records",
        "UPDATE authsvc_version SET version_num = 'other'",
        "TRUNCATE audit_records",
    ],
)
async def test_the_role_of_the_page_cannot_change_the_schema(
    settings: Settings, statement: str
) -> None:
    assert settings.database_url is not None
    connection = await asyncpg.connect(settings.database_url.get_secret_value())
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement)
    finally:
        await connection.close()


@pytest.mark.finding("11.18")
@pytest.mark.parametrize(
    ("privilege", "table", "status"),
    [("INSERT", "refresh_families", 503), ("SELECT", "authsvc_version", 200)],
)
async def test_a_privilege_that_is_lacking_is_told_by_readiness_and_never_a_defect_of_ours(
    client: httpx.AsyncClient, database_url: str, privilege: str, table: str, status: int,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    await client.post("/auth/register", json={"email": EMAIL, "password": PASSWORD})
    owner = await asyncpg.connect(database_url)
    await owner.execute(f"REVOKE {privilege} ON {table} FROM {ROLE}")
    await owner.close()

    ready = await client.get("/readyz")
    login = await client.post("/auth/login", json={"email": EMAIL, "password": PASSWORD})

    assert (503, status) == (ready.status_code, login.status_code)
    assert f"{privilege} on {table}" in ready.json()["checks"]["database"]
    if status != 200:
        assert "database_unavailable" == login.json()["code"]
        assert "lacks a privilege" in capsys.readouterr().out


@pytest.mark.finding("11.18")
async def test_the_role_of_the_page_sees_what_is_set_for_it(
    client: httpx.AsyncClient, database_url: str
) -> None:
    assert 200 == (await client.get("/readyz")).status_code  # on what will be the old connection
    owner = await asyncpg.connect(database_url)
    await owner.execute(f"ALTER ROLE {ROLE} SET default_transaction_read_only = on")
    await owner.close()

    assert 503 == (await client.get("/readyz")).status_code
