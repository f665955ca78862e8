"""Each finding of the review of d4dd34f is named by a test, so that none of them comes back."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# The numbered faults, other people's trouble, and what a newcomer met.
FINDINGS = [
    *(f"11.{number}" for number in range(1, 20)),
    *(f"P{number:02}" for number in range(1, 39)),
    *(f"N{number:02}" for number in range(1, 28)),
]
# Why no test can name them.
EXCEPTIONS = {
    "N04": "OpenID Connect discovery is a feature of its own, not built yet",
    "P32": "the list has no such number",
}
MARKER = re.compile(r"\bmark\.finding\(([^)]*)\)")
TITLE = re.compile(r'^ *test\(["`]((?:11\.\d+|[NP]\d+|, )+):', re.MULTILINE)


def named_in(text: str, suffix: str) -> Iterator[str]:
    """The findings that the tests in this text name: by marker, or before the title's colon."""
    for names in (MARKER if suffix == ".py" else TITLE).findall(text):
        yield from re.findall(r"\b(?:11\.|[NP])\d+\b", names)


@pytest.fixture(scope="module")
def named() -> set[str]:
    files = [
        *(ROOT / "tests").rglob("test_*.py"),
        *(ROOT / "clients" / "js" / "test").glob("*.test.mjs"),
    ]
    return {
        finding
        for file in files
        for finding in named_in(file.read_text(encoding="utf-8"), file.suffix)
    }


@pytest.mark.parametrize("finding", sorted(set(FINDINGS) - set(EXCEPTIONS)))
def test_a_test_is_named_for_it(named: set[str], finding: str) -> None:
    assert finding in named


@pytest.mark.parametrize(
    ("text", "suffix", "names"),
    [
        ('@pytest.mark.finding("P22", "N23")', ".py", ["P22", "N23"]),
        ('pytestmark = [pytest.mark.finding("11.10")]', ".py", ["11.10"]),
        ('# finding("P22") and P23', ".py", []),
        ('test("11.17: a lease", () => {});', ".mjs", ["11.17"]),
        ("  test(`N10: ${name} is told`, () => {});", ".mjs", ["N10"]),
        ('test("of P14, a path: an error", () => {}); // P15', ".mjs", []),
    ],
)
def test_only_a_marker_or_a_title_names(text: str, suffix: str, names: list[str]) -> None:
    assert names == list(named_in(text, suffix))
