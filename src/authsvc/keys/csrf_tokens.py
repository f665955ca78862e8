"""
The signed double-submit value of `web` delivery: a MAC of the family (OWASP CSRF, SECURITY X1).

One value per family, unchanged by rotation, so that a form open in another tab stays valid. It
is the base64url of MAC-key id (8 bytes) and HMAC-SHA-256 (32).
"""

from __future__ import annotations

import hmac
from datetime import datetime
from uuid import UUID

from authsvc.keys.refresh_tokens import KEY_ID_LENGTH, MAC_LENGTH, RefreshKeys, mac
from authsvc_client.tokens import base64url
from authsvc_client.tokens.secret import Secret

LABEL = b"authsvc/csrf-token/v1\0"
LENGTH = -(-(KEY_ID_LENGTH + MAC_LENGTH) * 4 // 3)


def csrf_token(keys: RefreshKeys, family_id: UUID, created_at: datetime) -> Secret:
    """
    The value of a family.

    Args:
        created_at: The login. The key that was in force then makes the value, so that it stays
            the same as long as that key is there, which is as long as the family can live; if
            it was deleted as leaked, the oldest one left.

    Raises:
        NoSealingKey: There is no MAC key.
    """
    key = keys.sealing_key(created_at)
    return Secret(base64url.encode(key.key_id + mac(key, LABEL, family_id.bytes)))


def verify_csrf_token(keys: RefreshKeys, family_id: UUID, presented: str) -> bool:
    """Whether the value is this family's: made by us, with a key that is still there."""
    if len(presented) != LENGTH:
        return False
    try:
        data = base64url.decode(presented)
    except ValueError:
        return False
    key = keys.get(data[:KEY_ID_LENGTH])
    return key is not None and hmac.compare_digest(
        mac(key, LABEL, family_id.bytes), data[KEY_ID_LENGTH:]
    )
