"""Commands that end the sessions of an account with 100,000 of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID

import asyncpg
import pytest

from authsvc.flows import administer_sessions, maintain
from authsvc.protocol.refresh import Delivery, RefreshToken
from authsvc.store import endings, rotation
from authsvc.store.database import Database
from authsvc.store.rotation import RotationRequest
from tests.cli.conftest import Command
from tests.conftest import CALLER, LIFETIMES, database_at
from tests.support.accounts import add_user, log_in
from tests.support.crowd import copies, copy_session, mark, not_revoked, written

ADDRESS = "alice@example.com"
pytestmark = pytest.mark.slow


@pytest.fixture
async def owner(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection without the service's limit for a statement."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


async def refreshes(db: Database, family_id: UUID) -> bool:
    request = RotationRequest(
        token=RefreshToken(b"k" * 8, family_id, 0, Delivery.SPA),
        successor_key_id=b"l" * 8,
        digest=b"d" * 32,
        lifetimes=LIFETIMES,
        caller=CALLER,
    )
    async with db.autocommit() as connection:
        # Later than the retry window, in which a cookie is kept as it is.
        later = await connection.fetchrow("SELECT clock_timestamp() + interval '1 minute' AS now")
        assert later is not None
        with database_at(later["now"]):
            return await rotation.rotate(connection, request) is not None


@pytest.mark.finding("11.1")
@pytest.mark.parametrize(
    "command",
    [
        ("users", "disable", ADDRESS),
        ("users", "delete", ADDRESS, "--yes"),
        ("users", "set-password", ADDRESS, "--password-stdin"),
        ("sessions", "revoke", "--user", ADDRESS),
    ],
    ids=lambda command: f"{command[0]} {command[1]}",
)
async def test_a_hundred_thousand_sessions_end_by_one_command(
    authsvc: Command,
    db: Database,
    owner: asyncpg.Connection,
    command: tuple[str, ...],
) -> None:
    alice = await add_user(db, ADDRESS)
    mine = (await log_in(db, alice, delivery=Delivery.SPA)).id
    await copy_session(owner, mine)
    used, first, last = await copies(owner, mine, 3)
    assert await refreshes(db, used)
    before = await mark(owner)

    done = await authsvc(*command, stdin="another staple of horses\n")

    assert 0 == done.code, done.err
    assert "200 sessions or more" in done.out
    rows = await written(owner, before)
    deleted = "delete" in command
    assert (not deleted, 1, 1) == (rows["users"], rows["revocations"], rows["unfinished_endings"])
    assert rows["refresh_families"] <= endings.AT_ONCE
    assert 0 == await administer_sessions.count_sessions(db, alice)
    for family_id in (mine, used, first, last):
        assert not await refreshes(db, family_id)

    waiting = await not_revoked(owner)
    tidied = await maintain.prune(db, audit_retention=timedelta(days=1))
    assert maintain.BATCH * maintain.ROUNDS == tidied.endings
    # A deleted user's rows go whether they say so or not.
    assert waiting - await not_revoked(owner) >= tidied.endings - endings.AT_ONCE
