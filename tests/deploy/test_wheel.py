"""The wheel that the image installs has everything that the service reads at run time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from authsvc.store.schema import SCHEMA_REVISION
from tests.support.deploy_files import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> ZipFile:
    target = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(target)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    [path] = target.glob("authsvc-*.whl")
    return ZipFile(path)


def test_modules_data_and_static_files_are_in_it(wheel: ZipFile) -> None:
    assert _files(ROOT / "src", "authsvc") <= set(wheel.namelist())


def test_migrations_are_in_it(wheel: ZipFile) -> None:
    expected = {f"authsvc/_{name}" for name in _files(ROOT, "alembic")}

    assert "authsvc/_alembic/versions/0001_initial.py" in expected
    assert expected <= set(wheel.namelist())


def test_nothing_else_is_in_it(wheel: ZipFile) -> None:
    names = wheel.namelist()

    assert all(name.startswith(("authsvc/", "authsvc-")) for name in names)
    assert not [name for name in names if name.endswith((".pyc", ".pem", ".key", ".env"))]


def test_it_can_migrate_without_the_repository(wheel: ZipFile, tmp_path: Path) -> None:
    """The scripts it finds are its own, and lead to the revision that its code needs."""
    wheel.extractall(tmp_path)
    script = (
        "from alembic.script import ScriptDirectory\n"
        "from authsvc.store.migrate import configuration\n"
        "scripts = ScriptDirectory.from_config(configuration())\n"
        "print(scripts.dir, scripts.get_current_head())"
    )

    answer = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert f"{tmp_path / 'authsvc/_alembic'} {SCHEMA_REVISION}" == answer.stdout.strip()


def _files(directory: Path, package: str) -> set[str]:
    return {
        str(path.relative_to(directory))
        for path in (directory / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
