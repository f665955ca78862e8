"""What a log line may hold: plain values, safe tracebacks, and nothing that looks like a secret."""

from __future__ import annotations

import re
import sys
import traceback
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from functools import lru_cache
from itertools import islice
from pathlib import PurePath
from typing import Any
from uuid import UUID

from authsvc_client.tokens.secret import Secret, SecretBytes

CUT = "[redacted]"
TYPED = (Secret, SecretBytes)
MAX_TEXT = 4096  # characters of one value
MAX_ITEMS = 64  # of one list or mapping
MAX_FRAMES = 40  # of one traceback, the innermost

SECRET_KEYS = re.compile(
    r"(?i)pass(word|phrase|wd)|secret|assertion|authorization|cookie|(access|refresh|csrf|id)_token"
    r"|^token$|private_key|idempotency"
)

# Cheap to look for in the lower-cased line: without any of these there is nothing to cut.
MARKERS = (
    "art1.",
    "acs1.",
    "eyj",
    "cookie",
    "authorization",
    "bearer",
    "basic",
    "passw",
    "passphrase",
    "secret",
    "token",
    "idempotency",
    "://",
    "$argon2",
    "private key",
)
# Linear by construction, since text from outside may be made to cost much: each pattern begins with
# a literal, what follows has a small bound, and a repetition without one is possessive. It is never
# tried again with less, so no text is looked at twice (CWE-1333). What may have to follow such a
# repetition is optional, since a pattern that failed after it would look for its literal within.
_SEPARATOR = r"""["']?\s{0,4}[:=,]\s{0,4}b?"""
_QUOTED = r"""\\?"(?:[^"\\]|\\.)*+"?|'(?:[^'\\]|\\.)*+'?"""
# One lower-case word after a scheme is prose: "not a bearer token".
_PROSE = r"(?![a-z]{1,20}(?![\w.~+/=-]))"


def _without_password(match: re.Match[str]) -> str:
    return f"://{CUT}@" if match[1] else match[0]


PATTERNS: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = (
    (re.compile(r"""(art1\.|acs1\.|\$argon2|eyJ(?=[\w-]{5}))[^\s"']*+"""), r"\1" + CUT),
    # To the end of the value: the headers of an encrypted key hold hyphens, as its end does.
    (re.compile(r"-----BEGIN [A-Z ]{0,24}KEY-----(?s:.)*+"), CUT),
    # A value that was cut may have lost the end of its password.
    (re.compile(r"://[^\s/@:]*+:[^\s@…]*+(@|…\Z)?"), _without_password),
    (
        re.compile(rf"((?i:bearer|basic))\s{{1,4}}{_PROSE}[\w.~+/=-]{{4}}[\w.~+/=-]*+"),
        rf"\1 {CUT}",
    ),
    # To the closing quote or to the end of the line, since the values of headers hold blanks.
    (
        re.compile(
            r"(?i)(cookie|authorization|passwo?r?d|passphrase|secret|access_token|refresh_token"
            rf"|csrf_token|id_token|x-csrf-token|idempotency-key){_SEPARATOR}(?:{_QUOTED}|[^\r\n]++)"
        ),
        rf"\1: {CUT}",
    ),
)
# C0 and C1 controls, line and paragraph separators, and marks that reverse the text's direction.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def needs_redaction(line: str) -> bool:
    """Whether a line may hold something that looks like a secret."""
    lowered = line.lower()
    return any(marker in lowered for marker in MARKERS)


def redacted(value: Any) -> Any:  # noqa: ANN401 - whatever a log entry holds
    """The value without anything that looks like a secret."""
    if isinstance(value, str):
        for pattern, replacement in PATTERNS:
            value = pattern.sub(replacement, value)
        return value
    if isinstance(value, Mapping):
        return {key: redacted(item) for key, item in value.items()}
    if isinstance(value, list):
        return [redacted(item) for item in value]
    return value


def cut(text: str) -> str:
    """At most MAX_TEXT characters, before any pattern sees them."""
    return text if len(text) <= MAX_TEXT else text[:MAX_TEXT] + "…"


def plain(key: str, value: Any) -> Any:  # noqa: ANN401 - whatever was logged
    """
    A value that may be printed.

    Typed secrets say nothing, and an object of an unknown type says only what it is: its `repr`
    could hold anything.
    """
    kind = type(value)
    if kind is str:
        if _names_a_secret(key):
            return CUT
        return cut(value)
    if value is None or kind in {int, float, bool}:
        return value
    if isinstance(value, TYPED) or _names_a_secret(key):
        return CUT
    if isinstance(value, str | UUID | PurePath | date | timedelta):
        return cut(str(value))
    if isinstance(value, Mapping):
        items = islice(value.items(), MAX_ITEMS)
        return {cut(str(name)): plain(str(name), item) for name, item in items}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(key, item) for item in islice(value, MAX_ITEMS)]
    return f"<{kind.__name__}>"


@lru_cache(maxsize=1024)
def _names_a_secret(key: str) -> bool:
    return SECRET_KEYS.search(key) is not None


def describe_exception(exc_info: Any) -> list[str]:  # noqa: ANN401 - all that logging accepts
    """
    An exception with its causes: types and frames, outermost cause first.

    No messages and no local variables: both hold input. The lines of code are our own.
    """
    exc = _exception(exc_info)
    lines: list[str] = []
    seen: set[int] = set()
    chain: list[BaseException] = []
    while exc is not None and id(exc) not in seen:
        seen.add(id(exc))
        chain.append(exc)
        exc = exc.__cause__ or (None if exc.__suppress_context__ else exc.__context__)
    for link in reversed(chain):
        frames = traceback.extract_tb(link.__traceback__)[-MAX_FRAMES:]
        lines += [f"{f.filename}:{f.lineno} in {f.name}: {f.line}" for f in frames]
        lines.append(_kind(link))
    return lines


def escape(value: Any) -> Any:  # noqa: ANN401 - whatever a log entry holds
    """Control characters made visible, so that no value can forge a line or colour a terminal."""
    if isinstance(value, str):
        return _UNPRINTABLE.sub(lambda match: ascii(match[0])[1:-1], value)
    if isinstance(value, Mapping):
        return {escape(key): escape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [escape(item) for item in value]
    return value


def _exception(exc_info: Any) -> BaseException | None:  # noqa: ANN401 - as above
    if isinstance(exc_info, BaseException):
        return exc_info
    found = exc_info[1] if isinstance(exc_info, tuple) else sys.exc_info()[1]
    return found if isinstance(found, BaseException) else None


def _kind(exc: BaseException) -> str:
    """The type, and the numbers that some types carry."""
    kind = type(exc)
    name = (
        kind.__qualname__
        if kind.__module__ == "builtins"
        else f"{kind.__module__}.{kind.__qualname__}"
    )
    sqlstate = getattr(exc, "sqlstate", None)
    errno = getattr(exc, "errno", None)
    if isinstance(sqlstate, str):
        return f"{name} (SQLSTATE {sqlstate})"
    return f"{name} (errno {errno})" if isinstance(errno, int) else name
