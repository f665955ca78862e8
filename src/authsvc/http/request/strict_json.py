"""
Strict JSON bodies (RFC 8259, RFC 7493): what two parsers could read in two ways is refused.

`json.loads` alone guesses UTF-16, keeps the last of two equal keys, and reads NaN.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Coroutine
from math import isfinite
from typing import Any, Never

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.responses import Response

from authsvc.http.request.content_type import require_content_type
from authsvc.protocol.errors import MalformedJson, ValidationFailed

JSON = "application/json"
MAX_DEPTH = 32
MAX_INTEGER = 20  # characters: every 64-bit integer with its sign

# Strings, and everything else that is not a bracket. A string without an end is taken to the
# end of the text and never tried again: linear, whatever is sent.
_NOT_STRUCTURE = re.compile(r'"(?:[^"\\]+|\\.)*+"?|[^\[\]{}"]+', re.DOTALL)
_SQUARE = str.maketrans("{}", "[]")

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


def parse(body: bytes) -> dict[str, Any]:
    """
    Read a JSON object.

    Raises:
        MalformedJson: Not UTF-8, a syntax error, a duplicate key, a number that no float holds,
            half a surrogate pair, or deeper than 32 levels.
        ValidationFailed: JSON, but not an object.
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise MalformedJson("not UTF-8") from None
    # Windows writes one; a receiver may ignore it (RFC 8259 §8.1).
    text = text.removeprefix("\ufeff")
    _check_depth(text)
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as exc:
        # Not chained: the exception holds the whole body.
        raise MalformedJson(f"syntax error at character {exc.pos}") from None
    if "\\u" in text:
        _check_surrogates(value)
    if not isinstance(value, dict):
        raise ValidationFailed.of(
            "body", msg="Send a JSON object.", type="object_type", detail="body: not an object"
        )
    return value


async def read_object(request: Request, *, optional: bool) -> dict[str, Any] | None:
    """
    The JSON object in a request's body; None for an empty body.

    Args:
        optional: Whether a request without a body may also come without a content type.

    Raises:
        UnsupportedMediaType: It says that it is something else.
        MalformedJson, ValidationFailed: See `parse`.
    """
    body = await request.body()
    if body or not optional or "content-type" in request.headers:
        require_content_type(request.headers, JSON)
    return parse(body) if body else None


class StrictJSONRoute(APIRoute):
    """A route whose body, if it takes one, is strict JSON of exactly that content type."""

    # Whether a request without a body may also come without a content type.
    body_is_optional = False

    def get_route_handler(self) -> Handler:
        """FastAPI's handler behind a strict parser."""
        handle = super().get_route_handler()
        if self.body_field is None:
            return handle
        optional = self.body_is_optional

        async def strictly(request: Request) -> Response:
            parsed = await read_object(request, optional=optional)
            return await handle(_Parsed(request, await request.body(), parsed))

        return strictly


class OptionalJSONRoute(StrictJSONRoute):
    """As StrictJSONRoute; nothing at all may be sent as well."""

    body_is_optional = True


class _Parsed(Request):
    """A request whose body has been read and parsed; FastAPI asks for it once more."""

    def __init__(self, request: Request, body: bytes, parsed: dict[str, Any] | None) -> None:
        super().__init__(request.scope, request.receive)
        self._read = body
        self._parsed = parsed

    async def body(self) -> bytes:
        """The body as it came."""
        return self._read

    async def json(self) -> Any:  # noqa: ANN401 - as the base class
        """The parsed body."""
        return self._parsed


def _check_depth(text: str) -> None:
    """Refuse more than 32 levels, before a recursive parser sees them."""
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return
    brackets = _NOT_STRUCTURE.sub("", text).translate(_SQUARE)
    for _ in range(MAX_DEPTH):
        # Each pass removes exactly the innermost level. Whatever is not balanced stays, and is
        # no JSON either.
        brackets = brackets.replace("[]", "")
        if not brackets:
            return
    raise MalformedJson("too deep or not balanced")


def _check_surrogates(value: object) -> None:
    r"""Refuse half a surrogate pair, such as `\ud800`: no encoder could write it again."""
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise MalformedJson("lone surrogate") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise MalformedJson("duplicate key")
    return members


def _integer(digits: str) -> int:
    if len(digits) > MAX_INTEGER:
        raise MalformedJson("integer too long")
    return int(digits)


def _float(digits: str) -> float:
    number = float(digits)
    if not isfinite(number):
        raise MalformedJson("number too large")
    return number


def _constant(name: str) -> Never:
    raise MalformedJson(f"{name} is not JSON")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object,
    parse_int=_integer,
    parse_float=_float,
    parse_constant=_constant,
)
