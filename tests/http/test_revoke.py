"""POST /oauth/revoke: one's own, and nothing else."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from authsvc.flows import revoke_token
from authsvc.protocol.throttle import Bucket
from authsvc.store import spent_jtis
from tests.http.conftest import log_in, me, refresh
from tests.http.oauth import GRANT, INTROSPECT, ORDERS, REVOKE, ask, basic, error, register

pytestmark = pytest.mark.usefixtures("alice")
PUBLIC = {"client_id": "authsvc"}


async def revoke(client: httpx.AsyncClient, token: str, **form: str) -> httpx.Response:
    """As the first-party client."""
    return await client.post(REVOKE, data={**PUBLIC, "token": token, **form})


def done(answer: httpx.Response) -> bool:
    return (200, b"", "no-store") == (
        answer.status_code,
        answer.content,
        answer.headers["cache-control"],
    )


@pytest.mark.requirement("Q3")
@pytest.mark.parametrize("hint", ["", "refresh_token", "access_token", "nonsense"])
async def test_a_refresh_token_ends_its_session_and_its_access_tokens(
    client: httpx.AsyncClient, hint: str
) -> None:
    login = (await log_in(client)).json()

    answer = await revoke(client, login["refresh_token"], token_type_hint=hint)

    assert done(answer)
    assert 401 == (await me(client, login["access_token"])).status_code
    assert 401 == (await refresh(client, login["refresh_token"])).status_code
    assert done(await revoke(client, login["refresh_token"]))


@pytest.mark.requirement("Q3")
async def test_a_spent_refresh_token_ends_its_session_and_is_no_reuse(
    client: httpx.AsyncClient, app: FastAPI
) -> None:
    first = (await log_in(client)).json()["refresh_token"]
    second = (await refresh(client, first)).json()["refresh_token"]

    assert done(await revoke(client, first))

    assert 401 == (await refresh(client, second)).status_code
    async with app.state.service.db.autocommit() as connection:
        row = await connection.fetchrow(
            "SELECT string_agg(event || ' ' || (details->>'reason'), ',') AS trail"
            " FROM audit_records WHERE family_id IS NOT NULL AND event <> 'login_succeeded'"
        )
    assert "session_revoked token_revoked" == row["trail"]


@pytest.mark.requirement("Q3")
async def test_other_sessions_go_on(client: httpx.AsyncClient) -> None:
    phone, laptop = [(await log_in(client)).json() for _ in range(2)]

    await revoke(client, phone["refresh_token"])

    assert 200 == (await refresh(client, laptop["refresh_token"])).status_code


@pytest.mark.requirement("Q3")
@pytest.mark.parametrize(
    "token", ["x", "art1.", "art1.AAAA", "eyJhbGciOiJub25lIn0.e30.x", "ü", "e" * 15_000]
)
async def test_a_token_that_is_none_is_revoked_already(
    client: httpx.AsyncClient, token: str
) -> None:
    assert done(await revoke(client, token))


@pytest.mark.requirement("Q3", "R12")
async def test_the_token_of_a_cookie_is_not_taken_from_a_body(client: httpx.AsyncClient) -> None:
    await log_in(client, "spa")
    cookie = client.cookies["authsvc_refresh"]

    assert done(await revoke(client, cookie))

    assert 200 == (await refresh(client)).status_code


@pytest.mark.requirement("Q3")
async def test_the_access_token_of_a_user_is_not_revoked_by_itself(
    client: httpx.AsyncClient,
) -> None:
    login = (await log_in(client)).json()

    answer = await revoke(client, login["access_token"])

    assert (400, "unsupported_token_type") == error(answer)
    assert 200 == (await me(client, login["access_token"])).status_code


@pytest.mark.requirement("Q3", "R5")
async def test_a_confidential_client_ends_no_session(
    client: httpx.AsyncClient, app: FastAPI
) -> None:
    secret = await register(app)
    login = (await log_in(client)).json()

    for token in (login["refresh_token"], login["access_token"]):
        answer = await client.post(REVOKE, data={"token": token}, headers=basic("shop", secret))
        assert done(answer)

    assert 200 == (await me(client, login["access_token"])).status_code
    assert 200 == (await refresh(client, login["refresh_token"])).status_code


@pytest.mark.requirement("Q3")
async def test_the_tokens_of_another_client_are_untouched(
    client: httpx.AsyncClient, app: FastAPI
) -> None:
    secret, other = await register(app), await register(app, client_id="other")
    token = (await ask(client, secret)).json()["access_token"]

    answers = [
        await client.post(REVOKE, data={"token": token}, headers=basic("other", other)),
        await revoke(client, token),
    ]

    assert all(map(done, answers))
    async with app.state.service.db.autocommit() as connection:
        row = await connection.fetchrow("SELECT count(*) FROM spent_jtis")
    assert 0 == row["count"]


@pytest.mark.requirement("R5", "A1")
@pytest.mark.parametrize(
    ("headers", "form", "refusal"),
    [
        (basic("authsvc", "x"), {}, (401, "invalid_client")),
        (basic("shop", "wrong"), {}, (401, "invalid_client")),
        (basic("shop", "wrong"), PUBLIC, (400, "invalid_request")),
        ({}, {**PUBLIC, "client_secret": "x"}, (401, "invalid_client")),
        ({}, {"client_id": "shop"}, (401, "invalid_client")),
        ({}, {}, (401, "invalid_client")),
        ({"authorization": "Bearer x"}, {}, (401, "invalid_client")),
    ],
    ids=repr,
)
async def test_who_fails_to_authenticate_revokes_nothing(
    client: httpx.AsyncClient,
    app: FastAPI,
    headers: dict[str, str],
    form: dict[str, str],
    refusal: tuple[int, str],
) -> None:
    await register(app)
    token = (await log_in(client)).json()["refresh_token"]

    answer = await client.post(REVOKE, data={"token": token, **form}, headers=headers)

    assert refusal == error(answer)
    assert 200 == (await refresh(client, token)).status_code


async def test_without_a_token_there_is_nothing_to_revoke(client: httpx.AsyncClient) -> None:
    assert (400, "invalid_request") == error(await client.post(REVOKE, data=PUBLIC))


@pytest.mark.requirement("S4")
async def test_a_client_that_revokes_its_token_is_audited_once(
    client: httpx.AsyncClient, app: FastAPI
) -> None:
    secret = await register(app)
    token = (await ask(client, secret)).json()["access_token"]
    headers = basic("shop", secret)

    answers = await asyncio.gather(
        *(client.post(REVOKE, data={"token": token}, headers=headers) for _ in range(4))
    )

    assert all(map(done, answers))
    async with app.state.service.db.autocommit() as connection:
        row: Any = await connection.fetchrow(
            "SELECT count(*), min(details->>'client_id') AS client FROM audit_records"
            " WHERE event = 'client_token_revoked'"
        )
    assert (1, "shop") == tuple(row)


@pytest.mark.finding("11.4")
async def test_beyond_its_part_of_the_log_a_client_ends_all_its_tokens_and_no_others(
    client: httpx.AsyncClient, app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spent_jtis, "MAX_LIVE", 2)
    secret, other = await register(app), await register(app, client_id="other")
    asking = basic("orders", await register(app, client_id="orders", audiences=(ORDERS,)))
    user = (await log_in(client)).json()["access_token"]
    tokens = [(await ask(client, secret)).json()["access_token"] for _ in range(4)]
    answer = await client.post("/oauth/token", data=GRANT, headers=basic("other", other))

    for token in tokens[:3]:
        assert done(await client.post(REVOKE, data={"token": token}, headers=basic("shop", secret)))

    async def is_active(token: str) -> bool:
        answer = await client.post(INTROSPECT, data={"token": token}, headers=asking)
        return bool(answer.json()["active"])

    assert [False] * 4 == [await is_active(token) for token in tokens]
    assert await is_active(answer.json()["access_token"])
    assert 200 == (await me(client, user)).status_code


@pytest.mark.finding("11.4")
async def test_a_client_revokes_no_more_than_its_quota_and_is_told_when_to_go_on(
    client: httpx.AsyncClient, app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token that means nothing is revoked already, however many were before (RFC 7009 §2.2)."""
    monkeypatch.setattr(revoke_token, "REVOCATIONS", Bucket(1, timedelta(minutes=1)))
    secret, other = await register(app), await register(app, client_id="other")
    tokens = [(await ask(client, secret)).json()["access_token"] for _ in range(2)]
    headers = basic("shop", secret)

    first, second = [
        await client.post(REVOKE, data={"token": token}, headers=headers) for token in tokens
    ]
    unknown = await client.post(REVOKE, data={"token": "x"}, headers=headers)
    theirs = await client.post("/oauth/token", data=GRANT, headers=basic("other", other))
    form = {"token": theirs.json()["access_token"]}

    assert done(first)
    assert (429, "temporarily_unavailable") == error(second)
    assert done(unknown)
    assert done(await client.post(REVOKE, data=form, headers=basic("other", other)))
