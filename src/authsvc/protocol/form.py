"""
Read the form of an OAuth request (RFC 6749 §3.2 and appendix B).

What two parsers could read in two ways is refused: a name twice, a raw `;` (once a separator),
a stray `%`, bytes that are not UTF-8.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

from authsvc.protocol.errors import PayloadTooLarge
from authsvc.protocol.oauth_errors import InvalidRequest, MalformedForm, RepeatedParameter

MAX_FORM = 16 * 1024  # bytes
MAX_FIELDS = 100
# The only parameter that may come several times (RFC 8707 §2).
REPEATABLE = "resource"


@dataclass(frozen=True, slots=True)
class Form:
    """
    The parameters of a request; those without a value are left out, as if they had not come.

    Args:
        parameters: By name, but for `resource`. Some are secrets.
        resources: Every `resource`, in order.
    """

    parameters: Mapping[str, str] = field(repr=False)
    resources: tuple[str, ...]


def read_form(body: bytes) -> Form:
    """
    The parameters of an application/x-www-form-urlencoded body.

    Raises:
        PayloadTooLarge: It is over 16 KiB.
        InvalidRequest: More than 100 fields, a name twice, or not in its one strict form.
    """
    if len(body) > MAX_FORM:
        raise PayloadTooLarge("form")
    try:
        text = body.decode("ascii")
    except UnicodeDecodeError:
        raise MalformedForm("form_not_ascii") from None
    if ";" in text:
        raise MalformedForm("form_semicolon")
    fields = text.split("&") if text else []
    if len(fields) > MAX_FIELDS:
        raise InvalidRequest("form_too_many_fields")
    parameters: dict[str, str] = {}
    resources: list[str] = []
    for name, value in map(_pair, fields):
        if name == REPEATABLE:
            resources.append(value)
        elif name in parameters:
            # Also a second one without a value: which of them counts is not ours to choose.
            raise RepeatedParameter("form_name_twice")
        else:
            parameters[name] = value
    return Form(
        parameters={name: value for name, value in parameters.items() if value},
        resources=tuple(filter(None, resources)),
    )


def form_decoded(text: str) -> str:
    """
    One name or value of application/x-www-form-urlencoded (RFC 6749 appendix B).

    Raises:
        ValueError: A `%` without two hexadecimal digits, or not UTF-8.
    """
    for part in text.split("%")[1:]:
        int(part[:2] if part[:2].isalnum() and len(part) > 1 else "", 16)
    return unquote_to_bytes(text.replace("+", " ")).decode("utf-8")


def _pair(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    try:
        pair = form_decoded(name), form_decoded(value)
    except ValueError:
        raise MalformedForm("form_encoding") from None
    if any(character < " " or character == "\x7f" for part in pair for character in part):
        # None of the grammar's characters (RFC 6749 appendix A), and PostgreSQL takes no NUL.
        raise MalformedForm("form_control_character")
    return pair
