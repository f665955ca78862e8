"""RSA public keys as JSON Web Keys (RFC 7517, RFC 7518 §6.3) and their names (RFC 7638)."""

from __future__ import annotations

import hashlib
import json

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from authsvc.protocol import base64url


def rsa_jwk(key: RSAPublicKey) -> dict[str, str]:
    """
    The public half of a signing key, as it stands in the JWKS.

    Only `kty n e use alg kid`: `key_ops` beside `use` is discouraged (RFC 7517 §4.3), and the
    members of a private key are never touched.
    """
    return {
        **_required_members(key),
        "use": "sig",
        "alg": "RS256",
        "kid": thumbprint(key),
    }


def thumbprint(key: RSAPublicKey) -> str:
    """The SHA-256 JWK thumbprint (RFC 7638 §3), our `kid`: 43 characters."""
    canonical = json.dumps(_required_members(key), sort_keys=True, separators=(",", ":"))
    return base64url.encode(hashlib.sha256(canonical.encode("ascii")).digest())


def _required_members(key: RSAPublicKey) -> dict[str, str]:
    numbers = key.public_numbers()
    return {"kty": "RSA", "n": _base64url_uint(numbers.n), "e": _base64url_uint(numbers.e)}


def _base64url_uint(number: int) -> str:
    """Base64urlUInt: big-endian without leading zero octets (RFC 7518 §2)."""
    return base64url.encode(number.to_bytes((number.bit_length() + 7) // 8, "big"))
