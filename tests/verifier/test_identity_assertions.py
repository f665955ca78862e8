"""A service behind a gateway asks whose request it was passed."""

from __future__ import annotations

from datetime import timedelta

import pytest

from authsvc_client.verifier import (
    BadHeader,
    Expired,
    IdentityAssertionVerifier,
    KeysUnavailable,
    MissingToken,
    TokenVerifier,
    UnknownKey,
    WrongAudience,
)
from tests.protocol.test_identity_assertion import CLAIMS
from tests.support.forge import HEADER, sign
from tests.support.key_material import kid, rsa_key
from tests.support.key_server import JWKS, KeyServer, MovableClock
from tests.verifier.conftest import NewToken


@pytest.fixture
def assertions(server: KeyServer, clock: MovableClock) -> IdentityAssertionVerifier:
    return IdentityAssertionVerifier(
        issuer=server.origin, upstream="orders", jwks_uri=server.origin + JWKS, clock=clock
    )


def assertion(server: KeyServer, clock: MovableClock, number: int = 0, **changes: object) -> str:
    """One that is good now."""
    now = int(clock.now().timestamp())
    claims = CLAIMS | {"iss": server.origin, "iat": now, "exp": now + 60} | changes
    return sign(HEADER | {"typ": "ia+jwt", "kid": kid(number)}, claims, rsa_key(number))


async def test_a_good_assertion_is_read(
    assertions: IdentityAssertionVerifier, server: KeyServer, clock: MovableClock
) -> None:
    presented = assertion(server, clock)

    claims = await assertions.verify(presented)

    assert (CLAIMS["sub"], ("admin",)) == (claims.sub, claims.roles)
    assert claims == assertions.verify_sync(presented)
    assert 1 == server.fetches()


async def test_each_refusal_has_its_class(
    assertions: IdentityAssertionVerifier, server: KeyServer, clock: MovableClock
) -> None:
    urn = "urn:authsvc:upstream:billing"
    presented = assertion(server, clock)

    for none in (None, ""):
        with pytest.raises(MissingToken):
            await assertions.verify(none)
    with pytest.raises(WrongAudience):
        await assertions.verify(assertion(server, clock, aud=urn))
    with pytest.raises(UnknownKey):
        await assertions.verify(assertion(server, clock, number=1))
    with pytest.raises(UnknownKey):
        assertions.verify_sync(assertion(server, clock, number=1))
    clock.advance(90)
    with pytest.raises(Expired):
        await assertions.verify(presented)


async def test_a_new_key_is_fetched(
    assertions: IdentityAssertionVerifier, server: KeyServer, clock: MovableClock
) -> None:
    await assertions.verify(assertion(server, clock))
    server.publish(0, 1)

    claims = assertions.verify_sync(assertion(server, clock, number=1))

    assert (CLAIMS["sub"], 2) == (claims.sub, server.fetches())


async def test_without_keys_nobody_can_say(
    assertions: IdentityAssertionVerifier, server: KeyServer, clock: MovableClock
) -> None:
    server.status = 500

    with pytest.raises(KeysUnavailable):
        await assertions.verify(assertion(server, clock))


@pytest.mark.requirement("T9")
async def test_neither_verifier_takes_what_is_for_the_other(
    assertions: IdentityAssertionVerifier,
    verifier: TokenVerifier,
    server: KeyServer,
    clock: MovableClock,
    token: NewToken,
) -> None:
    with pytest.raises(BadHeader):
        await verifier.verify(assertion(server, clock, aud="authsvc"))
    with pytest.raises(BadHeader):
        await assertions.verify(token(aud=CLAIMS["aud"]))


@pytest.mark.parametrize(
    "changes",
    [
        {"upstream": ""},
        {"leeway": timedelta(seconds=31)},
        {"leeway": timedelta(seconds=-1)},
        {"timeout": timedelta(0)},
        {"issuer": "http://auth.example.com"},
    ],
)
def test_arguments_that_make_no_sense_are_refused(changes: dict[str, object]) -> None:
    arguments: dict[str, object] = {"issuer": "https://auth.example.com", "upstream": "orders"}

    with pytest.raises(ValueError, match=next(iter(changes))):
        IdentityAssertionVerifier(**(arguments | changes))  # type: ignore[arg-type]  # on purpose
