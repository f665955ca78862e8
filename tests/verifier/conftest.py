"""A verifier, the server whose keys it trusts, and a clock that tests move."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from authsvc_client.verifier import TokenVerifier
from tests.support.forge import CLAIMS, HEADER, sign
from tests.support.key_material import T0, kid, rsa_key
from tests.support.key_server import JWKS, KeyServer, MovableClock, key_server

NewVerifier = Callable[..., TokenVerifier]


@pytest.fixture
def server() -> Iterator[KeyServer]:
    with key_server() as running:
        yield running


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock()


@pytest.fixture
def new_verifier(server: KeyServer, clock: MovableClock) -> NewVerifier:
    """Makes verifiers of that server's tokens."""

    def make(**changes: Any) -> TokenVerifier:
        arguments: dict[str, Any] = {
            "issuer": server.origin,
            "audience": "authsvc",
            "jwks_uri": server.origin + JWKS,
            "clock": clock,
        }
        return TokenVerifier(**(arguments | changes))

    return make


@pytest.fixture
def verifier(new_verifier: NewVerifier) -> TokenVerifier:
    return new_verifier()


NewToken = Callable[..., str]


@pytest.fixture
def token(server: KeyServer, clock: MovableClock) -> NewToken:
    """Makes tokens that are good now, signed by a test key."""

    def make(number: int = 0, **changes: object) -> str:
        now = int(clock.now().timestamp())
        times = {"iat": now, "nbf": now - 30, "exp": now + 900, "auth_time": int(T0.timestamp())}
        claims = CLAIMS | {"iss": server.origin} | times | changes
        header = HEADER | {"kid": kid(number)}
        return sign(header, {k: v for k, v in claims.items() if v is not None}, rsa_key(number))

    return make
