"""Verifiers that nobody here wrote accept our tokens from the JWKS alone."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
import pytest

from tests.support.live import access_token, serving
from tests.support.node import CLIENTS, needs, node


@dataclass
class Live:
    origin: str
    token: str


@pytest.fixture
async def live(database_url: str, tmp_path: Path) -> AsyncIterator[Live]:
    async with serving(database_url, tmp_path) as ports:
        origin = f"http://localhost:{ports[0]}"
        yield Live(origin, await access_token(origin))


@pytest.mark.requirement("T1", "T2", "K1")
async def test_pyjwt_verifies_a_token_from_the_jwks_alone(live: Live) -> None:
    def verify() -> dict[str, Any]:
        client = jwt.PyJWKClient(f"{live.origin}/.well-known/jwks.json")
        key = client.get_signing_key_from_jwt(live.token)
        claims: dict[str, Any] = jwt.decode(
            live.token,
            key,
            algorithms=["RS256"],
            audience="authsvc",
            issuer=live.origin,
            leeway=30,
            options={"require": ["exp", "iat", "nbf", "sub", "iss", "aud", "jti"]},
        )
        return claims

    claims = await asyncio.to_thread(verify)

    header = jwt.get_unverified_header(live.token)
    assert {"alg": "RS256", "typ": "at+jwt", "kid": header["kid"]} == header
    assert {
        "iss", "sub", "aud", "exp", "iat", "nbf", "jti", "sid", "client_id", "auth_time", "amr",
        "ver",
    } == set(claims)  # fmt: skip
    assert (900, 30) == (claims["exp"] - claims["iat"], claims["iat"] - claims["nbf"])
    assert len(live.token) < 900


@pytest.mark.requirement("T1", "K1")
@needs("jose")
async def test_jose_verifies_a_token_from_the_jwks_alone(live: Live) -> None:
    def verify(audience: str) -> subprocess.CompletedProcess[str]:
        return node(CLIENTS / "verify_with_jose.mjs", live.origin, audience, input=live.token)

    accepted = await asyncio.to_thread(verify, "authsvc")
    refused = await asyncio.to_thread(verify, "another-service")

    assert 0 == accepted.returncode, accepted.stderr
    assert live.origin == json.loads(accepted.stdout)["iss"]
    assert 1 == refused.returncode
    assert "ERR_JWT_CLAIM_VALIDATION_FAILED" in refused.stderr
