"""How long it takes to end all sessions of an account, with few of them and with very many."""

from __future__ import annotations

import io
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from uuid import UUID

import asyncpg

from authsvc.flows.accounts import disable_account
from authsvc.store.database import Database
from bench.world import World
from proof.client import Client, Session
from proof.history import Recorder
from tests.support.crowd import MANY, copy_session

Json = dict[str, Any]
End = Callable[[Session], Awaitable[None]]


async def measure_endings(
    world: World, *, sizes: Sequence[int] = (100, MANY), rounds: int = 7
) -> list[Json]:
    """
    Each way with each number of sessions, in turns; milliseconds until the answer.

    Logouts are requests to one worker; disabling is what the command does, without its start.
    """
    found = []
    with world.serving(workers=1) as serving:
        client = Client("bench", Recorder(io.StringIO()), [serving.port])
        database = await Database.open(world.url)
        owner = await asyncpg.connect(world.url)
        try:
            ways = _ways(client, database)
            # One more of each first: connections are made and statements prepared.
            for number in (None, *range(rounds)):
                for name, end in ways.items():
                    for size in sizes:
                        count = min(sizes) if number is None else size
                        session = await _crowd(client, owner, count)
                        began = time.perf_counter()
                        await end(session)
                        milliseconds = 1000 * (time.perf_counter() - began)
                        if number is not None:
                            found.append({"way": name, "sessions": size, "ms": milliseconds})
        finally:
            await owner.close()
            await database.close()
            await client.close()
    return found


def _ways(client: Client, database: Database) -> dict[str, End]:
    def logout(scope: str) -> End:
        async def end(session: Session) -> None:
            answer = await client.logout(session, scope)
            assert answer.outcome == "ok", answer.result

        return end

    async def disable(session: Session) -> None:
        assert (await disable_account(database, UUID(session.account.id))).changed

    return {"logout all": logout("all"), "logout others": logout("others"), "disable": disable}


async def _crowd(client: Client, owner: asyncpg.Connection, count: int) -> Session:
    """A session of an account that has so many besides."""
    account = await client.register(f"crowd{time.time_ns()}@example.com")
    session = await client.login(account)
    assert session is not None
    await copy_session(owner, session.family, count)
    return session
