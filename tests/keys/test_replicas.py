"""Replicas that share a key directory, and verifiers that cache what they publish (I12, K2, K5)."""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from uuid import uuid4

import jwt
import pytest

from authsvc.keys.directory import KeyDirectory
from authsvc.keys.issuer import Issuer
from authsvc.keys.keyring import MIN_LEAD, RELOAD_INTERVAL
from authsvc.protocol.errors import Unauthenticated
from authsvc.protocol.grants import Grant
from tests.keys.conftest import Opener
from tests.support.key_material import T0, kid, put_signing

SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
ISSUER = "https://auth.example.com"
# What Cache-Control grants: max-age and stale-while-revalidate.
CACHE = timedelta(seconds=300 + 600)
# The longest ACCESS_TTL that can be configured.
MAX_CACHED = timedelta(seconds=3600)
GRANT = Grant(
    user_id=uuid4(),
    session_id=uuid4(),
    client_id="authsvc",
    roles=(),
    scope="",
    auth_time=T0,
    amr=("pwd",),
    ver=1,
)


def issuer_of(keys: KeyDirectory, ttl: timedelta = timedelta(seconds=900)) -> Issuer:
    return Issuer(keys, issuer=ISSUER, audience="authsvc", access_ttl=ttl)


def signer(issuer: Issuer, now: datetime) -> str:
    header = jwt.get_unverified_header(issuer.access_token(GRANT, now=now))
    return str(header["kid"])


@pytest.mark.requirement("K5", "I12")
def test_replicas_switch_in_the_same_second(directory: Path, open_keys: Opener) -> None:
    one, other = open_keys(), open_keys()
    put_signing(directory, T0 + HOUR, 1)
    # They read the directory at different times, long before the activation.
    one.reload(T0 + SECOND)
    other.reload(T0 + 14 * SECOND)

    for now, expected in (
        (T0 + HOUR - SECOND, kid(0)),
        (T0 + HOUR - timedelta(microseconds=1), kid(0)),
        (T0 + HOUR, kid(1)),
        (T0 + HOUR + SECOND, kid(1)),
    ):
        assert [expected, expected] == [signer(issuer_of(one), now), signer(issuer_of(other), now)]
        assert one.ring.jwks(now) == other.ring.jwks(now)


@dataclass
class CachingVerifier:
    """
    Another service: it holds a JWKS for as long as it may, and never asks sooner.

    Args:
        begins: So that several of them fetch at different times.
    """

    keys: KeyDirectory
    begins: datetime
    fetched_at: datetime | None = None
    kids: frozenset[str] = frozenset()

    def knows(self, kid_of_token: str, now: datetime) -> bool:
        if now < self.begins:
            return True
        if self.fetched_at is None or now - self.fetched_at >= CACHE:
            self.fetched_at = now
            published = json.loads(self.keys.ring.jwks(now).body)["keys"]
            self.kids = frozenset(jwk["kid"] for jwk in published)
        return kid_of_token in self.kids


def unknown_kids(directory: Path, replicas: list[KeyDirectory], lead: timedelta) -> list[str]:
    """
    Rotate three times with tokens of the longest life; say when a verifier was at a loss.

    In every step the verifiers look first, then the replicas read, then files appear: the most
    unfavourable order. A token is looked at when it is fresh and just before it expires.
    """
    verifiers = [
        CachingVerifier(replicas[number % 2], T0 + number * RELOAD_INTERVAL) for number in range(62)
    ]
    rotations = {T0 + 5 * lead * number: number for number in (1, 2, 3)}
    alive: deque[tuple[datetime, str]] = deque()
    used, lost = set(), []
    now = T0
    while now < T0 + timedelta(hours=7):
        fresh = {keys.ring.signing_key(now).kid for keys in replicas}
        used |= fresh
        alive += [(now + MAX_CACHED - SECOND, kid_of_token) for kid_of_token in fresh]
        old = set()
        while alive[0][0] < now:
            old.add(alive.popleft()[1])
        lost += [
            f"{kid_of_token} at {now}"
            for kid_of_token in fresh | old
            for verifier in verifiers
            if not verifier.knows(kid_of_token, now)
        ]
        for keys in replicas:
            keys.reload(now)
        if now in rotations:
            put_signing(directory, now + lead, rotations[now])
        now += RELOAD_INTERVAL
    assert {kid(number) for number in range(4)} == used
    return lost


@pytest.mark.requirement("K2", "K5", "I12")
def test_a_verifier_with_a_stale_jwks_never_meets_an_unknown_kid(
    directory: Path, open_keys: Opener
) -> None:
    assert [] == unknown_kids(directory, [open_keys(), open_keys()], MIN_LEAD)


@pytest.mark.requirement("K2")
def test_with_less_lead_a_verifier_does_meet_an_unknown_kid(
    directory: Path, open_keys: Opener
) -> None:
    """The control: the test above can fail."""
    assert unknown_kids(directory, [open_keys(), open_keys()], timedelta(minutes=15))


@pytest.mark.requirement("K2", "K3")
def test_every_token_is_accepted_until_it_expires_and_its_key_is_gone_soon_after(
    directory: Path, open_keys: Opener
) -> None:
    put_signing(directory, T0 + HOUR, 1)
    keys = open_keys()
    issuer = issuer_of(keys, timedelta(seconds=3600))
    last = issuer.access_token(GRANT, now=T0 + HOUR - SECOND)

    assert issuer.verify(last, now=T0 + 2 * HOUR - 2 * SECOND)
    assert issuer.verify(last, now=T0 + 2 * HOUR + 28 * SECOND), "within the leeway"
    with pytest.raises(Unauthenticated, match="unknown_kid"):
        issuer.verify_authentic(last, now=T0 + 2 * HOUR + timedelta(seconds=60))


@pytest.mark.requirement("K3", "K5")
def test_a_key_deleted_in_the_shared_directory_is_gone_on_every_replica(
    directory: Path, open_keys: Opener
) -> None:
    put_signing(directory, T0 - HOUR, 1)
    replicas = [open_keys(), open_keys()]
    forged = issuer_of(replicas[0]).access_token(GRANT, now=T0 - HOUR - SECOND)
    (directory / "20261121T100000Z.pem").unlink()

    for keys in replicas:
        keys.reload(T0)
        with pytest.raises(Unauthenticated, match="unknown_kid"):
            issuer_of(keys).verify_authentic(forged, now=T0)
