"""When the keys are fetched, who waits for it, and what a failure changes: little."""

from __future__ import annotations

import asyncio
import os
import secrets
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from authsvc_client.verifier import KeysUnavailable, TokenVerifier, UnknownKey
from authsvc_client.verifier.key_cache import COOL_DOWN, MAX_KIDS, AbsentKids
from tests.support.forge import CLAIMS, HEADER, sign
from tests.support.key_material import kid, rsa_key
from tests.support.key_server import KeyServer, MovableClock, settle
from tests.support.waiting import HANGS, eventually
from tests.verifier.conftest import NewToken, NewVerifier


def of_a_random_kid() -> str:
    return sign(HEADER | {"kid": secrets.token_urlsafe(32)}, CLAIMS, rsa_key(1))


async def refused(verifier: TokenVerifier, presented: str) -> type[Exception]:
    try:
        await verifier.verify(presented)
    except (UnknownKey, KeysUnavailable) as refusal:
        return type(refusal)
    raise AssertionError("it was accepted")


@pytest.mark.requirement("K2", "K4")
async def test_a_known_key_never_waits_for_the_network(
    new_verifier: NewVerifier, server: KeyServer, clock: MovableClock, token: NewToken
) -> None:
    """Though the keys have grown old and authsvc does not answer."""
    verifier = new_verifier(timeout=timedelta(seconds=HANGS))
    await verifier.verify(token())
    server.gate.clear()

    for hours in (0.1, 1, 20):
        clock.advance(hours * 3600)
        await verifier.verify(token())
        verifier.verify_sync(token())
    assert 1 == server.answered
    # A fetch was begun all the same, by a thread that may not have got so far yet.
    await eventually(lambda: server.fetches() == 2)


@pytest.mark.requirement("K2")
async def test_old_keys_are_renewed_behind_the_callers_back(
    verifier: TokenVerifier, server: KeyServer, clock: MovableClock, token: NewToken
) -> None:
    await verifier.verify(token())
    server.publish(0, 1)

    clock.advance(299)
    await verifier.verify(token())
    assert 1 == server.fetches()
    clock.advance(2)
    await verifier.verify(token())
    settle(verifier)

    assert 2 == server.fetches()
    assert {kid(0), kid(1)} == set(verifier.key_status().kids)
    await verifier.verify(token(1))
    assert 2 == server.fetches()


async def test_a_key_set_that_has_not_changed_is_not_sent_again(
    verifier: TokenVerifier, server: KeyServer, clock: MovableClock, token: NewToken
) -> None:
    await verifier.verify(token())
    clock.advance(301)
    await verifier.verify(token())
    settle(verifier)

    assert "if-none-match" in server.requests[1][1]
    assert clock.now() == verifier.key_status().fetched_at
    clock.advance(299)
    await verifier.verify(token())
    assert 2 == server.fetches()


@pytest.mark.requirement("K4")
async def test_keys_work_for_a_day_without_authsvc_and_no_longer(
    verifier: TokenVerifier, server: KeyServer, clock: MovableClock, token: NewToken
) -> None:
    """stale-if-error: what was revoked must be forgotten one day."""
    await verifier.verify(token())
    server.status = 503

    clock.advance(86_400 + 299)
    await verifier.verify(token())
    settle(verifier)
    clock.advance(2)

    with pytest.raises(KeysUnavailable) as refusal:
        await verifier.verify(token())
    assert "503" in refusal.value.detail
    assert not verifier.key_status().usable


async def test_a_new_key_is_fetched_when_it_is_first_met(
    verifier: TokenVerifier, server: KeyServer, token: NewToken
) -> None:
    """The emergency: a key that signs at once."""
    await verifier.verify(token())
    server.publish(0, 1)

    assert await verifier.verify(token(1))

    assert 2 == server.fetches()
    assert "no-cache" == server.requests[1][1]["cache-control"]


@pytest.mark.requirement("T4")
async def test_a_flood_of_random_kids_causes_one_fetch_a_minute(
    verifier: TokenVerifier, server: KeyServer, clock: MovableClock, token: NewToken
) -> None:
    await verifier.verify(token())
    minutes = 4

    for _ in range(minutes * 60):
        for _ in range(5):
            assert UnknownKey is await refused(verifier, of_a_random_kid())
        clock.advance(1)

    assert minutes == server.fetches() - 1


async def test_everybody_who_waits_shares_one_fetch(
    verifier: TokenVerifier, server: KeyServer, token: NewToken
) -> None:
    await verifier.verify(token())
    server.publish(0, 1)
    server.gate.clear()
    presented = token(1)

    waiting = [asyncio.create_task(verifier.verify(presented)) for _ in range(50)]
    with ThreadPoolExecutor(8) as threads:
        blocked = [threads.submit(verifier.verify_sync, presented) for _ in range(8)]
        while server.fetches() < 2:
            await asyncio.sleep(0)
        server.gate.set()
        found = [claims.sub for claims in await asyncio.gather(*waiting)]
        found += [future.result().sub for future in blocked]

    assert [CLAIMS["sub"]] * 58 == found
    assert 2 == server.fetches()


async def test_whoever_gives_up_waiting_stops_nobody_else(
    verifier: TokenVerifier, server: KeyServer, token: NewToken
) -> None:
    server.gate.clear()
    first, second = (asyncio.create_task(verifier.verify(token())) for _ in range(2))
    while not server.fetches():
        await asyncio.sleep(0)

    first.cancel()
    await asyncio.wait({first})
    server.gate.set()

    assert (await second).sub == CLAIMS["sub"]
    assert 1 == server.fetches()


async def test_a_kid_that_authsvc_does_not_know_is_remembered(
    verifier: TokenVerifier, server: KeyServer, clock: MovableClock, token: NewToken
) -> None:
    """A client that repeats an old token for ever costs less and less."""
    await verifier.verify(token())
    unknown = of_a_random_kid()

    for _ in range(60):
        assert UnknownKey is await refused(verifier, unknown)
        clock.advance(30)

    # After 0, 1, 3, 7 and 15 minutes of thirty; the next would be after 30.
    assert 5 == server.fetches() - 1


async def test_a_remembered_kid_leaves_the_minutes_fetch_to_a_new_key(
    verifier: TokenVerifier, server: KeyServer, clock: MovableClock, token: NewToken
) -> None:
    await verifier.verify(token())
    unknown = of_a_random_kid()
    for _ in range(2):
        await refused(verifier, unknown)
        clock.advance(COOL_DOWN)
    server.publish(0, 1)
    await refused(verifier, unknown)

    assert await verifier.verify(token(1))


def test_absent_kids_are_bounded() -> None:
    absent = AbsentKids()

    for number in range(3 * MAX_KIDS):
        absent.note(str(number), 0)

    assert MAX_KIDS == len(absent._until)
    assert absent.has(str(3 * MAX_KIDS - 1), 1)
    assert not absent.has("0", 1)


@pytest.mark.requirement("K4")
@pytest.mark.parametrize(
    "broken",
    [b"", b"{}", b'{"keys":[]}', b"<html>", b'{"keys":[{"kty":"RSA"}]}', b"null", b"x" * 300_000],
    ids=lambda document: document[:30].decode(),
)
async def test_a_broken_key_set_never_replaces_a_good_one(
    broken: bytes,
    verifier: TokenVerifier,
    server: KeyServer,
    clock: MovableClock,
    token: NewToken,
) -> None:
    """CVE-2026-102274, GHSA-fhv5-28vv-h8m8."""
    await verifier.verify(token())
    server.document = broken
    clock.advance(301)
    await verifier.verify(token())
    settle(verifier)

    assert 2 == server.fetches()
    assert (kid(),) == verifier.key_status().kids
    assert verifier.key_status().failure
    assert await verifier.verify(token())


async def test_a_failure_is_repeated_ever_more_seldom(
    verifier: TokenVerifier, server: KeyServer, clock: MovableClock, token: NewToken
) -> None:
    await verifier.verify(token())
    server.status = 500
    clock.advance(301)

    for _ in range(300):
        await verifier.verify(token())
        settle(verifier)
        clock.advance(1)

    # After 0, 1, 3, 7, 15, 31, 63 and then every 60 seconds.
    assert 10 == server.fetches() - 1


async def test_nobody_is_blamed_while_nobody_knows(
    verifier: TokenVerifier, server: KeyServer, clock: MovableClock, token: NewToken
) -> None:
    """Without keys, or with an unknown key and no answer about it: 503, not 401."""
    server.status = 500
    assert KeysUnavailable is await refused(verifier, token())
    assert KeysUnavailable is await refused(verifier, token())
    assert 1 == server.fetches()

    server.status = 200
    clock.advance(1)
    await verifier.verify(token())
    server.status = 500

    assert KeysUnavailable is await refused(verifier, token(1))
    with pytest.raises(KeysUnavailable) as refusal:
        await verifier.verify(token(1))
    assert "1" == refusal.value.headers()["Retry-After"]
    assert await verifier.verify(token())


async def test_a_fetch_without_end_is_not_waited_for_without_end(
    new_verifier: NewVerifier, server: KeyServer, token: NewToken
) -> None:
    verifier = new_verifier(timeout=timedelta(milliseconds=50))
    server.gate.clear()

    assert KeysUnavailable is await refused(verifier, token())
    with pytest.raises(KeysUnavailable):
        verifier.verify_sync(token())

    assert 0 == server.answered


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fetch_that_a_fork_cut_off_is_begun_anew(
    verifier: TokenVerifier, server: KeyServer, token: NewToken
) -> None:
    """The thread stays with the parent; the child must not wait for it."""
    server.gate.clear()
    with verifier._keys._lock:
        flight = verifier._keys._start(past_caches=False)
    verifier._keys._flight_of += 1  # what a child finds: a flight of another process
    server.gate.set()

    assert verifier.verify_sync(token())
    flight.result(10)
    assert 2 == server.fetches()
