"""Redaction is linear in whatever it is given, and leaves authsvc's own words alone."""

from __future__ import annotations

import ast
import json
import logging
import re
import time
from pathlib import Path
from typing import Any

import pytest
import structlog

import authsvc
from authsvc.observe.logging import configure_logging
from authsvc.observe.redaction import PATTERNS, redacted
from authsvc.settings import Settings

KIB_64 = 64 * 1024
BEGINNINGS = (
    "a",
    "://",
    "://a:",
    ":",
    "eyJaaaaa.",
    "art1.",
    "$argon2",
    "-----BEGIN KEY-----",
    "-----BEGIN PRIVATE KEY-----\n-----END ",
    "bearer ",
    "basic aaaa",
    "cookie:",
    "authorization: '\\",
    'password="\\"',
    "secret ",
    "secret= ",
    "x-csrf-token",
    " ",
)


@pytest.mark.finding("11.3")
@pytest.mark.parametrize("beginning", BEGINNINGS, ids=repr)
def test_the_worst_64_kib_cost_no_more_than_a_few_passes(beginning: str) -> None:
    """CPU time of this thread; a quadratic pattern needs minutes, a linear one milliseconds."""
    text = (beginning * KIB_64)[:KIB_64]

    started = time.thread_time()
    redacted(text)

    assert time.thread_time() - started < 5


@pytest.mark.finding("11.3")
@pytest.mark.parametrize("pattern", [p.pattern for p, _ in PATTERNS])
def test_each_pattern_begins_with_a_literal_and_never_tries_again(pattern: str) -> None:
    """Every repetition is possessive (a second `+`) or has a bound."""
    unquoted = re.sub(r"\(\?i:?\)?|\[(?:\\.|[^\]\\])+\]|\\.", "C", pattern.removeprefix("(?i)"))

    assert not re.match(r"\(*[C.][*+?]", unquoted)
    assert [] == re.findall(r"[C.)][*+](?!\+)", re.sub(r"[*+]\+", "", unquoted))


@pytest.mark.finding("11.3")
def test_a_message_is_cut_before_it_is_searched_and_so_is_the_whole_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logging(Settings.load(log_format="json", log_level="info"))

    logging.getLogger("library").warning("illegal status line: %s", "a" * KIB_64)
    structlog.get_logger().warning("b" * KIB_64, inner={str(n): ["c" * 4000] for n in range(999)})

    configure_logging(Settings.load(log_format="json", log_level="warning"))
    written = "".join(capsys.readouterr())
    lines = [json.loads(line) for line in written.splitlines()]
    assert 2 == len(lines)
    assert all(len(line["event"]) < 5000 for line in lines)
    assert len(written) < KIB_64


def own_words() -> list[str]:
    """Every text that the source raises: what a `detail` may say."""
    words: set[str] = set()
    for path in Path(authsvc.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            raised: Any = node.exc if isinstance(node, ast.Raise) else None
            if isinstance(raised, ast.Call):
                words |= {
                    argument.value
                    for argument in raised.args
                    if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
                }
    # An example of a URL with a password looks like one, and should.
    return sorted(text for text in words if "user:password@" not in text)


@pytest.mark.finding("11.3")
def test_the_log_does_not_cut_its_own_words() -> None:
    words = [*own_words(), "not a bearer token"]

    assert len(words) > 100
    assert words == [redacted(text) for text in words]
