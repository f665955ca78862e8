"""What TokenVerifier says of a token, and that it says so without asking anybody."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest

from authsvc_client.verifier import (
    AccessTokenClaims,
    BadHeader,
    Expired,
    InvalidToken,
    KeysUnavailable,
    TokenVerifier,
    WrongAudience,
    WrongIssuer,
)
from tests.support.forge import CLAIMS, HEADER, sign
from tests.support.key_material import kid, rsa_key
from tests.support.key_server import KeyServer, MovableClock
from tests.verifier.conftest import NewToken, NewVerifier


async def test_a_good_token_is_read_in_full(verifier: TokenVerifier, token: NewToken) -> None:
    presented = token(scope="orders:read", roles=["admin"])

    claims = await verifier.verify(presented)

    assert (CLAIMS["sub"], ("admin",), "orders:read") == (claims.sub, claims.roles, claims.scope)
    assert claims == verifier.verify_sync(presented)


async def test_one_fetch_serves_every_later_token(
    verifier: TokenVerifier, server: KeyServer, token: NewToken
) -> None:
    for _ in range(20):
        await verifier.verify(token())

    assert 1 == server.fetches()


@pytest.mark.requirement("T7")
def test_issuer_and_audience_are_this_services(
    new_verifier: NewVerifier, server: KeyServer, token: NewToken
) -> None:
    with pytest.raises(WrongAudience):
        new_verifier(audience="another").verify_sync(token())
    with pytest.raises(WrongIssuer):
        new_verifier().verify_sync(token(iss=server.origin + "/"))


@pytest.mark.requirement("T8")
def test_leeway_can_only_be_made_smaller(
    new_verifier: NewVerifier, clock: MovableClock, token: NewToken
) -> None:
    strict = new_verifier(leeway=timedelta(0))
    presented = token()
    clock.advance(900)

    assert new_verifier().verify_sync(presented)
    with pytest.raises(Expired):
        strict.verify_sync(presented)
    with pytest.raises(ValueError, match="leeway must be 0 to 30 s"):
        new_verifier(leeway=timedelta(seconds=31))


@pytest.mark.requirement("T4")
@pytest.mark.parametrize("name", ["jku", "x5u", "jwk", "x5c"])
def test_nothing_in_a_token_is_fetched(
    name: str, verifier: TokenVerifier, server: KeyServer, token: NewToken
) -> None:
    """CVE-2026-48522: not from the header's URLs, nor from `kid` or `iss`."""
    header = HEADER | {"kid": kid(), name: f"{server.origin}/canary"}
    claims = CLAIMS | {"iss": f"{server.origin}/canary"}

    with pytest.raises(BadHeader):
        verifier.verify_sync(sign(header, claims, rsa_key(1)))
    with pytest.raises(BadHeader):
        verifier.verify_sync(sign(HEADER | {"kid": f"{server.origin}/canary"}, claims))
    with pytest.raises(InvalidToken):
        verifier.verify_sync(token(iss=f"{server.origin}/canary"))

    assert {"/.well-known/jwks.json"} == {path for path, _ in server.requests}


def test_every_cause_has_a_class_of_its_own() -> None:
    classes = InvalidToken.__subclasses__()

    assert len(classes) == len({found.cause for found in classes})
    assert {found.cause for found in classes} == {found().detail for found in classes}


def test_garbage_costs_no_fetch(verifier: TokenVerifier, server: KeyServer) -> None:
    for garbage in ("", "a.b.c", "x" * 9000, sign(HEADER | {"alg": "none"}, CLAIMS)):
        with pytest.raises(InvalidToken):
            verifier.verify_sync(garbage)

    assert 0 == server.fetches()


async def test_prefetch_has_the_keys_before_the_first_token(
    verifier: TokenVerifier, server: KeyServer, token: NewToken
) -> None:
    await verifier.prefetch()
    verifier.prefetch_sync()
    server.gate.clear()

    assert await verifier.verify(token())
    assert (kid(),) == verifier.key_status().kids
    assert verifier.key_status().usable


async def test_a_start_without_authsvc_is_known_to_have_failed(
    verifier: TokenVerifier, server: KeyServer
) -> None:
    server.status = 503

    with pytest.raises(KeysUnavailable):
        await verifier.prefetch()
    with pytest.raises(KeysUnavailable):
        verifier.prefetch_sync()

    status = verifier.key_status()
    assert ((), False) == (status.kids, status.usable)
    assert "answered 503" in str(status.failure)


class Denied:
    """Knows of one token that was revoked; a stand-in for what a service would plug in."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def check(self, claims: AccessTokenClaims, *, now: datetime) -> None:
        assert now.tzinfo is not None
        self.asked.append(claims.jti)
        if claims.jti == "revoked":
            raise InvalidToken("revoked")


async def test_revocations_are_asked_about_good_tokens_only(
    new_verifier: NewVerifier, token: NewToken
) -> None:
    denied = Denied()
    verifier = new_verifier(revocations=denied)

    await verifier.verify(token(jti="good"))
    with pytest.raises(InvalidToken):
        verifier.verify_sync(token(jti="revoked"))
    with pytest.raises(WrongAudience):
        verifier.verify_sync(token(jti="foreign", aud="another"))

    assert ["good", "revoked"] == denied.asked


@pytest.mark.parametrize(
    "changes",
    [
        {"issuer": "http://auth.example.com"},
        {"issuer": "auth.example.com"},
        {"issuer": "https://user:password@auth.example.com"},
        {"jwks_uri": "file:///etc/passwd"},
        {"jwks_uri": "http://localhost.attacker.test/keys"},
        {"audience": ""},
        {"leeway": timedelta(seconds=-1)},
        {"timeout": timedelta(0)},
    ],
    ids=str,
)
def test_arguments_that_make_no_sense_are_refused_at_once(
    changes: dict[str, Any], new_verifier: NewVerifier
) -> None:
    with pytest.raises(ValueError, match=next(iter(changes))):
        new_verifier(**changes)


def test_one_verifier_serves_many_event_loops(verifier: TokenVerifier, token: NewToken) -> None:
    presented = token()

    for _ in range(3):
        assert asyncio.run(verifier.verify(presented))
