"""Key sets of clients: fresh, stale, and never asked for more than once a minute."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from jwt.algorithms import ECAlgorithm

from authsvc.protocol.client_keys import ClientKey
from authsvc.protocol.oauth_errors import ClientKeysUnavailable
from authsvc.remote.client_jwks import RemoteKeys
from authsvc.remote.fetch import RemoteFetchFailed
from tests.conftest import START

URI = "https://shop.example/jwks.json"
SECOND, MINUTE, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(days=1)
JWK = json.loads(ECAlgorithm.to_jwk(generate_private_key(SECP256R1()).public_key()))


class Shop:
    """What a client publishes; None while it is away."""

    def __init__(self, *kids: str) -> None:
        self.body: bytes | None = b""
        self.fetches = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.publish(*kids)

    def publish(self, *kids: str) -> None:
        self.body = json.dumps({"keys": [{**JWK, "kid": kid} for kid in kids]}).encode()

    async def fetch(self, uri: str) -> bytes:
        assert uri == URI
        self.fetches += 1
        await self.gate.wait()
        if self.body is None:
            raise RemoteFetchFailed("away")
        return self.body


async def find(
    keys: RemoteKeys, kid: str | None = "1", after: timedelta = timedelta(0)
) -> ClientKey | None:
    return await keys.find(URI, alg="ES256", kid=kid, now=START + after)


async def test_a_set_is_fetched_once_and_used_for_five_minutes() -> None:
    shop = Shop("1")
    keys = RemoteKeys(shop.fetch)

    for seconds in (0, 60, 299):
        found = await find(keys, after=seconds * SECOND)
        assert found is not None
    assert 1 == shop.fetches
    await find(keys, after=5 * MINUTE)
    assert 2 == shop.fetches


async def test_a_key_that_was_withdrawn_ends_with_the_next_fetch() -> None:
    shop = Shop("1", "2")
    keys = RemoteKeys(shop.fetch)
    await find(keys)
    shop.publish("2")

    assert None is not await find(keys, after=299 * SECOND)
    assert None is await find(keys, after=300 * SECOND)


@pytest.mark.requirement("A7")
async def test_a_new_key_is_found_at_once() -> None:
    shop = Shop("1")
    keys = RemoteKeys(shop.fetch)
    await find(keys)
    shop.publish("1", "2")

    assert None is not await find(keys, "2", after=MINUTE)


@pytest.mark.requirement("A7")
async def test_a_flood_of_unknown_kids_makes_one_fetch_a_minute() -> None:
    shop = Shop("1")
    keys = RemoteKeys(shop.fetch)

    for number in range(120):
        assert None is await find(keys, f"x{number}", after=number * SECOND)

    assert 2 == shop.fetches


@pytest.mark.requirement("A7")
async def test_everybody_who_asks_meanwhile_shares_one_fetch() -> None:
    shop = Shop("1")
    shop.gate.clear()
    keys = RemoteKeys(shop.fetch)
    asking = [asyncio.create_task(find(keys)) for _ in range(20)]
    await asyncio.sleep(0)
    asking[0].cancel()  # whoever asked first goes away
    await asyncio.sleep(0)
    shop.gate.set()

    found = await asyncio.gather(*asking[1:])

    assert (1, True) == (shop.fetches, all(found))


@pytest.mark.requirement("A7")
@pytest.mark.parametrize("failing", [None, b"no json", b'{"keys":[]}', b"\xff", b"[]"])
async def test_while_its_owner_is_away_the_old_set_serves_for_a_day(failing: bytes | None) -> None:
    shop = Shop("1")
    keys = RemoteKeys(shop.fetch)
    await find(keys)
    shop.body = failing

    assert None is not await find(keys, after=DAY - SECOND)
    assert None is await find(keys, "2", after=DAY - SECOND)
    with pytest.raises(ClientKeysUnavailable):
        await find(keys, after=DAY + MINUTE)


@pytest.mark.requirement("A7")
async def test_without_any_set_it_is_tried_every_ten_seconds() -> None:
    shop = Shop("1")
    shop.body = None
    keys = RemoteKeys(shop.fetch)

    for seconds in range(20):
        with pytest.raises(ClientKeysUnavailable):
            await find(keys, after=seconds * SECOND)
    assert 2 == shop.fetches
    shop.publish("1")

    assert None is not await find(keys, after=20 * SECOND)


async def test_another_address_or_algorithm_is_another_set() -> None:
    shop = Shop("1")
    keys = RemoteKeys(shop.fetch)
    await find(keys)

    with pytest.raises(ClientKeysUnavailable):  # the only key is not of that algorithm
        await keys.find(URI, alg="RS256", kid="1", now=START)


async def test_closing_gives_up_what_is_under_way() -> None:
    shop = Shop("1")
    shop.gate.clear()
    keys = RemoteKeys(shop.fetch)
    asking = asyncio.create_task(find(keys))
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    keys.close()

    with pytest.raises(asyncio.CancelledError):
        await asking
