"""The package in clients/js: its own tests, its size, and what it depends on."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.browser.conftest import PACKAGE, ROOT
from tests.support.node import node

LIMIT = 5_000  # bytes, gzipped; docs/single-page-apps.md says it


def test_its_own_tests_pass(package: Path) -> None:
    assert package.is_dir()

    done = node("--test", "test/", cwd=PACKAGE)

    assert 0 == done.returncode, done.stdout + done.stderr
    assert "# pass 0" not in done.stdout


@pytest.mark.finding("N10")
def test_it_is_small(package: Path) -> None:
    assert len(gzip.compress((package / "index.js").read_bytes(), 9)) < LIMIT
    assert f"under {LIMIT // 1_000} kB" in (ROOT / "docs" / "single-page-apps.md").read_text(
        "utf-8"
    )


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


@pytest.mark.finding("P22", "N23")
@pytest.mark.usefixtures("package")
def test_tools_that_know_no_exports_find_it_and_it_says_what_it_is() -> None:
    """What npm would publish: no install script, a README and the licence."""
    described = json.loads((PACKAGE / "package.json").read_text(encoding="utf-8"))

    packed = subprocess.run(
        ["npm", "pack", "--dry-run", "--json", "--ignore-scripts"],
        cwd=PACKAGE,
        capture_output=True,
        text=True,
        check=True,
    )

    (report,) = json.loads(packed.stdout)
    files = {file["path"] for file in report["files"]}
    assert {"LICENSE", "README.md", "package.json", "dist/index.js", "dist/index.d.ts"} <= files
    assert described["main"] == described["exports"]["."]["default"]
    assert described["types"] == described["exports"]["."]["types"]
    assert not {"prepare", "install", "postinstall"} & described["scripts"].keys()


@pytest.mark.finding("N26")
def test_the_page_and_the_types_name_the_same_codes_of_the_client() -> None:
    """Those that the service does not know."""
    page = (ROOT / "docs" / "single-page-apps.md").read_text(encoding="utf-8")
    types = (PACKAGE / "src" / "errors.ts").read_text(encoding="utf-8")
    (told,) = re.findall(r"codes are the client's own:(.*?)\n\n", page, re.DOTALL)
    (typed,) = re.findall(r"or one of ours:(.*?)\*/", types, re.DOTALL)
    codes = {"unavailable", "unexpected_answer", "origin_not_listed", "session_changed", "closed"}

    assert codes == set(re.findall(r"`([a-z_]+)`", told)) - {"url", "close"}
    assert codes == set(re.findall(r"`([a-z_]+)`", typed))
