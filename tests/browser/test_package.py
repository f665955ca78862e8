"""The package in clients/js: its own tests, its size, and what it depends on."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

from tests.browser.conftest import PACKAGE, node

LIMIT = 4_000  # bytes, gzipped


def test_its_own_tests_pass(package: Path) -> None:
    assert package.is_dir()

    done = node("--test", "test/")

    assert 0 == done.returncode, done.stdout + done.stderr
    assert "# pass 0" not in done.stdout


def test_it_is_small(package: Path) -> None:
    assert len(gzip.compress((package / "index.js").read_bytes(), 9)) < LIMIT


def test_it_is_one_module_with_types_and_nothing_else_to_load(package: Path) -> None:
    built = (package / "index.js").read_text(encoding="utf-8")

    assert "import" not in built
    assert "export{" in built
    assert "createAuth" in (package / "index.d.ts").read_text(encoding="utf-8")


def test_it_depends_on_nothing_and_is_built_by_exact_versions() -> None:
    described = json.loads((PACKAGE / "package.json").read_text(encoding="utf-8"))
    lock = (PACKAGE / "package-lock.json").read_text(encoding="utf-8")

    assert "dependencies" not in described
    assert all(version[0].isdigit() for version in described["devDependencies"].values())
    assert "://" not in lock
