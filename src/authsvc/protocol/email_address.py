"""E-mail addresses in one normal form (RFC 5321, 6531), so that one mailbox is one account."""

from __future__ import annotations

import unicodedata

from email_validator import EmailNotValidError, validate_email

from authsvc.protocol.errors import FieldError, ValidationFailed

MAX_LENGTH = 254  # RFC 5321 §4.5.3.1.3, as corrected by RFC 3696 erratum 1690


def normal_form(presented: str) -> str:
    """
    The stored form of an address: NFC, domain in Unicode and lower case, local part lower case.

    Private domains such as `corp.local` are accepted, since nothing is looked up; a domain
    needs a dot.

    Raises:
        ValidationFailed: Not an address; the message never repeats it.
    """
    # Normal form first, validation after: the other order lets a character turn into an `@`
    # behind the validator's back (CVE-2026-73420).
    address = _parse(unicodedata.normalize("NFC", presented))
    if address is None:
        raise ValidationFailed(
            errors=(
                FieldError(
                    loc=("body", "email"),
                    msg="This is not an e-mail address; write one such as name@example.com.",
                    type="email",
                ),
            )
        )
    return address


def _parse(text: str) -> str | None:
    if len(text) > MAX_LENGTH:
        return None
    try:
        address = validate_email(text, check_deliverability=False, globally_deliverable=False)
    except (EmailNotValidError, UnicodeError):
        return None
    if "." not in (address.ascii_domain or ""):
        return None
    return unicodedata.normalize("NFC", address.normalized.lower())
