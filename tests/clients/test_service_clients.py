"""OAuth clients that nobody here wrote get, check, introspect and revoke tokens of services."""

from __future__ import annotations

import asyncio
import json
import warnings
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from authlib.oauth2.rfc7523 import PrivateKeyJWT, private_key_jwt_sign
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_ec_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc.jwk import ECKey
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from authsvc.flows.administer_clients import create_client
from authsvc.protocol.clients import AuthMethod, Client
from authsvc.store.database import Database
from tests.support.key_material import rsa_key
from tests.support.live import serving
from tests.support.node import CLIENTS, needs, observed

with warnings.catch_warnings(record=True):  # it would rather have httpx2
    from authlib.integrations.httpx_client import AsyncOAuth2Client

ORDERS = "https://orders.example.com"


@dataclass
class Live:
    """A running service with one client that introspects what is for `ORDERS`."""

    origin: str
    db: Database
    introspector: dict[str, str]

    async def register(
        self, method: AuthMethod, *, alg: str | None = None, jwk: dict[str, Any] | None = None
    ) -> str | None:
        client = Client(
            client_id="shop",
            name="Shop",
            auth_method=method,
            grant_types=(),
            scopes=("orders:read", "orders:write"),
            resources=(ORDERS,),
            audiences=(),
            assertion_alg=alg,
            jwks=None if jwk is None else json.dumps({"keys": [public_half(jwk)]}),
        )
        return (await create_client(self.db, client)).secret


@pytest.fixture
async def live(db: Database, database_url: str, tmp_path: Path) -> AsyncIterator[Live]:
    orders = Client(
        client_id="orders",
        name="Orders",
        auth_method=AuthMethod.CLIENT_SECRET_BASIC,
        grant_types=(),
        scopes=(),
        resources=(),
        audiences=(ORDERS,),
    )
    created = await create_client(db, orders)
    async with serving(database_url, tmp_path) as ports:
        yield Live(
            origin=f"http://localhost:{ports[0]}",
            db=db,
            introspector={"client_id": "orders", "secret": str(created.secret)},
        )


def private_jwk(alg: str) -> dict[str, Any]:
    algorithm, key = {
        "RS256": (RSAAlgorithm, rsa_key()),
        "PS256": (RSAAlgorithm, rsa_key()),
        "ES256": (ECAlgorithm, generate_ec_key(SECP256R1())),
        "EdDSA": (OKPAlgorithm, Ed25519PrivateKey.generate()),
    }[alg]
    jwk: dict[str, Any] = json.loads(algorithm.to_jwk(key))  # type: ignore[attr-defined]  # of each
    jwk.pop("key_ops", None)
    return {**jwk, "kid": "k1"}


def public_half(jwk: dict[str, Any]) -> dict[str, Any]:
    private = {"d", "p", "q", "dp", "dq", "qi"}
    return {name: value for name, value in jwk.items() if name not in private}


@pytest.mark.requirement("A1", "A2", "A5", "O12", "Q1", "Q3", "T1", "T2", "K6")
@needs("oauth4webapi")
@pytest.mark.parametrize(
    ("method", "alg"),
    [
        (AuthMethod.CLIENT_SECRET_BASIC, None),
        (AuthMethod.CLIENT_SECRET_POST, None),
        (AuthMethod.PRIVATE_KEY_JWT, "RS256"),
        (AuthMethod.PRIVATE_KEY_JWT, "PS256"),
        (AuthMethod.PRIVATE_KEY_JWT, "ES256"),
        (AuthMethod.PRIVATE_KEY_JWT, "EdDSA"),
    ],
)
async def test_oauth4webapi_finds_everything_as_the_rfcs_say(
    live: Live, method: AuthMethod, alg: str | None
) -> None:
    jwk = None if alg is None else private_jwk(alg)
    secret = await live.register(method, alg=alg, jwk=jwk)
    given = {
        "issuer": live.origin,
        "resource": ORDERS,
        "client_id": "shop",
        "secret": secret,
        "jwk": None if jwk is None else {**jwk, "alg": alg},
        "method": method,
        "introspector": live.introspector,
    }

    said = await asyncio.to_thread(observed, CLIENTS / "service_with_oauth4webapi.mjs", told=given)

    assert ("bearer", 900, "orders:read") == tuple(
        said[name] for name in ("token_type", "expires_in", "scope")
    )
    assert ("shop", "shop", ORDERS, "orders:read", live.origin) == tuple(
        said["claims"][name] for name in ("sub", "client_id", "aud", "scope", "iss")
    )
    assert {**said["claims"], "active": True, "token_type": "Bearer"} == said["before"]
    assert {"active": False} == said["after"]
    assert "accepted" not in said["for_another"]
    assert ["ResponseBodyError", "invalid_scope", 400] == said["foreign_scope"]
    assert ["ResponseBodyError", "invalid_target", 400] == said["foreign_resource"]
    assert ["WWWAuthenticateChallengeError", "basic", 401] == said["wrong_secret"]


@pytest.mark.requirement("A1", "A2", "A5")
@pytest.mark.parametrize("method", [AuthMethod.CLIENT_SECRET_BASIC, AuthMethod.CLIENT_SECRET_POST])
async def test_authlib_gets_introspects_and_revokes_with_a_secret(
    live: Live, method: AuthMethod
) -> None:
    secret = await live.register(method)
    async with AsyncOAuth2Client(
        "shop",
        secret,
        token_endpoint_auth_method=str(method),
        revocation_endpoint_auth_method=str(method),
        scope="orders:read",
    ) as shop:
        await get_introspect_and_revoke(live, shop)


class OneMinute(PrivateKeyJWT):  # type: ignore[misc]  # of a library without types
    """Authlib's assertions live for an hour, of which we take 5 minutes at most."""

    def sign(self, auth: Any, token_endpoint: str) -> str:
        signed: str = private_key_jwt_sign(
            auth.client_secret,
            client_id=auth.client_id,
            token_endpoint=token_endpoint,
            alg=self.alg,
            header=self.headers,
            expires_in=60,
        )
        return signed


@pytest.mark.requirement("A5", "A6")
async def test_authlib_gets_introspects_and_revokes_with_a_key(live: Live) -> None:
    jwk = private_jwk("ES256")
    await live.register(AuthMethod.PRIVATE_KEY_JWT, alg="ES256", jwk=jwk)
    method = OneMinute(live.origin, alg="ES256", headers={"kid": "k1"})
    async with AsyncOAuth2Client(
        "shop",
        ECKey.import_key(jwk),
        token_endpoint_auth_method=method,
        revocation_endpoint_auth_method=method,
        scope="orders:read",
    ) as shop:
        await get_introspect_and_revoke(live, shop)


async def get_introspect_and_revoke(live: Live, shop: Any) -> None:
    token = await shop.fetch_token(
        f"{live.origin}/oauth/token", grant_type="client_credentials", resource=ORDERS
    )
    async with AsyncOAuth2Client(
        live.introspector["client_id"], live.introspector["secret"]
    ) as orders:
        uri, access_token = f"{live.origin}/oauth/introspect", token["access_token"]
        before = await orders.introspect_token(uri, access_token)
        revoked = await shop.revoke_token(f"{live.origin}/oauth/revoke", access_token)
        after = await orders.introspect_token(uri, access_token)

    assert ("Bearer", "orders:read") == (token["token_type"], token["scope"])
    assert (True, "shop", ORDERS) == tuple(before.json()[n] for n in ("active", "sub", "aud"))
    assert 200 == revoked.status_code
    assert {"active": False} == after.json()
