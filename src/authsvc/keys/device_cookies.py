"""
The device cookie: proof that a browser has logged this user in before (OWASP Device Cookies).

base64url of MAC-key id (8 bytes), user id (16), nonce (16), HMAC-SHA-256 (32). It opens nothing;
it only gives the browser an allowance of failed logins of its own. Once its key is pruned it is
worth nothing, which is later than any session that a login with it can have begun.
"""

from __future__ import annotations

import hmac
from datetime import datetime
from uuid import UUID

from authsvc.keys.refresh_tokens import KEY_ID_LENGTH, MAC_LENGTH, RefreshKeys, mac
from authsvc_client.tokens import base64url
from authsvc_client.tokens.secret import Secret

LABEL = b"authsvc/device-cookie/v1\0"
NONCE_LENGTH = 16  # bytes
PAYLOAD_LENGTH = KEY_ID_LENGTH + 16 + NONCE_LENGTH
LENGTH = (PAYLOAD_LENGTH + MAC_LENGTH) * 4 // 3


def device_cookie(keys: RefreshKeys, user_id: UUID, nonce: str, *, now: datetime) -> Secret:
    """
    Write a device cookie.

    Args:
        nonce: Names the device: 16 random bytes in base64url, as `secrets.token_urlsafe(16)`.

    Raises:
        NoSealingKey: There is no MAC key.
    """
    key = keys.sealing_key(now)
    raw_nonce = base64url.decode(nonce)
    if len(raw_nonce) != NONCE_LENGTH:
        raise ValueError(f"a nonce has {NONCE_LENGTH} bytes")
    payload = key.key_id + user_id.bytes + raw_nonce
    return Secret(base64url.encode(payload + mac(key, LABEL, payload)))


def open_device_cookie(keys: RefreshKeys, presented: str) -> tuple[UUID, str] | None:
    """User and nonce of a device cookie of ours; None for anything else."""
    if len(presented) != LENGTH:
        return None
    try:
        data = base64url.decode(presented)
    except ValueError:
        return None
    payload = data[:PAYLOAD_LENGTH]
    key = keys.get(payload[:KEY_ID_LENGTH])
    if key is None or not hmac.compare_digest(mac(key, LABEL, payload), data[PAYLOAD_LENGTH:]):
        return None
    user_id = UUID(bytes=payload[KEY_ID_LENGTH : KEY_ID_LENGTH + 16])
    return user_id, base64url.encode(payload[KEY_ID_LENGTH + 16 :])
