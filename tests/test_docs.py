"""The pages name only what exists: files, headings, commands, settings, tests."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from authsvc.cli.main import app
from authsvc.observe.metrics import REGISTRY
from authsvc.settings import Settings

ROOT = Path(__file__).parents[1]
PAGES = {
    page.relative_to(ROOT).as_posix(): page.read_text(encoding="utf-8")
    for page in [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "examples").glob("*/README.md"),
        ROOT / "clients" / "python" / "README.md",
        ROOT / "keys" / "README.md",
        ROOT / "vectors" / "README.md",
    ]
}
# Where a path in the text may begin.
ROOTS = (ROOT / "clients/python/src", ROOT, ROOT / "src" / "authsvc", ROOT / "tests", ROOT / "docs")
DECISION = ["Context", "Decision", "Consequences", "Alternatives", "References"]

each_page = pytest.mark.parametrize("name", sorted(PAGES))


def prose(page: str) -> str:
    """Without fenced blocks."""
    return re.sub(r"^```.*?^```", "", page, flags=re.DOTALL | re.MULTILINE)


def anchors(page: str) -> set[str]:
    """The headings as links name them."""
    titles = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@each_page
def test_links_lead_somewhere(name: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(PAGES[name])):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = ((ROOT / name).parent / path).resolve() if path else ROOT / name
        assert file.exists(), target
        if anchor:
            assert anchor in anchors(file.read_text(encoding="utf-8")), target


@each_page
def test_named_files_exist(name: str) -> None:
    for path in re.findall(r"`([\w.-]+(?:/[\w.-]+)*/[\w.-]+\.(?:py|md|sh|yml|toml))`", PAGES[name]):
        assert any((root / path).exists() for root in ROOTS), path


@each_page
def test_named_tests_exist(name: str) -> None:
    source = "".join(p.read_text(encoding="utf-8") for p in (ROOT / "tests").rglob("test_*.py"))
    for test in re.findall(r"`(test_\w+)`", PAGES[name]):
        assert f"def {test}(" in source, test


def code(page: str) -> Iterator[str]:
    """The lines of fenced blocks, and the code in sentences."""
    for block in re.findall(r"^```\w*\n(.*?)^```", page, re.DOTALL | re.MULTILINE):
        yield from block.splitlines()
    yield from re.findall(r"`([^`]+)`", prose(page))


def commands(
    command: Any, words: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], set[str]]]:
    """Every command with its options."""
    for word, below in getattr(command, "commands", {}).items():
        yield from commands(below, (*words, word))
    yield words, {name for option in command.params for name in option.opts}


@each_page
def test_commands_and_their_options_exist(name: str) -> None:
    known = dict(commands(typer.main.get_command(app)))
    for line in code(PAGES[name]):
        for call in re.findall(r"(?:^|[ /])authsvc ([a-z][^#|&>]*)", line):
            words = tuple(call.split())
            named = next((words[:n] for n in (2, 1) if words[:n] in known), None)
            assert named is not None, f"no such command: {line}"
            options = {word.partition("=")[0] for word in words if word.startswith("--")}
            assert options <= known[named], line


@each_page
def test_settings_exist(name: str) -> None:
    for setting in re.findall(r"AUTHSVC_([A-Z][A-Z0-9_]*)", PAGES[name]):
        assert setting.lower() in Settings.model_fields, setting


@each_page
def test_metrics_exist(name: str) -> None:
    # Not by their samples: those with labels have none before the first request.
    known = {metric.name + "_total" * (metric.type == "counter") for metric in REGISTRY.collect()}
    for metric in re.findall(r"\bauthsvc_[a-z_]+_(?:total|seconds|timestamp)\b", PAGES[name]):
        assert metric in known, metric


@pytest.mark.parametrize("name", sorted(n for n in PAGES if n.startswith("docs/decisions/")))
def test_decisions_have_one_form_and_one_page(name: str) -> None:
    assert DECISION == re.findall(r"^## (.+)$", PAGES[name], re.MULTILINE)
    assert PAGES[name].count("\n") <= 60
    assert re.match(rf"# {Path(name).name[:4]} \w", PAGES[name])


def test_the_table_of_requirements_names_the_tests_that_there_are() -> None:
    checked = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "requirements_table.py")],
        capture_output=True,
        text=True,
        check=False,
    )

    assert "" == checked.stderr


# Phrases that stopped new users, in what they read: pages, help, messages, the OpenAPI document.
ODD = (
    "the own ", "of his own making", "used up by nothing", "it introspects nothing", "belongs into",
    "has made of them", "whose name is not a second", "Bring a key from elsewhere",
    "nobody can say", 'or go on"', "for want of",
)  # fmt: skip


def test_what_users_read_is_in_plain_words() -> None:
    pages = [ROOT / "README.md", ROOT / ".env.example", *(ROOT / "docs").glob("*.md")]
    sources = [*(ROOT / "src/authsvc/cli").rglob("*.py"), ROOT / "src/authsvc/http/openapi.py"]

    found = [
        (path.name, phrase)
        for path in pages + sources
        for phrase in ODD
        if phrase in path.read_text(encoding="utf-8")
    ]

    assert not found
