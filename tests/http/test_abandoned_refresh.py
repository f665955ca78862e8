"""F08: what a client has given up and hung up on ends nothing, however late it is judged."""

from __future__ import annotations

import asyncio
import re
import time
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from tests.live import EMAIL, PASSWORD, serving
from tests.wire import Connection, post

DEADLINE = 5.0  # seconds


def _outcomes(port: int) -> dict[str, int]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=DEADLINE) as answer:
        text = answer.read().decode()
    found = re.findall(r'^authsvc_refresh_total\{outcome="(\w+)"\} (\d+)', text, re.MULTILINE)
    return {outcome: int(count) for outcome, count in found}


async def _counted(port: int, *outcomes: str) -> str:
    """Which of them has happened."""
    until = time.monotonic() + DEADLINE
    while time.monotonic() < until:
        counts = await asyncio.to_thread(_outcomes, port)
        for outcome in outcomes:
            if counts[outcome]:
                return outcome
        await asyncio.sleep(0.01)
    raise AssertionError(f"none of {outcomes}")


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
        async with asyncio.timeout(DEADLINE):
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
