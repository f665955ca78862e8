"""One token, presented 64 times at once to two processes: never two successors."""

from __future__ import annotations

import asyncio
from collections import Counter
from uuid import uuid4

import pytest

from tests.live import EMAIL, PASSWORD
from tests.wire import Answer, Connection, at_once, post

AT_ONCE = 64
ROUNDS = 200


async def _log_in(connection: Connection, delivery: str) -> Answer:
    body: dict[str, object] = {"email": EMAIL, "password": PASSWORD, "delivery": delivery}
    answer = await connection.ask(post("/auth/login", body))
    assert answer.status == 200, answer
    return answer


@pytest.mark.requirement("R1", "R2", "R3")
async def test_no_race_makes_two_successors(replicas: list[int]) -> None:
    """CVE-2026-1035, CVE-2026-53517, CVE-2026-50631, CVE-2026-126280."""
    connections = [await Connection.open(replicas[n % len(replicas)]) for n in range(AT_ONCE)]
    seen: Counter[str] = Counter()
    for number in range(ROUNDS):
        match number % 4:
            case 0 | 1:
                seen += await _body_tokens_without_a_key(connections)
            case 2:
                seen += await _body_tokens_with_one_key(connections)
            case _:
                seen += await _cookies(connections)
    await asyncio.gather(*(connection.close() for connection in connections))

    # Every rule was exercised; nothing else was ever answered.
    assert {"rotated", "replayed", "401"} == set(seen), seen
    assert ROUNDS == seen["rotated"]


async def _body_tokens_without_a_key(connections: list[Connection]) -> Counter[str]:
    """One rotates, every other is reuse, and the one successor dies with the family."""
    token = (await _log_in(connections[0], "native")).body["refresh_token"]

    answers = await at_once(connections, post("/auth/refresh", {"refresh_token": token}))

    successors = [a.body["refresh_token"] for a in answers if a.status == 200]
    assert 1 == len(successors), Counter(a.outcome for a in answers)
    onwards = await connections[-1].ask(post("/auth/refresh", {"refresh_token": successors[0]}))
    assert 401 == onwards.status
    return Counter(a.outcome for a in answers)


async def _body_tokens_with_one_key(connections: list[Connection]) -> Counter[str]:
    """All are one attempt: the same successor for everybody."""
    token = (await _log_in(connections[0], "native")).body["refresh_token"]

    answers = await at_once(
        connections,
        post("/auth/refresh", {"refresh_token": token}, idempotency_key=uuid4().hex),
    )

    assert {200} == {a.status for a in answers}
    assert 1 == len({a.body["refresh_token"] for a in answers})
    return Counter(a.outcome for a in answers)


async def _cookies(connections: list[Connection]) -> Counter[str]:
    """Sixty-four tabs: the same successor for all of them."""
    login = await _log_in(connections[0], "spa")
    cookie = f"authsvc_refresh={login.cookie('authsvc_refresh')}"

    answers = await at_once(connections, post("/auth/refresh", cookie=cookie))

    assert {200} == {a.status for a in answers}
    assert 1 == len({a.cookie("authsvc_refresh") for a in answers})
    return Counter(a.outcome for a in answers)


@pytest.mark.requirement("R4", "D2")
@pytest.mark.parametrize("scope", ["session", "all"])
async def test_nothing_survives_a_logout_that_raced_with_refreshes(
    replicas: list[int], scope: str
) -> None:
    """keycloak#51312: whatever a refresh minted meanwhile is dead after both returned."""
    connections = [await Connection.open(replicas[n % len(replicas)]) for n in range(8)]
    for _ in range(25):
        login = (await _log_in(connections[0], "native")).body
        body: dict[str, object] = {"refresh_token": login["refresh_token"]}
        logout = post(
            "/auth/logout", {"scope": scope}, authorization=f"Bearer {login['access_token']}"
        )
        refresh = post("/auth/refresh", body, idempotency_key=uuid4().hex)
        for connection in connections[1:]:
            connection.send(refresh)
        connections[0].send(logout)
        ended, *refreshed = await asyncio.gather(*(c.receive() for c in connections))

        assert 204 == ended.status
        minted = [a.body for a in refreshed if a.status == 200]
        for pair in minted:
            again = await connections[1].ask(
                post("/auth/refresh", {"refresh_token": pair["refresh_token"]})
            )
            assert 401 == again.status
            me = await connections[2].ask(
                b"GET /auth/me HTTP/1.1\r\nhost: localhost\r\n"
                b"authorization: Bearer " + pair["access_token"].encode() + b"\r\n\r\n"
            )
            assert 401 == me.status
    await asyncio.gather(*(connection.close() for connection in connections))
