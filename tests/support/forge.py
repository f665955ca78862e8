"""Make access tokens of any shape, good or forged."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256

from authsvc_client.tokens import base64url
from authsvc_client.tokens.access_token import TYP, verify_access_token
from authsvc_client.tokens.claims import AccessTokenClaims
from authsvc_client.tokens.errors import UnknownKey
from authsvc_client.tokens.jws import read
from tests.support.key_material import T0, kid, rsa_key

ISSUER = "https://auth.example.com"
AUDIENCE = "authsvc"
NOW = int(T0.timestamp())
HEADER = {"alg": "RS256", "typ": "at+jwt", "kid": kid()}
CLAIMS: dict[str, Any] = {
    "iss": ISSUER,
    "sub": "7d0f5c1e-6a0c-4f57-9d4c-2f9f5b9a4f10",
    "aud": AUDIENCE,
    "exp": NOW + 900,
    "iat": NOW,
    "nbf": NOW - 30,
    "jti": "b2pMa5AuinvdBr1xhpDhfg",
    "client_id": "authsvc",
    "sid": "1f6f2a38-9d1c-4a8e-9a55-0f7f3b0c2d11",
    "roles": ["admin"],
    "auth_time": NOW,
    "amr": ["pwd"],
}


def without(members: dict[str, Any], *names: str) -> dict[str, Any]:
    """The members without some."""
    return {name: value for name, value in members.items() if name not in names}


def segment(value: object) -> str:
    """JSON (or raw text, or bytes) in base64url."""
    if isinstance(value, bytes):
        return base64url.encode(value)
    text = value if isinstance(value, str) else json.dumps(value)
    return base64url.encode(text.encode())


def sign(header: object, claims: object, key: RSAPrivateKey | None = None) -> str:
    """A token with a valid RS256 signature of the given key, whatever its header says."""
    signed = f"{segment(header)}.{segment(claims)}"
    signature = (key or rsa_key()).sign(signed.encode(), PKCS1v15(), SHA256())
    return f"{signed}.{base64url.encode(signature)}"


def our_key(presented_kid: str) -> RSAPublicKey:
    """The key store: one key."""
    if presented_kid != kid():
        raise UnknownKey
    return rsa_key().public_key()


def verify(token: Any, *, after: timedelta = timedelta(0)) -> AccessTokenClaims:
    """Verify as the service does."""
    jws = read(token, TYP)
    return verify_access_token(
        jws, our_key(jws.kid), issuer=ISSUER, audience=AUDIENCE, now=T0 + after
    )
