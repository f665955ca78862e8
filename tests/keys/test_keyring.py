"""Who signs and what is published, as a pure function of (files, now) (CONTRACT §4)."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import pytest

from authsvc.keys.keyring import KeyRing, SigningKey
from authsvc.protocol.errors import NoSigningKey
from tests.support.key_material import T0, kid, rsa_key

SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
RETIREMENT = timedelta(seconds=3660)
NEXT = T0 + HOUR
AFTER_NEXT = T0 + 2 * HOUR


def key(number: int, activation: datetime, *, public: bool = False) -> SigningKey:
    private = rsa_key(number)
    return SigningKey(kid(number), activation, private.public_key(), None if public else private)


def kids(ring: KeyRing, now: datetime) -> list[str]:
    return [published["kid"] for published in json.loads(ring.jwks(now).body)["keys"]]


TWO = KeyRing([key(1, NEXT), key(0, T0)])


@pytest.mark.requirement("K5", "I12")
def test_the_newest_active_key_signs_from_its_very_second() -> None:
    assert kid(0) == TWO.signing_key(T0).kid
    assert kid(0) == TWO.signing_key(NEXT - timedelta(microseconds=1)).kid
    assert kid(1) == TWO.signing_key(NEXT).kid


def test_before_every_activation_no_key_signs() -> None:
    with pytest.raises(NoSigningKey):
        TWO.signing_key(T0 - SECOND)
    assert TWO.find_signing_key(T0 - SECOND) is None


@pytest.mark.requirement("K2")
def test_a_key_is_published_as_soon_as_its_file_exists() -> None:
    assert [kid(0), kid(1)] == kids(TWO, T0 - 1000 * HOUR)


@pytest.mark.requirement("K2")
def test_a_key_is_published_until_an_hour_and_a_minute_after_its_successor() -> None:
    """The longest access-token life that can be configured, and 60 s for clocks that differ."""
    assert [kid(0), kid(1)] == kids(TWO, NEXT + RETIREMENT - SECOND)
    assert [kid(1)] == kids(TWO, NEXT + RETIREMENT)
    assert [kid(1)] == kids(TWO, NEXT + 100_000 * HOUR)


@pytest.mark.requirement("K2", "K3")
def test_a_key_that_is_no_longer_published_verifies_nothing() -> None:
    assert TWO.public_key(kid(0), NEXT + RETIREMENT - SECOND) is not None
    assert TWO.public_key(kid(0), NEXT + RETIREMENT) is None
    assert TWO.public_key("unknown", T0) is None


def test_a_public_half_is_published_and_never_signs() -> None:
    ring = KeyRing([key(0, T0, public=True), key(1, NEXT)])

    assert [kid(0), kid(1)] == kids(ring, T0)
    with pytest.raises(NoSigningKey):
        ring.signing_key(T0)
    assert [kid(1)] == kids(ring, NEXT + RETIREMENT)


@pytest.mark.requirement("I12")
def test_a_public_half_does_not_end_a_key_that_still_signs() -> None:
    ring = KeyRing([key(0, T0), key(1, NEXT, public=True)])

    assert kid(0) == ring.signing_key(AFTER_NEXT + RETIREMENT).kid
    assert kid(0) in kids(ring, AFTER_NEXT + RETIREMENT)


@pytest.mark.requirement("K4")
def test_the_jwks_is_never_empty() -> None:
    for moment in (T0 - 10_000 * HOUR, T0, NEXT + RETIREMENT, T0 + 100_000 * HOUR):
        assert kids(TWO, moment)
    with pytest.raises(NoSigningKey):
        KeyRing([]).jwks(T0)


@pytest.mark.requirement("K1")
def test_the_jwks_has_public_members_only_and_unique_kids() -> None:
    published = json.loads(TWO.jwks(T0).body)["keys"]

    assert {("kty", "n", "e", "use", "alg", "kid")} == {tuple(jwk) for jwk in published}
    assert 2 == len({jwk["kid"] for jwk in published})


@pytest.mark.requirement("K5")
def test_the_jwks_is_the_same_bytes_on_every_replica() -> None:
    one = KeyRing([key(0, T0), key(1, NEXT)]).jwks(T0)
    other = KeyRing([key(1, NEXT), key(0, T0)]).jwks(T0)

    assert one == other
    assert one.etag.startswith('"')
    assert one.etag.endswith('"')


def test_the_jwks_is_built_once_per_set_of_keys() -> None:
    assert TWO.jwks(T0) is TWO.jwks(NEXT)
    assert TWO.jwks(T0).etag != TWO.jwks(NEXT + RETIREMENT).etag


def test_a_clock_that_is_set_back_finds_the_old_answers() -> None:
    TWO.jwks(NEXT + RETIREMENT)

    assert [kid(0), kid(1)] == kids(TWO, T0)
    assert kid(0) == TWO.signing_key(T0).kid


def test_the_end_of_a_key_is_known_once_it_has_a_successor() -> None:
    assert NEXT + RETIREMENT == TWO.published_until(kid(0))
    assert TWO.published_until(kid(1)) is None
