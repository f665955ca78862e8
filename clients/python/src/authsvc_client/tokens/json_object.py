"""JSON objects that every parser reads alike (RFC 8259, RFC 7515 §4, RFC 7519 §4)."""

from __future__ import annotations

import json


def decode(data: bytes) -> dict[str, object]:
    """
    Read a JSON object of UTF-8 without duplicate members, NaN or Infinity.

    Raises:
        ValueError: It is anything else.
    """
    try:
        value = json.loads(
            data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant
        )
    except RecursionError:
        raise ValueError("too deep") from None
    if not isinstance(value, dict):
        raise ValueError("not an object")  # noqa: TRY004 - the text is wrong, not its type
    return value


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("duplicate member")
    return members


def _no_constant(name: str) -> object:
    raise ValueError(name)
