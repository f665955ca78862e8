"""Commands that people copy install this project, and not what somebody else calls by its name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PLACES = ("docs", "examples", "src", "clients")
KINDS = {".md", ".py", ".mjs", ".js", ".html", ".json"}
# Neither name is taken on its index. Whoever takes it would be in each process that decides who is
# logged in.
FROM_AN_INDEX = re.compile(
    r"\b(?:pipx?|uv)\b[^`\n]*? (?:install|add)\b[^`\n]*?[\s'\"]authsvc(?:-client)?(?![\w./-])"
    # The server alone, which asks for the client by its name.
    r"|\b(?:pipx?|uv)\b[^`\n]*? (?:install|add)\b(?![^`\n]*clients/python)"
    r"[^`\n]*?[\s'\"](?:\.|[^\s`]*/authsvc(?:\.git)?)(?=[\s`'\"#\[]|$)"
    r"|\b(?:npm|pnpm|yarn|npx)\b[^`\n]*? (?:install|i|add|exec)\b[^`\n]*?[\s'\"]@authsvc/\w",
    re.MULTILINE,
)


def texts() -> list[Path]:
    # CHANGELOG tells of what was, and is not copied from.
    found = [*sorted(set(ROOT.glob("*.md")) - {ROOT / "CHANGELOG.md"}), ROOT / "Dockerfile"]
    for place in PLACES:
        found += [path for path in (ROOT / place).rglob("*") if path.suffix in KINDS]
    return [path for path in found if "node_modules" not in path.parts and path.is_file()]


@pytest.mark.finding("N01")
def test_no_command_takes_the_project_from_an_index() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}: {command[0]}"
        for path in texts()
        for command in FROM_AN_INDEX.finditer(path.read_text(encoding="utf-8"))
    ]

    assert [] == wrong


@pytest.mark.finding("N01")
@pytest.mark.parametrize(
    ("command", "by_name"),
    [
        ("pip install authsvc", True),
        ("pip install fastapi uvicorn authsvc", True),
        ("python -m pip install 'authsvc[embedded]'", True),
        ("pip install authsvc-client", True),
        ("uv add authsvc", True),
        ("npm install @authsvc/client", True),
        ("pip install fastapi uvicorn /path/to/authsvc", True),
        ("pip install git+https://git.example.com/authsvc.git", True),
        ("pip install -e .", True),
        ("pip install /path/to/authsvc/clients/python", False),
        ("pip install git+https://git.example.com/authsvc.git#subdirectory=clients/python", False),
        ("pip install --no-deps ./clients/python .", False),
        ("/opt/authsvc/bin/pip install --require-hashes -r requirements.lock", False),
        ("npm install /path/to/authsvc/clients/js", False),
    ],
)
def test_the_rule_knows_a_name_from_a_path(command: str, *, by_name: bool) -> None:
    assert by_name is bool(FROM_AN_INDEX.search(command))
