"""Throttling: guessing gets slow, the owner stays in, and all replicas agree."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import uuid4

import httpx
import pytest

from tests.http.conftest import EMAIL, PASSWORD, ClientFactory, MovableClock, log_in

pytestmark = pytest.mark.usefixtures("alice")
FREE = 5


async def attempt(
    client: httpx.AsyncClient, password: str = "wrong", email: str = EMAIL
) -> httpx.Response:
    return await client.post(
        "/auth/login", json={"email": email, "password": password, "delivery": "native"}
    )


@pytest.mark.requirement("L1")
async def test_failures_beyond_the_free_ones_wait_and_double(
    new_client: ClientFactory, clock: MovableClock
) -> None:
    for number in range(FREE):
        assert 401 == (await attempt(new_client(f"198.51.100.{number}"))).status_code

    waits = []
    for number in range(8):
        refused = await attempt(new_client(f"192.0.2.{number}"))
        assert (429, "too_many_attempts") == (refused.status_code, refused.json()["code"])
        wait = int(refused.headers["retry-after"])
        assert wait == refused.json()["retry_after"]
        waits.append(wait)
        clock.advance(timedelta(seconds=wait))
        assert 401 == (await attempt(new_client(f"192.0.2.{number}"))).status_code

    assert [1, 2, 4, 8, 16, 32, 60, 60] == waits


@pytest.mark.requirement("L2")
async def test_the_right_password_waits_at_most_a_minute_and_then_works(
    new_client: ClientFactory, clock: MovableClock
) -> None:
    for number in range(FREE):
        await attempt(new_client(f"198.51.100.{number}"))
    owner = new_client("203.0.113.99")

    throttled = await attempt(owner, PASSWORD)
    clock.advance(timedelta(seconds=60))
    admitted = await attempt(owner, PASSWORD)

    assert [429, 200] == [throttled.status_code, admitted.status_code]


@pytest.mark.requirement("L2")
async def test_a_known_device_is_not_locked_out_by_strangers(
    client: httpx.AsyncClient, new_client: ClientFactory
) -> None:
    await log_in(client, "spa")
    for number in range(20):
        await attempt(new_client(f"198.51.100.{number}"))

    assert 429 == (await attempt(new_client("192.0.2.1"), PASSWORD)).status_code
    assert 200 == (await attempt(client, PASSWORD)).status_code


async def test_a_known_device_has_ten_failures_of_its_own(
    client: httpx.AsyncClient, new_client: ClientFactory
) -> None:
    await log_in(client, "spa")

    statuses = [(await attempt(client)).status_code for _ in range(17)]

    assert 10 * [401] + FREE * [401] + 2 * [429] == statuses
    assert 429 == (await attempt(new_client("192.0.2.1"), PASSWORD)).status_code


async def test_the_device_of_one_user_is_a_stranger_to_another(
    client: httpx.AsyncClient, new_client: ClientFactory
) -> None:
    bob = {"email": "bob@example.com", "password": "another long passphrase"}
    await client.post("/auth/register", json=bob)
    await log_in(client, "spa", **bob)
    for number in range(FREE):
        await attempt(new_client(f"198.51.100.{number}"))

    assert 429 == (await attempt(client, PASSWORD)).status_code


@pytest.mark.requirement("L1", "E1")
async def test_an_unknown_account_is_throttled_alike(new_client: ClientFactory) -> None:
    stranger = new_client("198.51.100.1")
    for _ in range(FREE):
        assert 401 == (await attempt(stranger, email="nobody@example.com")).status_code

    unknown = await attempt(stranger, email="nobody@example.com")

    assert 429 == unknown.status_code


@pytest.mark.requirement("L1")
@pytest.mark.parametrize(
    "spelling", ["ALICE@EXAMPLE.COM", "alice@EXAMPLE.com", "Alice@example.com"]
)
async def test_another_spelling_has_no_counter_of_its_own(
    new_client: ClientFactory, spelling: str
) -> None:
    """CVE-2025-24806."""
    for number in range(FREE):
        await attempt(new_client(f"198.51.100.{number}"))

    assert 429 == (await attempt(new_client("192.0.2.1"), email=spelling)).status_code


async def test_a_successful_login_is_never_counted_and_sets_the_account_back(
    client: httpx.AsyncClient,
) -> None:
    for _ in range(4):
        for _ in range(FREE - 1):
            assert 401 == (await attempt(client)).status_code
        assert 200 == (await attempt(client, PASSWORD)).status_code


@pytest.mark.requirement("L3")
@pytest.mark.parametrize(
    ("addresses", "status"),
    [
        (["192.0.2.1"], 429),
        ([f"2001:db8:1:2::{n:x}" for n in range(1, 40)], 429),
        ([f"2001:db8:1:{n:x}::1" for n in range(1, 60)], 401),
        ([f"192.0.2.{n}" for n in range(1, 60)], 401),
    ],
    ids=["one-address", "one-ipv6-64", "many-ipv6-64", "many-addresses"],
)
async def test_guessing_over_many_accounts_is_throttled_per_network(
    new_client: ClientFactory, addresses: list[str], status: int
) -> None:
    for number in range(50):
        guess = await attempt(
            new_client(addresses[number % len(addresses)]), email=f"{number}@example.com"
        )
        assert 401 == guess.status_code

    last = await attempt(new_client(addresses[0]), email="fresh@example.com")

    assert status == last.status_code


@pytest.mark.requirement("L1", "L2")
async def test_a_burst_of_parallel_guesses_gets_one_try_at_a_time(
    new_client: ClientFactory, clock: MovableClock
) -> None:
    for number in range(FREE):
        await attempt(new_client(f"198.51.100.{number}"))
    clock.advance(timedelta(seconds=60))

    burst = await asyncio.gather(
        *(attempt(new_client(f"192.0.2.{number}")) for number in range(20))
    )

    assert 1 == [answer.status_code for answer in burst].count(401)
    assert 19 == [answer.status_code for answer in burst].count(429)


@pytest.mark.requirement("L4")
async def test_registrations_are_limited_per_network(
    new_client: ClientFactory, clock: MovableClock
) -> None:
    network = new_client("198.51.100.1")

    async def register(client: httpx.AsyncClient) -> httpx.Response:
        body = {"email": f"{uuid4().hex}@example.com", "password": PASSWORD}
        return await client.post("/auth/register", json=body)

    statuses = [(await register(network)).status_code for _ in range(31)]
    elsewhere = await register(new_client("198.51.100.2"))
    clock.advance(timedelta(minutes=1))
    later = await register(network)

    assert 30 * [201] + [429] == statuses
    assert [201, 201] == [elsewhere.status_code, later.status_code]


async def test_a_refused_attempt_is_not_counted(
    new_client: ClientFactory, clock: MovableClock
) -> None:
    """Otherwise a stranger could keep the owner out for ever."""
    for number in range(FREE):
        await attempt(new_client(f"198.51.100.{number}"))
    for number in range(30):
        assert 429 == (await attempt(new_client(f"192.0.2.{number}"))).status_code
    clock.advance(timedelta(seconds=1))

    assert 200 == (await attempt(new_client("203.0.113.99"), PASSWORD)).status_code


@pytest.mark.settings(throttle=False)
async def test_throttling_can_be_switched_off_for_load_tests(client: httpx.AsyncClient) -> None:
    statuses = {(await attempt(client)).status_code for _ in range(FREE + 3)}

    assert {401} == statuses


@pytest.mark.requirement("L1", "L2")
async def test_parallel_guesses_cannot_pass_the_free_failures_together(
    new_client: ClientFactory,
) -> None:
    burst = await asyncio.gather(
        *(attempt(new_client(f"198.51.100.{number}")) for number in range(40))
    )

    assert FREE == [answer.status_code for answer in burst].count(401)


@pytest.mark.requirement("L1", "L2")
async def test_parallel_guesses_from_a_known_device_stay_within_its_allowance(
    client: httpx.AsyncClient,
) -> None:
    await log_in(client, "spa")

    burst = await asyncio.gather(*(attempt(client) for _ in range(60)))

    # Its own ten, and then those of any stranger.
    assert [answer.status_code for answer in burst].count(401) <= 10 + FREE


@pytest.mark.requirement("L2")
async def test_a_network_that_must_wait_does_not_spend_the_accounts_turn(
    new_client: ClientFactory, clock: MovableClock
) -> None:
    noisy = new_client("198.51.100.66")
    for number in range(50):
        await attempt(noisy, email=f"{number}@example.com")
    for _ in range(10):  # until the network's own wait is longer than the account's
        clock.advance(timedelta(minutes=15))
        await attempt(noisy, email="other@example.com")
    for number in range(FREE):
        await attempt(new_client(f"192.0.2.{number}"))
    clock.advance(timedelta(seconds=60))

    assert 429 == (await attempt(noisy)).status_code
    assert 200 == (await attempt(new_client("203.0.113.99"), PASSWORD)).status_code


async def test_a_right_password_leaves_its_network_as_it_was(
    client: httpx.AsyncClient, new_client: ClientFactory, clock: MovableClock
) -> None:
    bob = {"email": "bob@example.com", "password": "another long passphrase"}
    await client.post("/auth/register", json=bob)
    office = new_client("198.51.100.66")
    for number in range(55):
        clock.advance(timedelta(minutes=15))
        await attempt(office, email=f"{number}@example.com")
    clock.advance(timedelta(minutes=15))

    answers = [await attempt(office, PASSWORD), await attempt(office, **bob)]

    assert [200, 200] == [answer.status_code for answer in answers]
