"""A JWK Set as authsvc publishes it (RFC 7517 §5), read with suspicion."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from authsvc_client.tokens import json_object
from authsvc_client.tokens.jwk import OURS, rsa_public_key
from authsvc_client.verifier.freshness import Freshness

log = logging.getLogger("authsvc_client.verifier")

Keys = Mapping[str, RSAPublicKey]


@dataclass(frozen=True)
class KeySet:
    """
    A good key set.

    Args:
        document: The JWK Set as it was sent.
        etag: Names this version in the next request.
    """

    document: bytes
    keys: Keys
    etag: str | None
    freshness: Freshness


class BrokenKeySet(Exception):  # noqa: N818 - read as a sentence: raise BrokenKeySet
    """The document holds no key that could verify a token."""


def read_key_set(document: bytes) -> Keys:
    """
    The RS256 keys of a JWK Set, by `kid`.

    A key of another kind is none of our business (RFC 7517 §5). One that claims to be of ours
    and is damaged is left out, so that the others can be used.

    Raises:
        BrokenKeySet: Not a JWK Set, or no usable key in it.
    """
    try:
        listed = json_object.decode(document).get("keys")
    except ValueError as exc:
        raise BrokenKeySet("not a JSON object") from exc
    if not isinstance(listed, list):
        raise BrokenKeySet("no list of keys")
    keys: dict[str, RSAPublicKey] = {}
    for jwk in listed:
        if not isinstance(jwk, dict):
            raise BrokenKeySet("a key that is no object")
        if any(jwk.get(name) != value for name, value in OURS.items()):
            continue
        try:
            keys[str(jwk.get("kid"))] = rsa_public_key(jwk)
        except ValueError as exc:
            log.warning("a key of the key set is not used: %s", exc)
    if not keys:
        raise BrokenKeySet("no usable key")
    return keys
