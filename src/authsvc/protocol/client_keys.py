"""
The public keys of clients, read from a JWK Set (RFC 7517 §5), and signatures checked with them.

A key is used for one algorithm only: the one its client was registered with. Nothing that a
token says has a say in it (RFC 8725 §3.1).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from authsvc.protocol.clients import AuthMethod, Client, invalid_member
from authsvc_client.tokens import base64url

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey

# By the name in a registration: `kty`, `crv`, and the names in a header. RFC 9864 calls EdDSA
# with this curve Ed25519; it is the same algorithm.
ALGORITHMS: Mapping[str, tuple[str, str | None, frozenset[str]]] = {
    "RS256": ("RSA", None, frozenset({"RS256"})),
    "PS256": ("RSA", None, frozenset({"PS256"})),
    "ES256": ("EC", "P-256", frozenset({"ES256"})),
    "EdDSA": ("OKP", "Ed25519", frozenset({"EdDSA", "Ed25519"})),
}
# What the metadata document says.
HEADER_ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA", "Ed25519")

MAX_KEYS = 20
MAX_KID = 255  # characters
RSA_BITS = range(2048, 8193)  # more would be a way to burn our CPU
EXPONENTS = range(3, 1 << 32)
P256_BYTES = 32
PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})

SHA = SHA256()
PSS = padding.PSS(padding.MGF1(SHA), padding.PSS.DIGEST_LENGTH)  # RFC 7518 §3.5
PKCS1 = padding.PKCS1v15()
ECDSA = ec.ECDSA(SHA)


class BadKeySet(ValueError):  # noqa: N818 - as a refusal
    """A JWK Set without a key that could be used; the text says why."""


@dataclass(frozen=True, slots=True)
class ClientKey:
    """One public key; `kid` is its owner's name for it."""

    kid: str | None
    public_key: PublicKey


def check_keys(client: Client) -> None:
    """
    Refuse keys that could never verify an assertion, or keys where there is a secret.

    Raises:
        ValidationFailed: Says what to give instead.
    """
    named = [member for member in (client.jwks, client.jwks_uri) if member is not None]
    if client.auth_method.by_secret:
        if named or client.assertion_alg is not None:
            raise invalid_member("jwks", f"Only a {AuthMethod.PRIVATE_KEY_JWT} client has keys.")
        return
    if client.assertion_alg is None or client.assertion_alg not in ALGORITHMS:
        raise invalid_member(
            "alg", f"Name the algorithm of its assertions: {', '.join(ALGORITHMS)}."
        )
    if len(named) != 1:
        raise invalid_member("jwks", "Give its public keys, once: as a JWK Set, or where it is.")
    if client.jwks is not None:
        try:
            read_jwks(client.jwks, alg=client.assertion_alg)
        except BadKeySet as exc:
            raise invalid_member("jwks", str(exc)) from None


def read_jwks(text: str, *, alg: str) -> tuple[ClientKey, ...]:
    """
    The keys of a set that fit an algorithm; others (for encryption, say) are passed over.

    Args:
        text: A JSON object with `keys`.
        alg: A name of ALGORITHMS.

    Raises:
        BadKeySet: Not a JWK Set, a private key, weak or malformed keys, two of one `kid`, or
            none that fits.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise BadKeySet("It is not JSON.") from None
    jwks = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(jwks, list) or not all(isinstance(jwk, dict) for jwk in jwks):
        raise BadKeySet('It is not a JWK Set: an object with a list "keys" (RFC 7517 §5).')
    if len(jwks) > MAX_KEYS:
        raise BadKeySet(f"It has more than {MAX_KEYS} keys.")
    if any(PRIVATE_MEMBERS & set(jwk) for jwk in jwks):
        raise BadKeySet("It holds a private key. Register the public half, and replace that key.")
    keys = tuple(_read(jwk) for jwk in jwks if _fits(jwk, alg))
    if not keys:
        raise BadKeySet(f"It has no signature key for {alg}.")
    kids = [key.kid for key in keys]
    if len(set(kids)) != len(kids):
        raise BadKeySet("Two of its keys have the same kid, or none.")
    return keys


def find_key(keys: tuple[ClientKey, ...], kid: str | None) -> ClientKey | None:
    """The key of that name; without a name, the only one."""
    if kid is None:
        return keys[0] if len(keys) == 1 else None
    return next((key for key in keys if key.kid == kid), None)


def signature_is_good(key: PublicKey, alg: str, *, signed: bytes, signature: bytes) -> bool:
    """Whether the signature is that key's over `signed`, by the registered algorithm."""
    try:
        match key:
            case rsa.RSAPublicKey() if alg == "RS256":
                key.verify(signature, signed, PKCS1, SHA)
            case rsa.RSAPublicKey() if alg == "PS256":
                key.verify(signature, signed, PSS, SHA)
            case ec.EllipticCurvePublicKey() if alg == "ES256":
                key.verify(_der(signature), signed, ECDSA)
            case ed25519.Ed25519PublicKey() if alg == "EdDSA":
                key.verify(signature, signed)
            case _:
                return False
    except (InvalidSignature, ValueError):
        return False
    return True


def _fits(jwk: dict[str, object], alg: str) -> bool:
    kty, crv, names = ALGORITHMS[alg]
    operations = jwk.get("key_ops")
    return (
        jwk.get("kty") == kty
        and (crv is None or jwk.get("crv") == crv)
        and jwk.get("use", "sig") == "sig"
        and jwk.get("alg", alg) in names
        and (operations is None or (isinstance(operations, list) and "verify" in operations))
    )


def _read(jwk: dict[str, object]) -> ClientKey:
    kid = jwk.get("kid")
    if kid is not None and not (isinstance(kid, str) and 1 <= len(kid) <= MAX_KID):
        raise BadKeySet("A kid is not a short text.")
    try:
        return ClientKey(kid, _public_key(jwk))
    except (ValueError, UnsupportedAlgorithm):
        raise BadKeySet("A key is malformed, or weaker than it may be.") from None


def _public_key(jwk: dict[str, object]) -> PublicKey:
    if jwk["kty"] == "RSA":
        n, e = _number(jwk, "n"), _number(jwk, "e")
        if n.bit_length() not in RSA_BITS or e not in EXPONENTS or e % 2 == 0:
            raise ValueError
        return rsa.RSAPublicNumbers(e, n).public_key()
    if jwk["kty"] == "EC":
        x, y = _bytes(jwk, "x"), _bytes(jwk, "y")
        if len(x) != P256_BYTES or len(y) != P256_BYTES:
            raise ValueError
        numbers = ec.EllipticCurvePublicNumbers(
            int.from_bytes(x, "big"), int.from_bytes(y, "big"), ec.SECP256R1()
        )
        return numbers.public_key()  # refuses a point that is not on the curve
    return ed25519.Ed25519PublicKey.from_public_bytes(_bytes(jwk, "x"))


def _bytes(jwk: dict[str, object], member: str) -> bytes:
    value = jwk.get(member)
    if not isinstance(value, str):
        raise ValueError(member)  # noqa: TRY004 - one kind of refusal for all
    return base64url.decode(value)


def _number(jwk: dict[str, object], member: str) -> int:
    return int.from_bytes(_bytes(jwk, member), "big")


def _der(signature: bytes) -> bytes:
    """A JWS has r and s side by side (RFC 7518 §3.4), the library wants them in DER."""
    if len(signature) != 2 * P256_BYTES:
        raise ValueError(len(signature))
    r, s = signature[:P256_BYTES], signature[P256_BYTES:]
    return encode_dss_signature(int.from_bytes(r, "big"), int.from_bytes(s, "big"))
