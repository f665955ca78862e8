"""An account with 100,000 sessions ends them in one request, whatever their number."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest
from fastapi import FastAPI

from authsvc.flows import maintain
from authsvc.keys.refresh_tokens import seal
from authsvc.protocol.refresh import Delivery, RefreshToken
from authsvc.store import endings
from tests.http.conftest import PASSWORD, log_in, me, refresh
from tests.support.crowd import copies, copy_session, mark, not_revoked, written

pytestmark = [pytest.mark.usefixtures("alice"), pytest.mark.slow]

NEW_PASSWORD = "another staple of horses"


@pytest.fixture
async def owner(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection without the service's limit for a statement."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


async def _logout(client: httpx.AsyncClient, access_token: str, scope: str) -> httpx.Response:
    headers = {"authorization": f"Bearer {access_token}"}
    return await client.post("/auth/logout", json={"scope": scope}, headers=headers)


async def logout_all(client: httpx.AsyncClient, access_token: str) -> httpx.Response:
    return await _logout(client, access_token, "all")


async def logout_others(client: httpx.AsyncClient, access_token: str) -> httpx.Response:
    return await _logout(client, access_token, "others")


async def change_password(client: httpx.AsyncClient, access_token: str) -> httpx.Response:
    return await client.post(
        "/auth/password/change",
        json={"current_password": PASSWORD, "new_password": NEW_PASSWORD},
        headers={"authorization": f"Bearer {access_token}"},
    )


@pytest.mark.finding("11.1")
@pytest.mark.parametrize(
    ("end", "own"), [(logout_all, 401), (logout_others, 200), (change_password, 200)]
)
async def test_a_hundred_thousand_sessions_end_within_one_request(
    client: httpx.AsyncClient,
    app: FastAPI,
    owner: asyncpg.Connection,
    end: Callable[[httpx.AsyncClient, str], Awaitable[httpx.Response]],
    own: int,
) -> None:
    mine: dict[str, Any] = (await log_in(client)).json()
    await copy_session(owner, mine["session_id"])
    used, first, last = await copies(owner, mine["session_id"], 3)
    lives = await refresh(client, await _token(app, owner, used))
    before = await mark(owner)

    answer = await end(client, mine["access_token"])

    # All have ended with the answer, and hardly a row was written for it.
    assert (200, 204) == (lives.status_code, answer.status_code), answer.text
    rows = await written(owner, before)
    assert (1, 1, 1) == (rows["users"], rows["revocations"], rows["unfinished_endings"])
    assert rows["refresh_families"] <= endings.AT_ONCE + 1
    for other in (first, last):
        assert 401 == (await refresh(client, await _token(app, owner, other))).status_code
    assert 401 == (await me(client, lives.json()["access_token"])).status_code
    assert own == (await refresh(client, mine["refresh_token"])).status_code

    # The rows follow behind, in batches.
    waiting = await not_revoked(owner)
    done = await maintain.prune(app.state.service.db, audit_retention=timedelta(days=1))
    assert maintain.BATCH * maintain.ROUNDS == done.endings
    assert waiting - done.endings == await not_revoked(owner)


async def _token(app: FastAPI, owner: asyncpg.Connection, family_id: UUID) -> str:
    """The newest refresh token of a copied session."""
    row = await owner.fetchrow(
        "SELECT mac_key_id, generation FROM refresh_families WHERE id = $1", family_id
    )
    token = RefreshToken(row["mac_key_id"], family_id, row["generation"], Delivery.NATIVE)
    return seal(app.state.service.keys.refresh, token)
