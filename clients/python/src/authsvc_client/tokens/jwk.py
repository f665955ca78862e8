"""RSA public keys as JSON Web Keys (RFC 7517, RFC 7518 §6.3) and their names (RFC 7638)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers

from authsvc_client.tokens import base64url

MIN_BITS = 2048  # RFC 7518 §3.3
MAX_BITS = 8192  # a verification with a larger one takes too long
EXPONENT = 65_537
OURS = {"kty": "RSA", "use": "sig", "alg": "RS256"}
# RFC 7518 §6.3.2 and §6.4: a set that shows one of them has no secret left to trust.
SECRET_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})


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


def rsa_public_key(jwk: Mapping[str, object]) -> RSAPublicKey:
    """
    Read a key as `rsa_jwk` writes it, and as nothing else.

    Raises:
        ValueError: Not an RSA key for RS256, weak or unusual, not canonical, with a secret
            part, or with a `kid` that is not its thumbprint.
    """
    if any(jwk.get(name) != value for name, value in OURS.items()):
        raise ValueError("not an RSA key for RS256 signatures")
    if SECRET_MEMBERS & set(jwk):
        raise ValueError("a private key")
    key = RSAPublicNumbers(_uint(jwk, "e"), _uint(jwk, "n")).public_key()
    if not MIN_BITS <= key.key_size <= MAX_BITS:
        raise ValueError(f"{key.key_size} bits")
    if thumbprint(key) != jwk.get("kid"):
        raise ValueError("kid is not the thumbprint")
    return key


def thumbprint(key: RSAPublicKey) -> str:
    """The SHA-256 JWK thumbprint (RFC 7638 §3), our `kid`: 43 characters."""
    canonical = json.dumps(_required_members(key), sort_keys=True, separators=(",", ":"))
    return base64url.encode(hashlib.sha256(canonical.encode("ascii")).digest())


def _required_members(key: RSAPublicKey) -> dict[str, str]:
    numbers = key.public_numbers()
    return {"kty": "RSA", "n": _base64url_uint(numbers.n), "e": _base64url_uint(numbers.e)}


def _uint(jwk: Mapping[str, object], name: str) -> int:
    """A Base64urlUInt in its one spelling; the exponent is the one that everybody uses."""
    text = jwk.get(name)
    if not isinstance(text, str) or len(text) > MAX_BITS // 4:
        raise ValueError(f"{name} is missing or too long")
    number = int.from_bytes(base64url.decode(text), "big")
    if _base64url_uint(number) != text or (name == "e" and number != EXPONENT):
        raise ValueError(f"{name} is unusual")
    return number


def _base64url_uint(number: int) -> str:
    """Base64urlUInt: big-endian without leading zero octets (RFC 7518 §2)."""
    return base64url.encode(number.to_bytes((number.bit_length() + 7) // 8, "big"))
