"""The client works with the oldest versions it allows, on the oldest and the newest Python here."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from tests.support.live import EMAIL, PASSWORD, serving
from tests.support.wheels import CLIENT, build
from tests.verifier.bare import VECTORS, hold_a_session, verify_the_vectors

LOCK = CLIENT / "oldest.lock"
MINORS = range(9, 15)  # 3.9 to 3.14


def pythons() -> dict[int, Path]:
    """The Pythons that are here and really run (a shim may refuse), by their minor version."""
    here = [Path(sys.executable)]
    here += map(Path, filter(None, (shutil.which(f"python3.{minor}") for minor in MINORS)))
    here += sorted(Path.home().glob(".pyenv/versions/3.*/bin/python3"))
    found: dict[int, Path] = {}
    for python in here:
        minor = subprocess.run(
            [str(python), "-c", "import ensurepip, sys; print(sys.version_info[1])"],
            capture_output=True,
            text=True,
            check=False,
        ).stdout.strip()
        if minor.isdecimal() and int(minor) in MINORS:
            found.setdefault(int(minor), python)
    return found


def oldest(python: Path, place: Path, wheel: Path) -> Path:
    """The interpreter of an environment of that Python with the oldest versions."""
    subprocess.run([str(python), "-m", "venv", str(place)], check=True)
    interpreter = place / "bin" / "python"
    pip = [str(interpreter), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run(
        [*pip, "--require-hashes", "--only-binary", ":all:", "-r", str(LOCK)], check=True
    )
    # With its dependencies, but without an index: the lock must satisfy the ranges.
    subprocess.run([*pip, "--no-index", str(wheel)], check=True)
    return interpreter


def test_the_lock_is_the_lower_end_of_what_is_allowed() -> None:
    project = tomllib.loads((CLIENT / "pyproject.toml").read_text())["project"]
    locked = dict(re.findall(r"^([a-z0-9-]+)==([\w.]+)", LOCK.read_text(), re.MULTILINE))

    for needed in map(Requirement, project["dependencies"]):
        [lowest] = [each for each in needed.specifier if each.operator == ">="]
        assert Version(lowest.version) == Version(locked[needed.name]), needed
    assert project["requires-python"] == f">=3.{min(MINORS)}"


@pytest.mark.slow  # installs from the package index
async def test_with_the_oldest_versions_the_client_verifies_and_holds_a_session(
    database_url: str, tmp_path: Path
) -> None:
    wheel = build(CLIENT, tmp_path / "wheel")
    vectors = json.loads(VECTORS.read_text())
    async with serving(database_url, tmp_path) as [port, _]:
        here = pythons()
        for minor in sorted({min(here), max(here)}):
            place = tmp_path / f"3.{minor}"
            interpreter = oldest(here[minor], place, wheel)

            found = verify_the_vectors(interpreter, place)
            session = hold_a_session(
                interpreter, place, f"http://localhost:{port}", EMAIL, PASSWORD
            )

            expected = (len(vectors["valid"]), len(vectors["invalid"]))
            assert expected == (found["accepted"], found["refused"]), minor
            assert {
                "subjects": 1, "renewed": True, "left": False, "feed": None, "says why": True,
            } == session, minor  # fmt: skip
