"""Sign the revocation feed: never with a key that the feed itself revokes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from authsvc.keys.directory import KeyDirectory
from authsvc.keys.jws import sign
from authsvc_client.tokens.revocation_feed import TYP


def sign_feed(
    keys: KeyDirectory, payload: str, *, revoked: Callable[[str], bool], now: datetime
) -> bytes | None:
    """
    A document.

    The bytes follow from the payload and the key (RS256 has no salt), so that replicas which know
    the same send the same.

    Args:
        revoked: Whether a `kid` is named by an entry.
        now: Decides which key signs.

    Returns:
        The document; None if no key may sign it.
    """
    key = keys.ring.find_signing_key(now)
    if key is None or revoked(key.kid):
        return None
    return sign(key, TYP, payload).encode("ascii")
