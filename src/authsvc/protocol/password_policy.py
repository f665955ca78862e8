"""Which passwords are accepted (NIST SP 800-63B §3.1.1.2): by length and by being hard to guess."""

from __future__ import annotations

import unicodedata
from collections.abc import Container

from authsvc.protocol.errors import ValidationFailed, WeakPassword

MIN_LENGTH = 8  # code points after NFC
MAX_LENGTH = 128
# NFC makes one code point of at most four, so more than this is too long in any form; checked
# first, so that a huge password costs nothing.
MAX_RAW_LENGTH = 4 * MAX_LENGTH

SERVICE_NAME = "authsvc"
# Shorter local parts occur in words by chance.
MIN_CONTEXT_WORD = 3


def normalize(password: str) -> str:
    """
    The one Unicode form in which passwords are measured, hashed and compared (NFC).

    Keyboards differ in how they send "é"; the password is the same. Nothing else is changed: no
    trimming, no case folding, no truncation.
    """
    return unicodedata.normalize("NFC", password)


def check_password(
    password: str,
    *,
    email: str,
    blocked: Container[str],
    loc: tuple[str | int, ...] = ("body", "password"),
) -> None:
    """
    Password policy: refuse one that is too short, too long or on the blocklist of common ones.

    Args:
        email: The account's address, in its normal form.
        blocked: The commonest passwords, lower-case and in NFC.
        loc: Where the password stood in the request.

    Raises:
        ValidationFailed: Its length or its characters.
        WeakPassword: On the block list, or little more than the account's own words.
    """

    def refused(msg: str, kind: str, as_a: type[ValidationFailed] = ValidationFailed) -> Exception:
        return as_a.of(*loc, msg=msg, type=f"password_{kind}", detail=f"password {kind}")

    text = normalize(password) if len(password) <= MAX_RAW_LENGTH else password
    if len(text) > MAX_LENGTH:
        raise refused(f"Use at most {MAX_LENGTH} characters.", "too_long")
    if len(text) < MIN_LENGTH:
        raise refused(f"Use at least {MIN_LENGTH} characters.", "too_short")
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise refused("Use no NUL and no lone surrogates.", "characters")
    folded = normalize(text.lower())
    if folded in blocked:
        raise refused("It is one of the most common passwords.", "common", WeakPassword)
    if _is_guessable(folded, email=normalize(email.lower())):
        msg = "It contains the e-mail address or the service's name."
        raise refused(msg, "context", WeakPassword)


def _is_guessable(folded: str, *, email: str) -> bool:
    """Whether it holds the address or our name, or is the local part with little added."""
    local_part = email.partition("@")[0]
    if SERVICE_NAME in folded or (email and email in folded):
        return True
    if len(local_part) < MIN_CONTEXT_WORD:
        return False
    return local_part in folded and len(folded.replace(local_part, "")) < MIN_LENGTH
