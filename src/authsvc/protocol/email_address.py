"""E-mail addresses in one normal form (RFC 5321, 6531), so that one mailbox is one account."""

from __future__ import annotations

import unicodedata

import email_validator
from email_validator import EmailNotValidError, validate_email

from authsvc.protocol.errors import ValidationFailed

MAX_LENGTH = 254  # RFC 5321 §4.5.3.1.3, as corrected by RFC 3696 erratum 1690
SPECIAL_USE = frozenset(email_validator.SPECIAL_USE_DOMAIN_NAMES)  # IANA's registry, RFC 6761
# Which domains may be used is a policy, not syntax; this is the validator's own way to say so.
email_validator.SPECIAL_USE_DOMAIN_NAMES.clear()


def normal_form(presented: str) -> str:
    """
    The stored form of an address: NFC, domain in Unicode and lower case, local part lower case.

    Blanks around it are cut, since the completion of a phone adds them. Private domains such as
    `corp.local` or `lan` are addresses; see `check_domain`.

    Raises:
        ValidationFailed: Not an address; the message never repeats it.
    """
    # Normal form first, validation after: the other order lets a character turn into an `@`
    # behind the validator's back (CVE-2026-73420).
    address = _parse(unicodedata.normalize("NFC", presented).strip(" \t\r\n"))
    if address is None:
        raise ValidationFailed.of(
            "body",
            "email",
            msg="This is not an e-mail address; write one such as name@example.com.",
            type="email",
        )
    return address


def normal_form_if_any(presented: str) -> str:
    """The stored form of an address; what cannot be one as it came, and no account has it."""
    try:
        return normal_form(presented)
    except ValidationFailed:
        return presented


def check_domain(address: str) -> None:
    """
    Refuse an address that no mail can reach from elsewhere (EMAIL_DOMAINS `public`).

    Args:
        address: In its normal form.

    Raises:
        ValidationFailed: Its domain is for special use (RFC 6761), or has no dot.
    """
    _, dot, last = address.rpartition("@")[2].rpartition(".")
    if not dot or last in SPECIAL_USE:
        raise ValidationFailed.of(
            "body",
            "email",
            msg="Addresses of special-use domains, such as .local, and of domains without a dot "
            "are not accepted here.",
            type="email_domain",
        )


def _parse(text: str) -> str | None:
    if len(text) > MAX_LENGTH:
        return None
    try:
        address = validate_email(text, check_deliverability=False, globally_deliverable=False)
    except (EmailNotValidError, UnicodeError):
        return None
    return unicodedata.normalize("NFC", address.normalized.lower())
