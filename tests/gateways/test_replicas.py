"""How soon a gateway that asks one replica sees what was revoked at another."""

from __future__ import annotations

import time

import httpx
import pytest

from tests.gateways.client import send
from tests.gateways.conftest import World
from tests.support.live import log_in

BOUND = 1.0  # seconds


@pytest.mark.requirement("D3")
async def test_no_replica_lets_a_session_pass_a_second_after_its_logout(world: World) -> None:
    here, there = (f"http://localhost:{port}" for port in (world.authsvc, world.replica))
    async with httpx.AsyncClient() as client:
        tokens = (await log_in(here)).json()
        bearer = {"authorization": f"Bearer {tokens['access_token']}"}
        before = await send(world.authsvc, path="/auth/verify", headers=[*bearer.items()])
        ending = {"refresh_token": tokens["refresh_token"], "scope": "session"}
        logout = await client.post(f"{there}/auth/logout", json=ending)
        ended = last_passed = time.monotonic()
        while True:
            asked = time.monotonic()
            answer = await client.get(f"{here}/auth/verify", headers=bearer)
            if 401 == answer.status_code:
                break
            assert answer.status_code in {200, 503}
            last_passed = asked if 200 == answer.status_code else last_passed
            assert asked - ended < 20

    assert [200, 204] == [before.status, logout.status_code]
    assert last_passed - ended <= BOUND
