"""Read and write RSA keys as PEM, refusing what must not sign (RFC 7518 §3.3)."""

from __future__ import annotations

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from authsvc.keys.key_files import KeyRefused

MIN_BITS = 2048  # RFC 7518 §3.3
MAX_BITS = 8192  # a signature by a larger one takes tens of milliseconds
EXPONENT = 65_537
OPENSSH = b"-----BEGIN OPENSSH PRIVATE KEY-----"
DER = b"\x30\x82"  # ASN.1 SEQUENCE with two bytes of length, as every RSA key of our sizes has
DAMAGED = "it is not a readable PEM key"


def generate(bits: int = MIN_BITS) -> RSAPrivateKey:
    """A new key; takes 20 to 600 ms at 2048 bits."""
    return rsa.generate_private_key(public_exponent=EXPONENT, key_size=bits)


def private_pem(key: RSAPrivateKey, *, passphrase: str | None = None) -> bytes:
    """PKCS #8, encrypted if there is a passphrase."""
    encryption: KeySerializationEncryption = NoEncryption()
    if passphrase:
        encryption = BestAvailableEncryption(passphrase.encode())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def public_pem(key: RSAPublicKey) -> bytes:
    """SubjectPublicKeyInfo."""
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def is_private(content: bytes) -> bool:
    """Whether a PEM claims to hold a private key, readable or not."""
    return b"PRIVATE KEY-----" in content


def is_plain(content: bytes) -> bool:
    """Whether a PEM holds a private key that no passphrase protects."""
    return is_private(content) and b"ENCRYPTED" not in content


def load(content: bytes, *, passphrase: str | None) -> RSAPrivateKey | RSAPublicKey:
    """
    Read a private key, or the public half of a retired one.

    Args:
        passphrase: Of encrypted keys; a plain one is read all the same.

    Raises:
        KeyRefused: Not readable, not RSA, too weak, or with an unusual exponent.
    """
    if OPENSSH in content:
        raise KeyRefused(
            "it is in OpenSSH's format, not in PEM", "convert it with: ssh-keygen -p -m PEM -f FILE"
        )
    if is_private(content):
        key: object = _load_private(content, passphrase)
    elif b"-----BEGIN PUBLIC KEY-----" in content:
        try:
            key = load_pem_public_key(content)
        except (ValueError, UnsupportedAlgorithm):
            raise KeyRefused(DAMAGED, "restore it from a backup or remove it") from None
    else:
        raise _foreign(content)
    return _acceptable(key)


def _foreign(content: bytes) -> KeyRefused:
    if content.startswith(DER):
        return KeyRefused(
            "it is in DER, not in PEM",
            "convert it with: openssl pkey -inform DER -in FILE -out FILE.pem",
        )
    return KeyRefused(DAMAGED, "restore it from a backup or remove it")


def _load_private(content: bytes, passphrase: str | None) -> object:
    encrypted = b"ENCRYPTED" in content
    if encrypted and not passphrase:
        raise KeyRefused("it is encrypted", "set AUTHSVC_KEYS_PASSPHRASE")
    password = passphrase.encode() if encrypted and passphrase else None
    try:
        return load_pem_private_key(content, password)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        if encrypted:
            raise KeyRefused(
                "it cannot be decrypted: the passphrase is wrong or the file is damaged",
                "set AUTHSVC_KEYS_PASSPHRASE to the one it was written with, or remove it",
            ) from None
        raise KeyRefused(DAMAGED, "restore it from a backup or remove it") from None


def _acceptable(key: object) -> RSAPrivateKey | RSAPublicKey:
    remedy = "make another with `authsvc keys add` and remove this one"
    if not isinstance(key, RSAPrivateKey | RSAPublicKey):
        raise KeyRefused("it is not an RSA key, and tokens are signed with RS256", remedy)
    if key.key_size < MIN_BITS:
        raise KeyRefused(f"it is weak: {key.key_size} bits, {MIN_BITS} are the least", remedy)
    if key.key_size > MAX_BITS:
        raise KeyRefused(f"it has {key.key_size} bits, {MAX_BITS} are the most", remedy)
    public = key.public_key() if isinstance(key, RSAPrivateKey) else key
    if public.public_numbers().e != EXPONENT:
        raise KeyRefused(f"its public exponent is not {EXPONENT}", remedy)
    return key
