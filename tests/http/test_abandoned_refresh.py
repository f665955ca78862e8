"""What a client has given up and hung up on ends nothing the first time; the second is reuse."""

from __future__ import annotations

import asyncio
import re
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from itertools import count
from pathlib import Path

import asyncpg
import httpx
import pytest
from fastapi import FastAPI
from sqlmodel import col, select
from starlette.types import Message, Receive, Scope, Send

from authsvc.protocol.audit import AuditEvent
from authsvc.store.database import Database
from authsvc.store.tables import AuditRecord
from tests.http.conftest import BASE_URL, MovableClock, log_in, refresh
from tests.support.live import EMAIL, PASSWORD, serving
from tests.support.waiting import HANGS
from tests.support.wire import Connection, post


def _outcomes(port: int) -> dict[str, int]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=HANGS) as answer:
        text = answer.read().decode()
    found = re.findall(r'^authsvc_refresh_total\{outcome="(\w+)"\} (\d+)', text, re.MULTILINE)
    return {outcome: int(count) for outcome, count in found}


async def _counted(port: int, *outcomes: str) -> str:
    """Which of them has happened."""
    async with asyncio.timeout(HANGS):
        while True:
            counts = await asyncio.to_thread(_outcomes, port)
            for outcome in outcomes:
                if counts[outcome]:
                    return outcome


def _refresh(token: str) -> bytes:
    return post("/auth/refresh", {"refresh_token": token})


async def _a_minute_later(database_url: str) -> None:
    """
    Move the rotations into the past.

    On a busy machine a request may be taken for one that the rotation just before it overtook
    (decision 0011).
    """
    connection = await asyncpg.connect(database_url)
    await connection.execute(
        "UPDATE refresh_families SET rotated_at = rotated_at - interval '1 minute'"
    )
    await connection.close()


@asynccontextmanager
async def _held_up(database_url: str) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Statements on families wait; yields what waits until a rotation does (not the sweep)."""
    connection = await asyncpg.connect(database_url)

    async def one_waits() -> None:
        async with asyncio.timeout(HANGS):
            while not await connection.fetchval(
                "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE NOT granted "
                "AND relation = 'refresh_families'::regclass AND query LIKE '%generation%'"
            ):
                pass

    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE refresh_families IN ACCESS EXCLUSIVE MODE")
            yield one_waits
    finally:
        await connection.close()


@pytest.mark.requirement("R1", "R2", "R6")
async def test_a_reused_token_ends_its_family_only_for_a_client_that_waits(
    database_url: str, tmp_path: Path
) -> None:
    async with serving(database_url, tmp_path) as (port, *_):
        client = await Connection.open(port)
        body: dict[str, object] = {"email": EMAIL, "password": PASSWORD, "delivery": "native"}
        tokens = [(await client.ask(post("/auth/login", body))).body["refresh_token"]]
        for _ in range(3):
            answer = await client.ask(_refresh(tokens[-1]))
            tokens.append(answer.body["refresh_token"])

        await _a_minute_later(database_url)
        given_up = await Connection.open(port)
        async with _held_up(database_url) as statement_waits:
            given_up.send(_refresh(tokens[0]))
            await statement_waits()
            await given_up.close()

        assert "abandoned" == await _counted(port, "abandoned", "reused")
        answer = await client.ask(_refresh(tokens[-1]))
        assert 200 == answer.status
        await _a_minute_later(database_url)
        assert 401 == (await client.ask(_refresh(tokens[0]))).status
        assert 401 == (await client.ask(_refresh(answer.body["refresh_token"]))).status
        client.abort()


Unseen = Callable[..., Awaitable[httpx.Response]]
KEYS = [f"the-key-of-rotation-{number}" for number in range(5)]
GIVEN_UP = "refresh_token_abandoned"


@pytest.fixture
def unseen(app: FastAPI) -> Unseen:
    """Present a token, and hang up before there is an answer: once that left no trace."""

    async def hangs_up(scope: Scope, receive: Receive, send: Send) -> None:
        whole = False

        async def then_gone() -> Message:
            nonlocal whole
            if whole:
                return {"type": "http.disconnect"}
            message = await receive()
            whole = not message.get("more_body", False)
            return message

        await app(scope, then_gone, send)

    async def present(token: str, *, key: str | None = None) -> httpx.Response:
        transport = httpx.ASGITransport(app=hangs_up)
        async with httpx.AsyncClient(transport=transport, base_url=BASE_URL) as client:
            return await refresh(client, token, key=key)

    return present


async def _rotated(client: httpx.AsyncClient) -> list[str]:
    """All tokens of a family that was rotated a moment ago for the last time."""
    tokens = [(await log_in(client)).json()["refresh_token"]]
    for key in KEYS:
        tokens.append((await refresh(client, tokens[-1], key=key)).json()["refresh_token"])
    return tokens


async def _audited(db: Database) -> list[str]:
    """What the trail has of it."""
    async with db.transaction() as session:
        records = await session.exec(select(AuditRecord.event).order_by(col(AuditRecord.at)))
        return [event for event in records if event.startswith("refresh_")]


@pytest.mark.finding("11.7")
@pytest.mark.requirement("R2")
@pytest.mark.usefixtures("alice")
async def test_the_first_is_audited_and_the_second_ends_the_family(
    client: httpx.AsyncClient, db: Database, unseen: Unseen
) -> None:
    tokens = await _rotated(client)

    first = await unseen(tokens[0])
    after_the_first = await _audited(db)
    second = await unseen(tokens[1])

    assert [503, 401] == [first.status_code, second.status_code]
    assert [GIVEN_UP] == after_the_first
    assert [GIVEN_UP, AuditEvent.REFRESH_TOKEN_REUSED] == await _audited(db)
    assert 401 == (await refresh(client, tokens[-1])).status_code


@pytest.mark.finding("11.7")
@pytest.mark.requirement("R2")
@pytest.mark.usefixtures("alice")
async def test_a_rotation_between_the_two_forgives_nothing(
    client: httpx.AsyncClient,
    clock: MovableClock,
    unseen: Unseen,
) -> None:
    tokens = await _rotated(client)
    await unseen(tokens[0])
    clock.advance(timedelta(days=6))
    newest = (await refresh(client, tokens[-1])).json()["refresh_token"]

    assert 401 == (await unseen(tokens[0])).status_code
    assert 401 == (await refresh(client, newest)).status_code


@pytest.mark.finding("11.7")
@pytest.mark.requirement("R6")
@pytest.mark.usefixtures("alice")
async def test_the_key_of_that_rotation_excuses_any_number(
    client: httpx.AsyncClient, db: Database, unseen: Unseen
) -> None:
    tokens = await _rotated(client)

    answers = [await unseen(tokens[spent], key=KEYS[spent]) for spent in range(4) for _ in range(3)]

    assert {503} == {answer.status_code for answer in answers}
    assert [] == await _audited(db)
    assert 200 == (await refresh(client, tokens[-1])).status_code


@pytest.mark.finding("11.7")
@pytest.mark.usefixtures("alice")
async def test_of_two_at_once_one_is_the_second(
    client: httpx.AsyncClient, db: Database, unseen: Unseen
) -> None:
    tokens = await _rotated(client)

    answers = await asyncio.gather(*(unseen(tokens[0]) for _ in range(2)))

    assert [401, 503] == sorted(answer.status_code for answer in answers)
    assert [GIVEN_UP, AuditEvent.REFRESH_TOKEN_REUSED] == await _audited(db)


@pytest.mark.finding("11.7")
@pytest.mark.usefixtures("alice")
async def test_each_family_has_its_own_first(
    client: httpx.AsyncClient, db: Database, unseen: Unseen
) -> None:
    families = [await _rotated(client) for _ in range(2)]

    for tokens in families:
        assert 503 == (await unseen(tokens[0])).status_code

    assert [GIVEN_UP] * 2 == await _audited(db)


@pytest.mark.usefixtures("alice")
async def test_a_request_that_was_under_way_before_the_rotation_never_counts(
    client: httpx.AsyncClient, clock: MovableClock, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was sent when its token was good; a thief cannot choose those milliseconds."""
    tokens = await _rotated(client)
    ticks = count()

    with monkeypatch.context() as waiting:
        waiting.setattr(clock, "now", lambda: clock.time + timedelta(microseconds=next(ticks)))
        answers = [await refresh(client, tokens[0]) for _ in range(4)]

    assert {503} == {answer.status_code for answer in answers}
    assert [] == await _audited(db)
    assert 200 == (await refresh(client, tokens[-1])).status_code
