"""
The secrets of clients: made here, shown once, stored as a digest.

A secret has 256 random bits, so that one SHA-256 is enough: there is nothing to guess, and a slow
hash would only slow down every request of every service (ASVS 5.0 11.2.4 asks for it where
entropy is low). Its prefix lets scanners of source code recognise one that leaked.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

from authsvc_client.tokens.secret import Secret

PREFIX = "acs1."
RANDOM_BYTES = 32
NO_SECRET = bytes(hashlib.sha256().digest_size)  # the digest of nothing anybody knows


def new_client_secret() -> Secret:
    """A secret of 48 characters, all of which mean themselves in a form and in a header."""
    return Secret(PREFIX + secrets.token_urlsafe(RANDOM_BYTES))


def digest(secret: Secret) -> bytes:
    """What is stored."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def matches(presented: Secret, digests: tuple[bytes | None, bytes | None]) -> bool:
    """
    Whether the secret is one of the two; the same work whichever it is, and if it is neither.

    A client without a secret is compared with NO_SECRET, so that no presence of nothing matches.
    """
    found = digest(presented)
    one, other = (hmac.compare_digest(found, stored or NO_SECRET) for stored in digests)
    return bool(presented) and (one or other)
