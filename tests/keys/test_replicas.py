"""Replicas that share a key directory, and verifiers that cache what they publish (I12, K2, K5)."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from uuid import uuid4

import jwt
import pytest

from authsvc.keys.directory import KeyDirectory
from authsvc.keys.issuer import Issuer
from authsvc.keys.keyring import RELOAD_INTERVAL
from authsvc.protocol.claims import Grant
from authsvc.protocol.errors import Unauthenticated
from tests.keys.conftest import Opener
from tests.keys.material import T0, kid, put_signing

SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
ISSUER = "https://auth.example.com"
# What Cache-Control grants: max-age and stale-while-revalidate.
CACHE = timedelta(seconds=300 + 600)
GRANT = Grant(
    user_id=uuid4(),
    session_id=uuid4(),
    client_id="authsvc",
    roles=(),
    scope="",
    auth_time=T0,
    amr=("pwd",),
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
        phase: When it begins, so that several fetch at different times.
    """

    keys: KeyDirectory
    phase: timedelta
    fetched_at: datetime | None = None
    jwks: dict[str, jwt.PyJWK] = field(default_factory=dict)

    def verify(self, token: str, now: datetime) -> None:
        if self.fetched_at is None or now - self.fetched_at >= CACHE:
            self.fetched_at = now
            published = json.loads(self.keys.ring.jwks(now).body)["keys"]
            self.jwks = {jwk["kid"]: jwt.PyJWK(jwk) for jwk in published}
        used = jwt.get_unverified_header(token)["kid"]
        assert used in self.jwks, f"unknown kid at {now}"
        jwt.decode(
            token,
            self.jwks[used],
            algorithms=["RS256"],
            audience="authsvc",
            issuer=ISSUER,
            options={"verify_exp": False, "verify_nbf": False, "verify_iat": False},
        )


@pytest.mark.requirement("K2", "K5", "I12")
def test_a_verifier_with_a_stale_jwks_never_meets_an_unknown_kid(
    directory: Path, open_keys: Opener
) -> None:
    """
    Two replicas, three rotations with the shortest lead, the longest tokens, the laziest cache.

    Each token is verified when it is fresh and once more just before it expires, by a verifier
    that may have fetched the JWKS from the other replica at any time allowed.
    """
    ttl = timedelta(seconds=3600)
    lead = timedelta(minutes=16)
    replicas = [open_keys(), open_keys()]
    verifiers = [
        CachingVerifier(replicas[number % 2], phase=SECOND * 97 * number) for number in range(4)
    ]
    rotations = {T0 + lead * 4 * number: number for number in (1, 2, 3)}
    alive: list[tuple[datetime, str]] = []
    used = set()
    step = RELOAD_INTERVAL

    for tick in range(int(6 * HOUR / step)):
        now = T0 + tick * step
        if now in rotations:
            put_signing(directory, now + lead, rotations[now])
        # One replica reads just before the other: the worst skew of their views.
        replicas[tick % 2].reload(now)
        for number, keys in enumerate(replicas):
            if tick % 8 == number:
                token = str(issuer_of(keys, ttl).access_token(GRANT, now=now))
                used.add(jwt.get_unverified_header(token)["kid"])
                alive.append((now + ttl - SECOND, token))
                for verifier in verifiers:
                    if now - T0 >= verifier.phase:
                        verifier.verify(token, now)
        while alive and alive[0][0] <= now:
            expires, token = alive.pop(0)
            for verifier in verifiers:
                verifier.verify(token, max(now, expires))

    assert {kid(number) for number in range(4)} == used


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
