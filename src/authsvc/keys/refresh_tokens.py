"""
The MAC around a refresh token (CONTRACT §5.2) and the keys it is made with.

A token is `art1.` and the base64url of: MAC-key id (8 bytes), family id (16), generation
(8, big endian), delivery (1), HMAC-SHA-256 (32). Sealing is a pure function, so a replay gives
the same bytes; opening costs one HMAC and no I/O, so garbage costs nothing else.
"""

from __future__ import annotations

import hashlib
import hmac
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from authsvc.protocol.errors import InternalError, InvalidRefreshToken
from authsvc.protocol.refresh import Delivery, RefreshToken
from authsvc_client.tokens import base64url
from authsvc_client.tokens.secret import Secret, SecretBytes

KEY_LENGTH = 32  # bytes, as long as the MAC (RFC 2104 §3)
KEY_ID_LENGTH = 8
MAC_LENGTH = 32

PREFIX = "art1."
# Labels keep the uses of one key apart: no value of one kind is ever valid as another.
KEY_ID_LABEL = b"authsvc/mac-key-id/v1\0"
TOKEN_LABEL = b"authsvc/refresh-token/v1\0"

PAYLOAD_LENGTH = KEY_ID_LENGTH + 16 + 8 + 1
TOKEN_LENGTH = len(PREFIX) + -(-(PAYLOAD_LENGTH + MAC_LENGTH) * 4 // 3)

DELIVERY_CODES = {Delivery.SPA: 1, Delivery.NATIVE: 2, Delivery.WEB: 3}
DELIVERIES = {code: delivery for delivery, code in DELIVERY_CODES.items()}


class UnknownMacKey(InvalidRefreshToken):
    """Sealed with a key that is not loaded: garbage, a deleted key, or one that just appeared."""


class NoSealingKey(InternalError):  # noqa: N818 - named as the other refusals
    """No MAC key is left, so that no refresh token can be made."""


@dataclass(frozen=True, slots=True)
class MacKey:
    """
    One MAC key.

    Args:
        key_id: See `mac_key_id`.
        activation: The UTC second from which it seals.
    """

    key_id: bytes
    activation: datetime
    secret: SecretBytes


def mac_key_id(secret: bytes) -> bytes:
    """The name of a key, stored in every token and row: the first 8 bytes of a labelled hash."""
    return hashlib.sha256(KEY_ID_LABEL + secret).digest()[:KEY_ID_LENGTH]


class RefreshKeys:
    """The MAC keys of one reading of the key directory; never changes."""

    def __init__(self, keys: Iterable[MacKey]) -> None:
        self.all = tuple(sorted(keys, key=lambda key: (key.activation, key.key_id)))
        self._activations = [key.activation for key in self.all]
        self._by_id = {key.key_id: key for key in self.all}

    def get(self, key_id: bytes) -> MacKey | None:
        """The key of that id, however old: its tokens live until their family expires."""
        return self._by_id.get(key_id)

    def sealing_key(self, now: datetime) -> MacKey:
        """
        The newest key whose time has come; before that, the oldest.

        A key that is still waiting can be used early without harm, since nobody but us ever
        verifies a MAC: so that deleting a leaked key leaves no gap.

        Raises:
            NoSealingKey: There is none at all.
        """
        if not self.all:
            raise NoSealingKey("no_mac_key")
        return self.all[max(bisect_right(self._activations, now) - 1, 0)]


def seal(keys: RefreshKeys, token: RefreshToken) -> Secret:
    """
    Write a refresh token; the same token always gives the same text.

    Raises:
        UnknownMacKey: The key that the token names has been deleted: its family is dead.
    """
    key = keys.get(token.mac_key_id)
    if key is None:
        raise UnknownMacKey("unknown_key")
    payload = b"".join(
        (
            token.mac_key_id,
            token.family_id.bytes,
            # Signed, since the row's bigint is; a negative one is a defect.
            token.generation.to_bytes(8, "big", signed=True),
            bytes((DELIVERY_CODES[token.delivery],)),
        )
    )
    return Secret(PREFIX + base64url.encode(payload + mac(key, TOKEN_LABEL, payload)))


def open_token(keys: RefreshKeys, presented: str) -> RefreshToken:
    """
    Read a presented refresh token.

    Raises:
        UnknownMacKey: Well formed, but sealed with a key that is not loaded.
        InvalidRefreshToken: Not one of ours; `detail` says why.
    """
    data = _data(presented)
    payload = data[:PAYLOAD_LENGTH]
    key = keys.get(payload[:KEY_ID_LENGTH])
    if key is None:
        raise UnknownMacKey("unknown_key")
    if not hmac.compare_digest(mac(key, TOKEN_LABEL, payload), data[PAYLOAD_LENGTH:]):
        raise InvalidRefreshToken("bad_mac")
    return _claims(payload)


def unverified_claims(presented: str) -> RefreshToken:
    """
    The unverified parts of a refresh token, which anyone can write: only for debugging.

    Raises:
        InvalidRefreshToken: It has not the form of one.
    """
    return _claims(_data(presented)[:PAYLOAD_LENGTH])


def _data(presented: str) -> bytes:
    if len(presented) != TOKEN_LENGTH or not presented.startswith(PREFIX):
        raise InvalidRefreshToken("malformed")
    try:
        return base64url.decode(presented[len(PREFIX) :])
    except ValueError:
        raise InvalidRefreshToken("malformed") from None


def _claims(payload: bytes) -> RefreshToken:
    generation = int.from_bytes(payload[24:32], "big", signed=True)
    delivery = DELIVERIES.get(payload[32])
    if generation < 0 or delivery is None:
        raise InvalidRefreshToken("malformed")  # if authentic, written by another version
    return RefreshToken(
        mac_key_id=payload[:KEY_ID_LENGTH],
        family_id=UUID(bytes=payload[8:24]),
        generation=generation,
        delivery=delivery,
    )


def mac(key: MacKey, label: bytes, message: bytes) -> bytes:
    """HMAC-SHA-256 (RFC 2104) of a message of one kind."""
    return hmac.digest(key.secret, label + message, "sha256")
