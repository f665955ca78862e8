"""Small changes to base64url text and to bytes, shared by the grammars of tokens."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from random import Random

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
LOOKALIKES = ("а", "\u200b", "ａ", "\u0131", "\udcff", "\x80", "\xa0", "\x85")  # noqa: RUF001 - that is the point


def decode(text: str) -> bytes:
    """The bytes of base64url without padding."""
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def encode(value: str | bytes) -> str:
    """base64url without padding."""
    data = value if isinstance(value, bytes) else value.encode("utf-8", "surrogatepass")
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def flip(data: bytes, random: Random) -> bytes:
    """The bytes with one bit changed."""
    return (int.from_bytes(data) ^ 1 << random.randrange(8 * len(data))).to_bytes(len(data))


def next_character(character: str) -> str:
    """The one whose lowest bit differs."""
    return ALPHABET[ALPHABET.index(character) ^ 1]


def insert(text: str, what: str, random: Random) -> str:
    """The text with something in it."""
    at = random.randrange(1, len(text))
    return text[:at] + what + text[at:]
