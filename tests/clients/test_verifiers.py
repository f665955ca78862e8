"""Verifiers that nobody here wrote accept our tokens from the JWKS alone."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest

from tests.support.live import EMAIL, PASSWORD, serving

HERE = Path(__file__).parent
NODE = shutil.which("node")


@dataclass
class Live:
    origin: str
    token: str


@pytest.fixture
async def live(database_url: str, tmp_path: Path) -> AsyncIterator[Live]:
    async with serving(database_url, tmp_path) as ports:
        origin = f"http://localhost:{ports[0]}"
        async with httpx.AsyncClient(base_url=origin) as client:
            body = {"email": EMAIL, "password": PASSWORD, "delivery": "native"}
            login = await client.post("/auth/login", json=body)
        yield Live(origin=origin, token=login.json()["access_token"])


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
@pytest.mark.skipif(
    NODE is None or not (HERE / "node_modules" / "jose").is_dir(),
    reason="needs Node.js and `npm ci --ignore-scripts` in tests/clients (make test does that)",
)
async def test_jose_verifies_a_token_from_the_jwks_alone(live: Live) -> None:
    def verify(audience: str) -> subprocess.CompletedProcess[str]:
        assert NODE is not None
        return subprocess.run(
            [NODE, str(HERE / "verify_with_jose.mjs"), live.origin, audience],
            input=live.token,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    accepted = await asyncio.to_thread(verify, "authsvc")
    refused = await asyncio.to_thread(verify, "another-service")

    assert 0 == accepted.returncode, accepted.stderr
    assert live.origin == json.loads(accepted.stdout)["iss"]
    assert 1 == refused.returncode
    assert "ERR_JWT_CLAIM_VALIDATION_FAILED" in refused.stderr
