"""Throttling (decision 0018): guessing is bounded, and nothing a stranger does delays an owner."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from uuid import uuid4

import asyncpg
import httpx
import pytest

from tests.conftest import Statements
from tests.http.conftest import EMAIL, PASSWORD, ClientFactory, MovableClock, log_in

pytestmark = [pytest.mark.usefixtures("alice"), pytest.mark.finding("11.2")]
FREE = 5  # failures of a stranger at once
KNOWN = 10  # of a known device, and from a known network
DAY = 100  # of all strangers in any 24 hours
BOB = {"email": "bob@example.com", "password": "another long passphrase"}


async def attempt(
    client: httpx.AsyncClient,
    password: str = "wrong",
    email: str = EMAIL,
    device_token: str | None = None,
) -> httpx.Response:
    body = {"email": email, "password": password, "delivery": "native"}
    if device_token is not None:
        body["device_token"] = device_token
    return await client.post("/auth/login", json=body)


async def use_up_the_day(new_client: ClientFactory, email: str = EMAIL) -> None:
    for number in range(DAY):
        guess = await attempt(new_client(f"198.51.{number // FREE}.1"), email=email)
        assert 401 == guess.status_code


# --- What delayed owners before


@pytest.mark.requirement("L2")
async def test_an_office_that_mistypes_delays_nobody(new_client: ClientFactory) -> None:
    """34 people mistype twice each; then the 35th signs in for the first time."""
    office = new_client("198.51.100.66")
    for number in range(34):
        for _ in range(2):
            assert 401 == (await attempt(office, email=f"{number}@example.com")).status_code

    assert 200 == (await attempt(office, PASSWORD)).status_code


@pytest.mark.requirement("L2")
async def test_a_stranger_who_polls_without_pause_does_not_delay_an_owner_elsewhere(
    new_client: ClientFactory, clock: MovableClock
) -> None:
    """With 1.3 requests a second, for four minutes; the owner is new in each network."""
    stranger = new_client("198.51.100.1")
    for second in range(240):
        await attempt(stranger)
        if second % 20 == 0:
            owner = new_client(f"203.0.{second}.9")
            assert 200 == (await attempt(owner, PASSWORD)).status_code
        clock.advance(timedelta(seconds=1 / 1.3))


@pytest.mark.requirement("L1")
async def test_at_most_a_hundred_guesses_of_strangers_a_day_reach_the_password(
    new_client: ClientFactory, clock: MovableClock
) -> None:
    """In any 24 hours: a botnet guesses from a fresh network every two minutes, for two days."""
    tried = []
    for number in range(48 * 30):
        guess = await attempt(new_client(f"10.{number // 250}.{number % 250}.1"))
        if guess.status_code == 401:
            tried.append(clock.time)
        clock.advance(timedelta(minutes=2))

    assert DAY == max(
        sum(at <= other < at + timedelta(hours=24) for other in tried) for at in tried
    )


# --- 1. Known devices and known networks


@pytest.mark.finding("11.2")
@pytest.mark.requirement("L2")
async def test_the_network_of_the_registration_is_known_before_the_first_login(
    new_client: ClientFactory,
) -> None:
    """Else strangers could keep a new owner out for ever, day by day."""
    at_home = new_client("203.0.113.200")
    body = {"email": "new@example.com", "password": PASSWORD}
    assert 201 == (await at_home.post("/auth/register", json=body)).status_code
    for number in range(DAY):
        guess = {"email": body["email"], "password": "wrong", "delivery": "native"}
        await new_client(f"192.0.2.{number}").post("/auth/login", json=guess)
    login = {**body, "delivery": "native"}

    elsewhere = await new_client("198.51.100.9").post("/auth/login", json=login)

    assert 429 == elsewhere.status_code
    assert 200 == (await at_home.post("/auth/login", json=login)).status_code


@pytest.mark.requirement("L2")
async def test_a_known_device_is_never_delayed_by_strangers(
    client: httpx.AsyncClient, new_client: ClientFactory
) -> None:
    await log_in(client, "spa")
    abroad = new_client("192.0.2.77", cookies=client.cookies)
    await use_up_the_day(new_client)

    assert 429 == (await attempt(new_client("192.0.2.1"), PASSWORD)).status_code
    assert 200 == (await attempt(abroad, PASSWORD)).status_code


@pytest.mark.requirement("L2")
async def test_a_native_device_is_known_by_the_token_that_its_login_returned(
    client: httpx.AsyncClient, new_client: ClientFactory
) -> None:
    token = (await log_in(client)).json()["device_token"]
    await use_up_the_day(new_client)
    abroad = new_client("192.0.2.77")

    assert 429 == (await attempt(abroad, PASSWORD)).status_code
    assert 429 == (await attempt(abroad, PASSWORD, device_token="A" * 96)).status_code
    assert 200 == (await attempt(abroad, PASSWORD, device_token=token)).status_code


@pytest.mark.requirement("L2")
@pytest.mark.parametrize(
    ("first", "again"),
    [("203.0.113.7", "203.0.113.7"), ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9")],
    ids=["ipv4", "ipv6-64"],
)
async def test_a_network_that_the_account_signed_in_from_is_never_delayed_by_strangers(
    new_client: ClientFactory, clock: MovableClock, first: str, again: str
) -> None:
    await log_in(new_client(first))
    clock.advance(timedelta(days=89))
    await use_up_the_day(new_client)

    assert 200 == (await attempt(new_client(again), PASSWORD)).status_code


async def test_a_network_is_forgotten_after_90_days_or_8_others(
    new_client: ClientFactory, clock: MovableClock, database_url: str
) -> None:
    await log_in(new_client("203.0.113.1"))
    clock.advance(timedelta(days=91))
    for number in range(9):
        await log_in(new_client(f"192.0.2.{number}"))
        clock.advance(timedelta(seconds=1))
    await use_up_the_day(new_client)

    by_network = [
        (await attempt(new_client(ip), PASSWORD)).status_code
        for ip in ("203.0.113.1", "192.0.2.0", "192.0.2.1", "192.0.2.8")
    ]

    assert [429, 429, 200, 200] == by_network
    connection = await asyncpg.connect(database_url.replace("+asyncpg", ""))
    assert 8 == await connection.fetchval("SELECT count(*) FROM known_networks")
    await connection.close()


async def test_a_neighbour_in_a_known_network_spends_nothing_of_strangers(
    new_client: ClientFactory, clock: MovableClock
) -> None:
    """Else the owner, once abroad on a new device, would wait for a day because of him."""
    await log_in(new_client("203.0.113.7"))
    neighbour = new_client("203.0.113.7")
    statuses: Counter[int] = Counter()
    for _ in range(200):
        statuses[(await attempt(neighbour)).status_code] += 1
        clock.advance(timedelta(minutes=2))

    assert KNOWN + 400 // 5 - 1 == statuses[401]  # the last is forgotten as we stop
    assert 200 == (await attempt(new_client("192.0.2.77"), PASSWORD)).status_code


async def test_a_known_device_has_ten_failures_and_one_more_every_five_minutes(
    client: httpx.AsyncClient, new_client: ClientFactory, clock: MovableClock
) -> None:
    await log_in(client, "spa")
    abroad = new_client("192.0.2.77", cookies=client.cookies)

    statuses = [(await attempt(abroad)).status_code for _ in range(KNOWN + FREE)]
    refused = await attempt(abroad)
    clock.advance(timedelta(minutes=5))
    later = await attempt(abroad, PASSWORD)

    # Its own ten, and then those of any stranger.
    assert (KNOWN + FREE) * [401] == statuses
    assert [429, 200] == [refused.status_code, later.status_code]


async def test_the_device_of_one_user_is_a_stranger_to_another(
    client: httpx.AsyncClient, new_client: ClientFactory
) -> None:
    await client.post("/auth/register", json=BOB)
    token = (await log_in(client, **BOB)).json()["device_token"]
    await use_up_the_day(new_client)
    abroad = new_client("192.0.2.77")

    assert 429 == (await attempt(abroad, PASSWORD, device_token=token)).status_code


# --- 2. Strangers


@pytest.mark.requirement("L1")
async def test_a_stranger_has_five_failures_and_one_more_a_minute(
    new_client: ClientFactory, clock: MovableClock
) -> None:
    stranger = new_client("198.51.100.1")
    assert FREE * [401] == [(await attempt(stranger)).status_code for _ in range(FREE)]

    for _ in range(3):
        refused = await attempt(stranger)
        assert (429, "too_many_attempts") == (refused.status_code, refused.json()["code"])
        wait = int(refused.headers["retry-after"])
        assert wait == refused.json()["retry_after"] == 60
        clock.advance(timedelta(seconds=wait))
        assert 401 == (await attempt(stranger)).status_code


@pytest.mark.requirement("L2")
async def test_beyond_the_day_the_refusal_names_the_ways_that_stay_open(
    new_client: ClientFactory,
) -> None:
    await use_up_the_day(new_client)
    refused = await attempt(new_client("192.0.2.1"), PASSWORD)

    assert (429, "too_many_attempts") == (refused.status_code, refused.json()["code"])
    assert "from a device or network that has signed in before" in refused.json()["detail"]


@pytest.mark.requirement("L2")
async def test_beyond_the_day_retry_after_is_when_the_oldest_failure_is_a_day_old(
    new_client: ClientFactory, clock: MovableClock
) -> None:
    """Neither later nor earlier: a second before, there is no room."""
    await attempt(new_client("198.51.100.1"))
    clock.advance(timedelta(hours=5))
    for number in range(DAY - 1):
        await attempt(new_client(f"198.51.{number // FREE}.2"))
    owner = new_client("192.0.2.1")

    refused = await attempt(owner, PASSWORD)
    wait = int(refused.headers["retry-after"])
    assert timedelta(hours=19) == timedelta(seconds=wait)
    assert wait == refused.json()["retry_after"]
    clock.advance(timedelta(seconds=wait - 1))
    assert "1" == (await attempt(owner, PASSWORD)).headers["retry-after"]
    clock.advance(timedelta(seconds=1))
    assert 200 == (await attempt(owner, PASSWORD)).status_code


@pytest.mark.requirement("L1")
@pytest.mark.parametrize(
    "spelling", ["ALICE@EXAMPLE.COM", "alice@EXAMPLE.com", "Alice@example.com"]
)
async def test_another_spelling_has_no_bucket_of_its_own(
    new_client: ClientFactory, spelling: str
) -> None:
    """CVE-2025-24806."""
    stranger = new_client("198.51.100.1")
    for _ in range(FREE):
        await attempt(stranger)

    assert 429 == (await attempt(stranger, email=spelling)).status_code


@pytest.mark.requirement("L1", "L2")
async def test_a_parallel_burst_gets_no_more_than_one_after_another(
    new_client: ClientFactory,
) -> None:
    """And what is refused costs the account's day nothing."""
    one_network = [attempt(new_client("198.51.100.1")) for _ in range(40)]
    assert FREE == Counter([a.status_code for a in await asyncio.gather(*one_network)])[401]

    many = [attempt(new_client(f"192.0.{n}.2")) for n in range(DAY)]
    statuses = [answer.status_code for answer in await asyncio.gather(*many)]
    assert DAY - FREE == Counter(statuses)[401]


@pytest.mark.requirement("L1", "L2")
async def test_a_parallel_burst_on_a_known_device_stays_within_its_allowance(
    client: httpx.AsyncClient, new_client: ClientFactory
) -> None:
    await log_in(client, "spa")
    abroad = new_client("192.0.2.77", cookies=client.cookies)

    burst = await asyncio.gather(*(attempt(abroad) for _ in range(60)))

    assert Counter(answer.status_code for answer in burst)[401] <= KNOWN + FREE


async def test_a_refused_attempt_is_not_counted(
    new_client: ClientFactory, clock: MovableClock
) -> None:
    stranger = new_client("198.51.100.1")
    for _ in range(FREE + 30):
        await attempt(stranger)
    clock.advance(timedelta(minutes=1))

    assert 200 == (await attempt(stranger, PASSWORD)).status_code


# --- 3. Networks


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
async def test_a_network_from_which_many_accounts_fail_is_slowed_down(
    new_client: ClientFactory, clock: MovableClock, addresses: list[str], status: int
) -> None:
    for number in range(52):
        guess = await attempt(
            new_client(addresses[number % len(addresses)]), email=f"{number}@example.com"
        )
        assert 401 == guess.status_code

    last = await attempt(new_client(addresses[52 % len(addresses)]), email="fresh@example.com")

    assert status == last.status_code
    if status == 429:
        wait = int(last.headers["retry-after"])
        assert 2 == wait
        clock.advance(timedelta(seconds=wait))
        assert 200 == (await attempt(new_client(addresses[0]), PASSWORD)).status_code


@pytest.mark.requirement("L3")
async def test_a_slowed_network_is_not_slow_for_those_who_are_known(
    new_client: ClientFactory, client: httpx.AsyncClient
) -> None:
    gateway = new_client("198.51.100.66")
    await client.post("/auth/register", json=BOB)
    token = (await log_in(client, **BOB)).json()["device_token"]
    await log_in(gateway)
    for number in range(53):
        await attempt(gateway, email=f"{number}@example.com")

    fresh = new_client("198.51.100.66")
    assert 429 == (await attempt(fresh, email="fresh@example.com")).status_code
    assert 200 == (await attempt(fresh, PASSWORD)).status_code
    assert 200 == (await attempt(fresh, **BOB, device_token=token)).status_code


async def test_failures_of_one_account_never_slow_its_network(
    new_client: ClientFactory, clock: MovableClock
) -> None:
    network = new_client("198.51.100.66")
    for _ in range(60):
        await attempt(network)
        clock.advance(timedelta(seconds=30))

    assert 2 * [401] == [
        (await attempt(network, email=f"{n}@example.com")).status_code for n in range(2)
    ]


# --- 4. Right passwords, and accounts that do not exist


async def test_a_right_password_pays_back_what_its_network_had_lost(
    new_client: ClientFactory, client: httpx.AsyncClient
) -> None:
    """Also in the account's day: 200 failures, each five followed by a success."""
    for number in range(40):
        stranger = new_client(f"198.51.{number}.1")
        for _ in range(FREE - 1):
            assert 401 == (await attempt(stranger)).status_code
        assert 200 == (await attempt(stranger, PASSWORD)).status_code
    await log_in(client)
    for _ in range(3):
        for _ in range(KNOWN - 1):
            assert 401 == (await attempt(client)).status_code
        assert 200 == (await attempt(client, PASSWORD)).status_code


@pytest.mark.requirement("L1", "E1")
async def test_an_unknown_account_is_throttled_alike(
    new_client: ClientFactory, statements: Statements
) -> None:
    answers = {}
    for email in (EMAIL, "nobody@example.com"):
        stranger = new_client("198.51.100.1")
        statements.clear()
        found = [await attempt(stranger, email=email) for _ in range(FREE + 2)]
        answers[email] = (
            [(a.status_code, a.headers.get("retry-after"), a.json()["detail"]) for a in found],
            list(statements),
        )
    assert answers[EMAIL] == answers["nobody@example.com"]

    for email in (EMAIL, "nobody@example.com"):
        for number in range(DAY - FREE):
            await attempt(new_client(f"198.52.{number // FREE}.1"), email=email)
        assert "signed in" in (await attempt(new_client("192.0.2.1"), email=email)).text


@pytest.mark.requirement("L1")
async def test_a_password_change_is_throttled_and_pays_back_as_a_login(
    client: httpx.AsyncClient,
) -> None:
    token = (await log_in(client)).json()["access_token"]

    async def change(current: str) -> int:
        answer = await client.post(
            "/auth/password/change",
            json={"current_password": current, "new_password": PASSWORD + "!"},
            headers={"authorization": f"Bearer {token}"},
        )
        return answer.status_code

    assert (KNOWN - 1) * [403] == [await change("wrong") for _ in range(KNOWN - 1)]
    assert 204 == await change(PASSWORD)
    assert KNOWN * [403] + [429] == [await change("wrong") for _ in range(KNOWN + 1)]


async def test_a_login_is_two_statements(client: httpx.AsyncClient, statements: Statements) -> None:
    for password in (PASSWORD, "wrong", PASSWORD):
        statements.clear()
        await attempt(client, password)
        assert 2 == len(statements)


# --- Other limits


async def test_an_account_logs_in_sixty_times_a_minute(
    client: httpx.AsyncClient, clock: MovableClock
) -> None:
    statuses = [(await attempt(client, PASSWORD)).status_code for _ in range(60)]
    refused = await attempt(client, PASSWORD)
    clock.advance(timedelta(seconds=int(refused.headers["retry-after"])))

    assert 60 * [200] == statuses
    assert 429 == refused.status_code
    assert 200 == (await attempt(client, PASSWORD)).status_code


@pytest.mark.settings(logins_per_minute=2)
async def test_retry_after_is_true_where_two_limits_are_reached(
    client: httpx.AsyncClient, new_client: ClientFactory, clock: MovableClock
) -> None:
    """The failures of a network last for longer than the logins of the account."""
    stranger = new_client("198.51.100.1")
    for _ in range(FREE):
        assert 401 == (await attempt(stranger)).status_code
    for _ in range(2):
        assert 200 == (await attempt(client, PASSWORD)).status_code

    refused = await attempt(stranger, PASSWORD)
    clock.advance(timedelta(seconds=int(refused.headers["retry-after"])))

    assert 200 == (await attempt(stranger, PASSWORD)).status_code


@pytest.mark.settings(logins_per_minute=3)
async def test_parallel_logins_stay_within_the_limit(client: httpx.AsyncClient) -> None:
    burst = await asyncio.gather(*(attempt(client, PASSWORD) for _ in range(12)))

    assert 3 == Counter(answer.status_code for answer in burst)[200]
    assert {200, 429} == {answer.status_code for answer in burst}


@pytest.mark.requirement("L4")
async def test_registrations_are_limited_per_network(
    new_client: ClientFactory, clock: MovableClock
) -> None:
    network = new_client("198.51.100.1")

    async def register(client: httpx.AsyncClient) -> httpx.Response:
        body = {"email": f"{uuid4().hex}@example.com", "password": PASSWORD}
        return await client.post("/auth/register", json=body)

    statuses = [(await register(network)).status_code for _ in range(30)]
    refused = await register(network)
    elsewhere = await register(new_client("198.51.100.2"))
    clock.advance(timedelta(seconds=int(refused.headers["retry-after"])))
    later = await register(network)

    assert 30 * [201] + [429] == [*statuses, refused.status_code]
    assert [201, 201] == [elsewhere.status_code, later.status_code]


@pytest.mark.settings(throttle=False)
async def test_throttling_can_be_switched_off_for_load_tests(client: httpx.AsyncClient) -> None:
    statuses = {(await attempt(client)).status_code for _ in range(FREE + 3)}

    assert {401} == statuses
