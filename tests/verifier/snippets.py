"""The fenced blocks of a page, and how to run them."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[2]


def block(page: str, heading: str, language: str, number: int = 0) -> str:
    """A fenced block of that language below a heading, before the next one."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    (section,) = re.findall(
        rf"^#+ {re.escape(heading)}\n(.*?)(?=^##|\Z)", text, re.DOTALL | re.MULTILINE
    )
    blocks: list[str] = re.findall(
        rf"^```{language}\n(.*?)^```$", section, re.DOTALL | re.MULTILINE
    )
    return blocks[number]


def module_of(source: str) -> ModuleType:
    """The module that a snippet is."""
    module = ModuleType("snippet")
    exec(compile(source, "snippet", "exec"), module.__dict__)  # noqa: S102 - our own page
    return module
