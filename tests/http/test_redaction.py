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
    "://a",
    "://a ://:",
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


def cost(text: str) -> float:
    """CPU seconds of this thread, undisturbed."""

    def once() -> float:
        started = time.thread_time()
        redacted(text)
        return time.thread_time() - started

    return min(once() for _ in range(3))


@pytest.mark.finding("11.3")
@pytest.mark.parametrize("beginning", BEGINNINGS, ids=repr)
def test_the_worst_64_kib_cost_no_more_than_a_few_passes(beginning: str) -> None:
    """A text without any beginning costs one pass; rescanning up to 4096 characters cost 60."""
    worst = (beginning * KIB_64)[:KIB_64]

    assert cost(worst) < 20 * cost("a" * KIB_64)


@pytest.mark.finding("11.3")
@pytest.mark.parametrize("pattern", [p.pattern for p, _ in PATTERNS])
def test_each_pattern_begins_with_a_literal_and_never_tries_again(pattern: str) -> None:
    """Every repetition is possessive (a second `+`) or has a bound."""
    unquoted = re.sub(r"\(\?i:?\)?|\[(?:\\.|[^\]\\])+\]|\\.", "C", pattern.removeprefix("(?i)"))

    assert not re.match(r"\(*[C.][*+?]", unquoted)
    assert [] == re.findall(r"[C.)][*+](?!\+)", re.sub(r"[*+]\+", "", unquoted))
    # A bound is what each beginning costs: also a possessive one is tried at each of them.
    assert all(int(bound) <= 32 for bound in re.findall(r"\{\d+,(\d+)\}", pattern))


@pytest.mark.finding("11.3")
@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("http://localhost:8000/x?u=https://u:p@h", "http://[redacted]@h"),
        ("http://a:1/ postgresql://u:p:q://@h", "http://a:1/ postgresql://[redacted]@h"),
        (f"x://u:{'p' * 5000}@h", "x://[redacted]@h"),
        ("x://u:cut…", "x://[redacted]@"),
        ("http://localhost:8000/…and http://a:1", "http://localhost:8000/…and http://a:1"),
    ],
)
def test_a_url_loses_its_password_and_nothing_else(text: str, left: str) -> None:
    assert left == redacted(text)


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
