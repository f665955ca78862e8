"""
Where a page of ours may send a browser: an address of an application that is listed.

What browsers repair before they go there is refused, not repaired: we would do it differently in
some spelling, and that spelling would be an open redirect (SECURITY: Better Auth CVE-2024-56734,
Pocket ID CVE-2026-28512).
"""

from __future__ import annotations

import re

from fastapi import Request

from authsvc.http.request.csrf import Origins
from authsvc.protocol.errors import ValidationFailed

MAX_LENGTH = 2048  # characters; of two addresses in one URL of 8 KiB, percent-encoded

# RFC 3986 §3.3, §3.4: the origin in the one spelling that browsers send it in, then path and
# query in the characters that they leave as they are. No userinfo, no backslash, no fragment.
_ADDRESS = re.compile(
    r"(?P<origin>https?://(?:[a-z0-9.-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?)"
    r"(?:/(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*)?"
    r"(?:\?(?:[A-Za-z0-9._~!$&'()*+,;=:@/?-]|%[0-9A-Fa-f]{2})*)?"
)


def return_address(request: Request, name: str, origins: Origins) -> str | None:
    """
    The address in a parameter of the query; None without the parameter.

    Raises:
        ValidationFailed: It comes twice, is not in its plain form, or is not on an origin of
            ours or of AUTHSVC_CORS_ORIGINS.
    """
    values = request.query_params.getlist(name)
    if not values:
        return None
    if len(values) > 1:
        raise _invalid(name, "Send it once.")
    (address,) = values
    match = _ADDRESS.fullmatch(address) if len(address) <= MAX_LENGTH else None
    if match is None:
        raise _invalid(
            name,
            "Send an address in its plain form, without userinfo and fragment, percent-encoded, "
            f"of at most {MAX_LENGTH} characters, such as https://app.example.com/notes.",
        )
    if not origins.allows(match["origin"]):
        raise _invalid(name, "Its origin is not listed: add it to AUTHSVC_CORS_ORIGINS.")
    return address


def missing(name: str) -> ValidationFailed:
    """The refusal of a request without the parameter."""
    return _invalid(name, "Say where to go back to, such as https://app.example.com/notes.")


def _invalid(name: str, message: str) -> ValidationFailed:
    return ValidationFailed.of("query", name, msg=message, type="return_address", detail=name)
