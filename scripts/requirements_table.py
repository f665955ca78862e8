# ruff: noqa: INP001 - a script, not a package
"""
Fill the last column of the requirement table in docs/security.md from the tests.

    .venv/bin/python scripts/requirements_table.py            complain if it is not up to date
    .venv/bin/python scripts/requirements_table.py --write    bring it up to date

Each test that covers a row says so: `@pytest.mark.requirement("R2")`. A row without a test must
admit it with the word "Untested".
"""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "security.md"
MARK = re.compile(r"mark\.requirement\(([^)]*)\)")
ROW = re.compile(r"^\| (?P<id>[A-Z]\d+) \|(?P<middle>.*)\|(?P<tests>[^|]*)\|$", re.MULTILINE)
ADMITS = "Untested"


def files_by_requirement() -> dict[str, set[str]]:
    """The test files, relative to `tests/`, that hold a test of each row."""
    found: dict[str, set[str]] = defaultdict(set)
    for file in sorted((ROOT / "tests").rglob("test_*.py")):
        if "node_modules" in file.parts:
            continue
        for marks in MARK.findall(file.read_text(encoding="utf-8")):
            for requirement in re.findall(r'"([^"]+)"', marks):
                found[requirement].add(file.relative_to(ROOT / "tests").as_posix())
    return found


def filled(page: str, files: dict[str, set[str]]) -> str:
    """The page with its last column made anew."""

    def fill(row: re.Match[str]) -> str:
        named = ", ".join(f"`{file}`" for file in sorted(files.get(row["id"], ())))
        return f"| {row['id']} |{row['middle']}| {named or '-'} |"

    return ROW.sub(fill, page)


def complaints(page: str, files: dict[str, set[str]]) -> list[str]:
    """What only a person can put right."""
    rows = {row["id"]: row for row in ROW.finditer(page)}
    missing = [
        f"{requirement}: {', '.join(sorted(where))} cover it, and it has no row"
        for requirement, where in sorted(files.items())
        if requirement not in rows
    ]
    unproved = [
        f'{name}: no test covers it, and its row does not say "{ADMITS}"'
        for name, row in rows.items()
        if name not in files and ADMITS not in row["middle"]
    ]
    modest = [
        f'{name}: a test covers it, and its row says "{ADMITS}"'
        for name, row in rows.items()
        if name in files and ADMITS in row["middle"]
    ]
    return [*missing, *unproved, *modest]


def main() -> int:
    """Check or write; 1 if something is wrong."""
    page = PAGE.read_text(encoding="utf-8")
    files = files_by_requirement()
    wrong = complaints(page, files)
    if "--write" in sys.argv[1:]:
        PAGE.write_text(filled(page, files), encoding="utf-8")
    elif filled(page, files) != page:
        wrong.append("its last column is old: run `python scripts/requirements_table.py --write`")
    for line in wrong:
        sys.stderr.write(f"docs/security.md: {line}\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
