"""Sign a JWS in compact serialisation (RFC 7515 §7.1): RS256, one RSA operation, a parsed key."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from functools import lru_cache

from authsvc.keys.keyring import KeyRing, SigningKey
from authsvc.protocol.errors import NoSigningKey
from authsvc_client.tokens import base64url
from authsvc_client.tokens.jws import DIGEST, PADDING
from authsvc_client.tokens.revocation_feed import TYP as FEED_TYP

ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)


def sign(key: SigningKey, typ: str, payload: str) -> str:
    """
    A JWS of ours.

    Args:
        typ: What it is, such as ``at+jwt``, so that it is taken for nothing else.
        payload: JSON.

    Raises:
        NoSigningKey: Only the public half of the key is here.
    """
    if key.private_key is None:
        raise NoSigningKey("no_signing_key")
    signed = f"{_header(key.kid, typ)}.{base64url.encode(payload.encode())}"
    signature = key.private_key.sign(signed.encode("ascii"), PADDING, DIGEST)
    return f"{signed}.{base64url.encode(signature)}"


def sign_feed(
    ring: KeyRing, payload: str, *, revoked: Callable[[str], bool], now: datetime
) -> bytes | None:
    """
    A revocation feed, never signed with a key that the feed itself revokes.

    The bytes follow from the payload and the key (RS256 has no salt), so that replicas which know
    the same send the same.

    Args:
        revoked: Whether a `kid` is named by an entry.
        now: Decides which key signs.

    Returns:
        The document; None if no key may sign it.
    """
    key = ring.find_signing_key(now)
    if key is None or revoked(key.kid):
        return None
    return sign(key, FEED_TYP, payload).encode("ascii")


@lru_cache(maxsize=64)
def _header(kid: str, typ: str) -> str:
    """The first segment; the same for every JWS of one key and `typ`, so encoded once."""
    return base64url.encode(ENCODER.encode({"alg": "RS256", "typ": typ, "kid": kid}).encode())
