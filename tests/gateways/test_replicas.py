"""A gateway that asks one replica sees what was revoked at another."""

from __future__ import annotations

import httpx
import pytest

from tests.gateways.client import send
from tests.gateways.conftest import World
from tests.support.live import log_in
from tests.support.waiting import eventually_true


@pytest.mark.requirement("D3")
async def test_every_replica_refuses_a_session_that_ended_at_another(world: World) -> None:
    """Within a second, which tests/revocations/test_following.py says with a moved clock."""
    here, there = (f"http://localhost:{port}" for port in (world.authsvc, world.replica))
    async with httpx.AsyncClient() as client:
        tokens = (await log_in(here)).json()
        bearer = {"authorization": f"Bearer {tokens['access_token']}"}
        before = await send(world.authsvc, path="/auth/verify", headers=[*bearer.items()])
        ending = {"refresh_token": tokens["refresh_token"], "scope": "session"}
        logout = await client.post(f"{there}/auth/logout", json=ending)
        statuses = []

        async def refused() -> bool:
            statuses.append((await client.get(f"{here}/auth/verify", headers=bearer)).status_code)
            return 401 == statuses[-1]

        await eventually_true(refused)
        for _ in range(20):
            await refused()

    assert [200, 204] == [before.status, logout.status_code]
    assert {200, 401, 503} >= set(statuses)
    assert [401] * 21 == statuses[-21:]
