"""Access tokens verified per second of one core: by the verifier, by plain PyJWT, and RSA alone."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from statistics import median
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256

from authsvc_client.tokens import base64url
from authsvc_client.tokens.jwk import rsa_jwk
from authsvc_client.verifier import TokenVerifier
from tests.support.forge import CLAIMS, HEADER, sign
from tests.support.key_material import kid, rsa_key
from tests.support.key_server import JWKS, key_server

Json = dict[str, Any]

ROUNDS = 5
REQUIRED = ["iss", "aud", "sub", "exp", "iat", "nbf", "jti", "client_id"]


def measure_verifier(*, seconds: float, rounds: int = ROUNDS) -> Json:
    """
    The same token, over and over, in turns; of several rounds the median.

    PyJWT verifies as a careful user has it do: a parsed key, one algorithm, required claims, and
    `typ` looked at.
    """
    public_key = rsa_key().public_key()
    with key_server() as server:
        now = int(datetime.now(UTC).timestamp())
        times = {"iat": now, "nbf": now - 30, "exp": now + 3600, "auth_time": now}
        token = sign(HEADER, CLAIMS | {"iss": server.origin} | times)
        signed, _, last = token.rpartition(".")
        data, signature = signed.encode(), base64url.decode(last)
        padding, digest = PKCS1v15(), SHA256()
        verifier = TokenVerifier(
            issuer=server.origin, audience="authsvc", jwks_uri=server.origin + JWKS
        )
        verifier.prefetch_sync()
        keys = jwt.PyJWKSet.from_json(json.dumps({"keys": [rsa_jwk(public_key)]}))

        def with_pyjwt() -> None:
            key = keys[jwt.get_unverified_header(token)["kid"]]
            found = jwt.decode_complete(
                token,
                key,
                algorithms=["RS256"],
                issuer=server.origin,
                audience="authsvc",
                leeway=30,
                options={"require": REQUIRED},
            )
            assert "at+jwt" == found["header"]["typ"]
            assert kid() == found["header"]["kid"]

        async def asynchronously() -> None:
            for _ in range(100):
                await verifier.verify(token)

        acts: dict[str, tuple[int, Callable[[], object]]] = {
            "rsa": (1, lambda: public_key.verify(signature, data, padding, digest)),
            "verifier": (1, lambda: verifier.verify_sync(token)),
            "verifier_async": (100, lambda: asyncio.run(asynchronously())),
            "pyjwt": (1, with_pyjwt),
        }
        found: dict[str, list[float]] = {name: [] for name in acts}
        for _ in range(rounds):
            for name, (each, act) in acts.items():
                found[name].append(_rate(act, seconds / rounds) * each)
        fetches = server.fetches()
    return {
        "token_bytes": len(token),
        "fetches": fetches,
        "per_second": {name: median(rates) for name, rates in found.items()},
        "of_rsa": median(a / b for a, b in zip(found["verifier"], found["rsa"], strict=True)),
        "of_pyjwt": median(a / b for a, b in zip(found["verifier"], found["pyjwt"], strict=True)),
    }


def _rate(act: Callable[[], object], seconds: float) -> float:
    done, began = 0, time.perf_counter()
    while (passed := time.perf_counter() - began) < seconds:
        act()
        done += 1
    return done / passed
