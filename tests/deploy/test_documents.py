"""Settings in .env.example and docs/deployment.md are real, and their defaults are as shown."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from authsvc.settings import Settings
from tests.support.deploy_files import ROOT

KNOWN = {f"AUTHSVC_{name.upper()}" for name in Settings.model_fields}
EXAMPLE = dict(
    re.findall(r"^#(AUTHSVC_\w+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE)
)


def test_the_example_has_every_setting() -> None:
    assert set(EXAMPLE) == KNOWN


def test_the_example_shows_the_defaults(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Uncommented as it stands it changes nothing."""
    monkeypatch.chdir(tmp_path)
    for name in KNOWN:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("DATABASE_URL", raising=False)
    defaults = Settings.load().model_dump()
    for name, value in EXAMPLE.items():
        monkeypatch.setenv(name, value)

    shown = Settings.load().model_dump()

    by_user = {"data_dir"}  # shown for root
    assert {k: v for k, v in defaults.items() if k not in by_user} == {
        k: v for k, v in shown.items() if k not in by_user
    }


def test_the_deployment_page_names_settings_that_exist() -> None:
    page = (ROOT / "docs/deployment.md").read_text()

    assert set(re.findall(r"AUTHSVC_[A-Z][A-Z0-9_]+", page)) <= KNOWN
