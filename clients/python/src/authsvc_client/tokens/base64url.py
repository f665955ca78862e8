"""base64url without padding, in the one canonical spelling (RFC 7515 §2; RFC 4648 §3.5)."""

from __future__ import annotations

import base64


def encode(data: bytes) -> str:
    """The unpadded base64url form."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def decode(text: str) -> bytes:
    """
    Read base64url strictly.

    A second spelling of the same bytes (padding, other characters, stray trailing bits) would
    give one token many names, and evade whatever is keyed by the name.

    Raises:
        ValueError: Not the canonical spelling of any bytes.
    """
    # Python's decoder skips foreign characters; comparing the way back refuses them.
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if encode(data) != text:
        raise ValueError("not canonical base64url")
    return data
