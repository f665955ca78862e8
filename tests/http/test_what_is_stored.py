"""What a reader of the whole database finds, and how much of it there is."""

from __future__ import annotations

from base64 import urlsafe_b64decode
from pathlib import Path

import asyncpg
import httpx
import pytest

from tests.http.conftest import PASSWORD, log_in, refresh

pytestmark = pytest.mark.usefixtures("alice")

REFRESHES = 5


async def everything(database_url: str) -> bytes:
    """All rows of all tables, as `COPY … TO` writes them."""
    connection = await asyncpg.connect(database_url)
    found = bytearray()

    async def collect(data: bytes) -> None:
        found.extend(data)

    try:
        for row in await connection.fetch(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
        ):
            await connection.copy_from_query(f'SELECT * FROM "{row[0]}"', output=collect)  # noqa: S608 - names of our own tables
    finally:
        await connection.close()
    return bytes(found)


@pytest.fixture
def mac_keys(keys_dir: Path) -> list[bytes]:
    return [file.read_bytes() for file in keys_dir.glob("*.key")]


@pytest.mark.requirement("R11", "S1")
async def test_no_token_password_or_key_is_in_the_database(
    client: httpx.AsyncClient, database_url: str, mac_keys: list[bytes]
) -> None:
    """Neither as text nor as the bytes that the text stands for, nor any MAC."""
    tokens = [(await log_in(client)).json()]
    for number in range(REFRESHES):
        key = f"the idempotency key number {number}".replace(" ", "-")
        tokens.append((await refresh(client, tokens[-1]["refresh_token"], key=key)).json())

    dump = await everything(database_url)

    assert tokens[0]["session_id"].encode() in dump
    for token in tokens:
        text = token["refresh_token"].removeprefix("art1.")
        mac = urlsafe_b64decode(text + "=")[-32:]
        assert text.encode() not in dump
        assert mac.hex().encode() not in dump
        assert token["access_token"].split(".")[2].encode() not in dump
    assert mac_keys
    for secret in mac_keys:
        assert secret.hex().encode() not in dump
    assert b"PRIVATE KEY" not in dump
    assert PASSWORD.encode() not in dump
    assert b"the-idempotency-key" not in dump


@pytest.mark.requirement("R14")
async def test_a_session_is_one_row_however_often_it_is_refreshed(
    client: httpx.AsyncClient, database_url: str
) -> None:
    async def size() -> tuple[int, int]:
        connection = await asyncpg.connect(database_url)
        try:
            row = await connection.fetchrow(
                "SELECT (SELECT count(*) FROM refresh_families) AS families, "
                "(SELECT count(*) FROM audit_records) AS records"
            )
        finally:
            await connection.close()
        return row["families"], row["records"]

    token = (await log_in(client)).json()["refresh_token"]
    before = await size()
    for _ in range(REFRESHES):
        token = (await refresh(client, token)).json()["refresh_token"]

    assert before == await size()


@pytest.mark.requirement("C5")
async def test_every_login_is_a_new_session(client: httpx.AsyncClient) -> None:
    first = (await log_in(client, "spa")).json()["session_id"]
    second = (await log_in(client, "spa")).json()["session_id"]

    assert first != second
