"""
The signing keys of one reading of the key directory: which key signs, which are published.

Both are a pure function of (files, now), so that every replica with the same files switches in
the same second and no two ever need to talk (CONTRACT §4).
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

from authsvc.protocol.errors import NoSigningKey
from authsvc_client.tokens import base64url
from authsvc_client.tokens.jwk import rsa_jwk

# The longest access-token life that can be configured, and 60 s for clocks that differ.
RETIREMENT = timedelta(seconds=3600 + 60)
RELOAD_INTERVAL = timedelta(seconds=15)
# A verifier may hold a JWKS for max-age 300 s and stale-while-revalidate 600 s, and a replica
# re-reads the directory every 15 s; rounded up to whole minutes.
MIN_LEAD = timedelta(minutes=16)
DEFAULT_LEAD = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """
    One RSA key.

    Args:
        kid: The RFC 7638 thumbprint.
        activation: The UTC second from which it signs.
        private_key: None for a retired key of which only the public half was kept: it is
            published and never signs.
    """

    kid: str
    activation: datetime
    public_key: RSAPublicKey
    private_key: RSAPrivateKey | None


@dataclass(frozen=True, slots=True)
class Jwks:
    """
    A JWK Set (RFC 7517 §5), ready to send.

    Args:
        etag: Strong, with its quotes; made from the content, so equal on all replicas.
    """

    body: bytes
    etag: str


class KeyRing:
    """An immutable set of signing keys."""

    def __init__(self, keys: Iterable[SigningKey]) -> None:
        self.keys = tuple(sorted(keys, key=lambda key: (key.activation, key.kid)))
        self._private = [key for key in self.keys if key.private_key is not None]
        self._private_activations = [key.activation for key in self._private]
        self._published_until = {key.kid: self._end(key) for key in self.keys}
        self._by_kid = {key.kid: key for key in self.keys}
        self._jwks: dict[tuple[str, ...], Jwks] = {}

    def signing_key(self, now: datetime) -> SigningKey:
        """
        The newest private key whose activation has come.

        Raises:
            NoSigningKey: There is none (yet).
        """
        key = self.find_signing_key(now)
        if key is None:
            raise NoSigningKey("no_signing_key")
        return key

    def find_signing_key(self, now: datetime) -> SigningKey | None:
        """As `signing_key`; None if there is none."""
        index = bisect_right(self._private_activations, now)
        return self._private[index - 1] if index else None

    def published(self, now: datetime) -> tuple[SigningKey, ...]:
        """The published keys: of living tokens and those to come; oldest first, never empty."""
        return tuple(key for key in self.keys if self._is_published(key, now))

    def published_until(self, kid: str) -> datetime | None:
        """When a key of this ring leaves the JWKS; None = not before it has a successor."""
        return self._published_until[kid]

    def public_key(self, kid: str, now: datetime) -> RSAPublicKey | None:
        """The published key of that `kid`."""
        key = self._by_kid.get(kid)
        return key.public_key if key and self._is_published(key, now) else None

    def jwks(self, now: datetime) -> Jwks:
        """
        The published keys as a JWK Set; built once per set of keys.

        Raises:
            NoSigningKey: The ring has no keys; an empty set is never served.
        """
        published = self.published(now)
        if not published:
            raise NoSigningKey("no_key")
        kids = tuple(key.kid for key in published)
        if kids not in self._jwks:
            self._jwks[kids] = _jwks(published)
        return self._jwks[kids]

    def _is_published(self, key: SigningKey, now: datetime) -> bool:
        until = self._published_until[key.kid]
        return until is None or now < until

    def _end(self, key: SigningKey) -> datetime | None:
        """
        When a key leaves: RETIREMENT after its successor's activation.

        A private key signs until the next *private* key is active. Of a public half only the
        order of the files tells when it stopped.
        """
        rivals = self.keys if key.private_key is None else self._private
        # They are sorted.
        later = next((each.activation for each in rivals if each.activation > key.activation), None)
        return None if later is None else later + RETIREMENT


def _jwks(published: tuple[SigningKey, ...]) -> Jwks:
    document = {"keys": [rsa_jwk(key.public_key) for key in published]}
    body = json.dumps(document, separators=(",", ":")).encode("ascii")
    return Jwks(body=body, etag=f'"{base64url.encode(hashlib.sha256(body).digest()[:16])}"')
