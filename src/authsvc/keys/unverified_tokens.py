"""What a refresh token claims to be, before or without its MAC: for people who debug, only."""

from __future__ import annotations

from uuid import UUID

from authsvc.keys.refresh_tokens import (
    DELIVERIES,
    KEY_ID_LENGTH,
    PAYLOAD_LENGTH,
    PREFIX,
    TOKEN_LENGTH,
)
from authsvc.protocol.refresh import RefreshToken
from authsvc_client.tokens import base64url


def read_unverified(presented: str) -> RefreshToken | None:
    """
    The claims of a refresh token, which anybody can write; the MAC is neither checked nor kept.

    Returns:
        None if it has not the form of one.
    """
    if len(presented) != TOKEN_LENGTH or not presented.startswith(PREFIX):
        return None
    try:
        payload = base64url.decode(presented[len(PREFIX) :])[:PAYLOAD_LENGTH]
    except ValueError:
        return None
    delivery = DELIVERIES.get(payload[-1])
    if delivery is None:
        return None
    return RefreshToken(
        mac_key_id=payload[:KEY_ID_LENGTH],
        family_id=UUID(bytes=payload[KEY_ID_LENGTH:24]),
        generation=int.from_bytes(payload[24:32], "big", signed=True),
        delivery=delivery,
    )
