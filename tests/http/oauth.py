"""Clients and what they send, for the tests of the OAuth endpoints."""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote_plus
from uuid import uuid4

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from fastapi import FastAPI
from jwt.algorithms import ECAlgorithm

from authsvc.keys.client_secrets import digest, new_client_secret
from authsvc.protocol.client_auth import JWT_BEARER
from authsvc.protocol.clients import AuthMethod, Client
from authsvc.store import clients
from authsvc_client.tokens.secret import Secret
from tests.conftest import START
from tests.http.conftest import BASE_URL

TOKEN, INTROSPECT, REVOKE = "/oauth/token", "/oauth/introspect", "/oauth/revoke"
ORDERS, BILLING = "https://orders.example.com", "https://billing.example.com"
GRANT = {"grant_type": "client_credentials"}
SHOP = Client(
    client_id="shop",
    name="Shop",
    auth_method=AuthMethod.CLIENT_SECRET_BASIC,
    grant_types=("client_credentials",),
    scopes=("orders:read", "orders:write"),
    resources=(ORDERS,),
    audiences=(),
)
PRIVATE_KEY = generate_private_key(SECP256R1())


async def register(app: FastAPI, client: Client = SHOP, **changes: Any) -> Secret:
    """A registered client; returns its secret (of no use to one that has keys)."""
    client = replace(client, **changes)
    secret = new_client_secret()
    kept = digest(secret) if client.auth_method.by_secret else None
    async with app.state.service.db.transaction() as session:
        assert await clients.create(session, client, secret_digest=kept)
    return secret


async def register_with_keys(app: FastAPI, **changes: Any) -> None:
    method = {"auth_method": AuthMethod.PRIVATE_KEY_JWT, "assertion_alg": "ES256"}
    await register(app, **{**method, "jwks": jwks(), **changes})


def jwks() -> str:
    """The key set of whoever signs an `assertion`."""
    return json.dumps({"keys": [json.loads(ECAlgorithm.to_jwk(PRIVATE_KEY.public_key()))]})


def basic(client_id: str, secret: str) -> dict[str, str]:
    pair = f"{quote_plus(client_id)}:{quote_plus(secret)}"
    return {"authorization": "Basic " + b64encode(pair.encode()).decode()}


def assertion(client_id: str = "shop", *, now: datetime = START, **claims: Any) -> dict[str, str]:
    """The two parameters of a fresh assertion."""
    payload = {
        "iss": client_id,
        "sub": client_id,
        "aud": BASE_URL,
        "jti": uuid4().hex,
        "iat": int(now.timestamp()),
        "exp": int((now + timedelta(minutes=1)).timestamp()),
        **claims,
    }
    return {
        "client_assertion_type": JWT_BEARER,
        "client_assertion": jwt.encode(payload, PRIVATE_KEY, "ES256"),
    }


async def ask(client: httpx.AsyncClient, secret: str, **form: str) -> httpx.Response:
    """Ask for a token of `shop`, by Basic."""
    return await client.post(TOKEN, data={**GRANT, **form}, headers=basic("shop", secret))


def error(answer: httpx.Response) -> tuple[int, str]:
    """Status and `error`, after a look at everything that RFC 6749 §5.2 says of the rest."""
    assert "application/json" == answer.headers["content-type"]
    assert ("no-store", "no-cache") == (
        answer.headers["cache-control"],
        answer.headers["pragma"],
    )
    body = answer.json()
    assert {"error", "error_description"} == set(body)
    assert all(
        " " <= character <= "~" and character not in '"\\'
        for character in body["error_description"]
    )
    assert (answer.status_code == 401) == ("www-authenticate" in answer.headers)
    assert (answer.status_code in {429, 503}) == ("retry-after" in answer.headers)
    return answer.status_code, body["error"]
