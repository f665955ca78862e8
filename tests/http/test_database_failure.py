"""The database's own failure is 503, never 401, and with the key it loses nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import TemporaryDirectory

import asyncpg
import httpx
import pytest
from fastapi import FastAPI

from authsvc.settings import Settings
from tests.http.conftest import CHEAP_ARGON2, EMAIL, PASSWORD, log_in, me, refresh
from tests.http.oauth import GRANT, INTROSPECT, REVOKE, TOKEN, basic, register
from tests.support.database_proxy import DatabaseProxy, Mode

KEY = "6a1e0d1a2f6c4e0b9d3f"


@pytest.fixture
async def proxy(database_url: str) -> AsyncIterator[DatabaseProxy]:
    with TemporaryDirectory() as directory:  # a socket's path must be short
        async with DatabaseProxy(database_url, Path(directory)) as running:
            yield running


@pytest.fixture
def settings(proxy: DatabaseProxy, keys_dir: Path) -> Settings:
    return Settings.load(
        database_url=proxy.url, keys_dir=keys_dir, log_level="error", **CHEAP_ARGON2
    )


async def warm_up(client: httpx.AsyncClient) -> None:
    """The statement is prepared on the hot connection, so that its next reply is its commit's."""
    token = (await log_in(client)).json()["refresh_token"]
    assert 200 == (await refresh(client, token)).status_code


pytestmark = pytest.mark.usefixtures("alice")


@pytest.mark.requirement("Z1", "Z2", "R6")
async def test_without_the_database_a_refresh_is_503_and_loses_nothing_with_the_key(
    client: httpx.AsyncClient, proxy: DatabaseProxy
) -> None:
    token = (await log_in(client)).json()["refresh_token"]
    proxy.set(Mode.DOWN)

    failed = await refresh(client, token, key=KEY)
    proxy.set(Mode.PASS)
    repeated = await refresh(client, token, key=KEY)

    assert (503, "database_unavailable") == (failed.status_code, failed.json()["code"])
    assert int(failed.headers["retry-after"]) >= 1
    assert 200 == repeated.status_code


@pytest.mark.requirement("Z1")
@pytest.mark.finding("11.18")
@pytest.mark.parametrize(
    "change", ["RENAME TO of_another_version", "RENAME COLUMN epoch TO of_another_version"]
)
async def test_a_schema_of_another_version_is_503_and_the_log_says_what_to_do(
    client: httpx.AsyncClient, database_url: str, capsys: pytest.CaptureFixture[str], change: str
) -> None:
    token = (await log_in(client)).json()["refresh_token"]
    connection = await asyncpg.connect(database_url)
    await connection.execute(f"ALTER TABLE refresh_families {change}")
    await connection.close()

    answers = [
        await refresh(client, token),
        await client.post("/auth/login", json={"email": EMAIL, "password": PASSWORD}),
        await client.post("/auth/logout", json={"refresh_token": token}),
    ]

    assert [(503, "database_unavailable")] * 3 == [
        (answer.status_code, answer.json()["code"]) for answer in answers
    ]
    assert "authsvc db upgrade" in capsys.readouterr().out


@pytest.mark.requirement("Z1", "Z2", "D7")
async def test_without_the_database_nothing_that_needs_it_says_401_or_2xx(
    client: httpx.AsyncClient, proxy: DatabaseProxy, app: FastAPI
) -> None:
    await log_in(client, "spa")
    session = (await log_in(client)).json()
    service = basic("shop", await register(app, audiences=("authsvc",)))
    proxy.set(Mode.DOWN)

    answers = {
        "token": await client.post(TOKEN, data=GRANT, headers=service),
        "introspect": await client.post(
            INTROSPECT, data={"token": session["access_token"]}, headers=service
        ),
        "revoke": await client.post(
            REVOKE, data={"client_id": "authsvc", "token": session["refresh_token"]}
        ),
        "login": await client.post("/auth/login", json={"email": EMAIL, "password": PASSWORD}),
        "register": await client.post(
            "/auth/register", json={"email": "bob@example.com", "password": PASSWORD}
        ),
        "me": await me(client, session["access_token"]),
        "refresh": await refresh(client),
        "logout": await client.post("/auth/logout"),
        "sessions": await client.get(
            "/auth/sessions", headers={"authorization": f"Bearer {session['access_token']}"}
        ),
    }

    assert dict.fromkeys(answers, 503) == {n: a.status_code for n, a in answers.items()}
    assert not any("set-cookie" in answer.headers for answer in answers.values())
    proxy.set(Mode.PASS)
    assert 200 == (await refresh(client)).status_code


@pytest.mark.requirement("K4", "Z3")
async def test_jwks_and_liveness_answer_without_the_database(
    client: httpx.AsyncClient, proxy: DatabaseProxy
) -> None:
    proxy.set(Mode.DOWN)

    jwks = await client.get("/.well-known/jwks.json")
    live = await client.get("/healthz")
    ready = await client.get("/readyz")

    assert [200, 200, 503] == [jwks.status_code, live.status_code, ready.status_code]
    assert jwks.json()["keys"]
    assert "ok" != ready.json()["checks"]["database"]


@pytest.mark.requirement("R3")
async def test_a_reply_lost_between_commit_and_service_is_recognised_as_our_own_commit(
    client: httpx.AsyncClient, proxy: DatabaseProxy
) -> None:
    """F10 on the database side: no key is needed, the request itself remembers its digest."""
    token = (await log_in(client)).json()["refresh_token"]
    await warm_up(client)
    proxy.set(Mode.LOSE_ONE_REPLY)

    answer = await refresh(client, token)
    onwards = await refresh(client, answer.json()["refresh_token"])

    assert (200, "rotated") == (answer.status_code, answer.headers["authsvc-refresh"])
    assert 200 == onwards.status_code


@pytest.mark.requirement("R1", "R3")
async def test_two_requests_with_one_key_never_both_say_that_they_rotated(
    client: httpx.AsyncClient, proxy: DatabaseProxy
) -> None:
    """F09, found by the mixed schedule: the reply that says "no row" is lost, too."""
    token = (await log_in(client)).json()["refresh_token"]
    await warm_up(client)

    first = await refresh(client, token, key=KEY)
    proxy.set(Mode.LOSE_ONE_REPLY)
    second = await refresh(client, token, key=KEY)

    assert ["rotated", "replayed"] == [a.headers["authsvc-refresh"] for a in (first, second)]
    assert first.json()["refresh_token"] == second.json()["refresh_token"]


@pytest.mark.requirement("R3", "Z2")
async def test_an_unknown_outcome_is_503_and_the_key_recovers_the_successor(
    client: httpx.AsyncClient, proxy: DatabaseProxy
) -> None:
    token = (await log_in(client)).json()["refresh_token"]
    await warm_up(client)
    proxy.set(Mode.LOSE_REPLY_AND_DOWN)

    unknown = await refresh(client, token, key=KEY)
    proxy.set(Mode.PASS)
    repeated = await refresh(client, token, key=KEY)

    assert 503 == unknown.status_code
    assert (200, "replayed") == (repeated.status_code, repeated.headers["authsvc-refresh"])
    assert 200 == (await refresh(client, repeated.json()["refresh_token"])).status_code


async def test_without_the_key_an_unknown_outcome_may_cost_a_native_session(
    client: httpx.AsyncClient, proxy: DatabaseProxy
) -> None:
    """The documented price of not sending an Idempotency-Key."""
    token = (await log_in(client)).json()["refresh_token"]
    await warm_up(client)
    proxy.set(Mode.LOSE_REPLY_AND_DOWN)
    assert 503 == (await refresh(client, token)).status_code
    proxy.set(Mode.PASS)

    assert 401 == (await refresh(client, token)).status_code


@pytest.mark.requirement("D2", "D7")
async def test_a_logout_whose_reply_was_lost_is_503_and_may_be_repeated(
    client: httpx.AsyncClient, proxy: DatabaseProxy
) -> None:
    token = (await log_in(client)).json()["refresh_token"]
    proxy.set(Mode.LOSE_ONE_REPLY)

    first = await client.post("/auth/logout", json={"refresh_token": token})
    again = await client.post("/auth/logout", json={"refresh_token": token})

    assert [503, 204] == [first.status_code, again.status_code]
    assert 401 == (await refresh(client, token)).status_code


async def test_a_dead_connection_in_the_pool_costs_at_most_one_answer(
    client: httpx.AsyncClient, proxy: DatabaseProxy
) -> None:
    token = (await log_in(client)).json()["refresh_token"]
    proxy.set(Mode.DOWN)
    proxy.set(Mode.PASS)

    first = await refresh(client, token, key=KEY)
    second = await refresh(client, token, key=KEY)

    # Whether the socket's end has been noticed yet decides about the first.
    assert first.status_code in {200, 503}
    assert 200 == second.status_code
