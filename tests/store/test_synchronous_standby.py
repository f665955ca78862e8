"""A primary that waits for a standby that is away takes no commit, and says so before one tries."""

from __future__ import annotations

import asyncpg
import pytest

from authsvc.embedded_postgres import start_temporary
from authsvc.store import readiness
from authsvc.store.database import Database
from authsvc.store.server import inspect
from tests.support.waiting import eventually_true

AWAY = "waits with every commit for a synchronous standby"


@pytest.mark.finding("11.18")
@pytest.mark.parametrize("role", ["postgres", "serve"])
async def test_readiness_and_doctor_tell_of_a_standby_that_is_away(role: str) -> None:
    with start_temporary(options={"synchronous_commit": "on"}) as server:
        owner = await asyncpg.connect(server.url)
        await owner.execute("CREATE ROLE serve LOGIN")
        await owner.execute("ALTER SYSTEM SET synchronous_standby_names = 'gone'")
        await owner.execute("SELECT pg_reload_conf()")
        await owner.close()
        url = server.url.replace("postgres@", f"{role}@")

        await eventually_true(lambda: is_told(url))
        assert not await is_told(f"{url}&options=-c%20synchronous_commit%3Dlocal")


async def is_told(url: str) -> bool:
    db = await Database.open(url)
    try:
        checks = await readiness.examine(db, production=False)
        refusal = (await inspect(db)).refusal
    finally:
        await db.close()
    assert readiness.OK != checks["database"] or refusal is None
    return AWAY in checks["database"] and AWAY in (refusal or "")
