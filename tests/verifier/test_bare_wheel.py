"""`pip install …/clients/python` verifies tokens, and brings nothing of the server."""

from __future__ import annotations

import json
import subprocess
from importlib.metadata import Distribution
from pathlib import Path

import pytest

from tests.support.wheels import CLIENT, build, environment, requirements, site_packages
from tests.verifier.bare import VECTORS, verify_the_vectors


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with the wheel and what it asks for, and nothing else."""
    place = tmp_path_factory.mktemp("bare")
    return environment(place / "environment", build(CLIENT, place / "wheel"))


def test_it_needs_two_packages_and_what_they_need(python: Path) -> None:
    [information] = site_packages(python).glob("authsvc_client-*.dist-info")

    needed = {each.name for each in requirements(Distribution.at(information))}
    assert {"cryptography", "httpx"} == needed


@pytest.mark.requirement("T3", "T4", "T5", "T6", "T7", "T8", "T9", "T10", "T11")
def test_the_bare_wheel_verifies_every_vector(python: Path, tmp_path: Path) -> None:
    found = verify_the_vectors(python, tmp_path)

    vectors = json.loads(VECTORS.read_text())
    assert (len(vectors["valid"]), len(vectors["invalid"])) == (found["accepted"], found["refused"])
    assert [] == found["server"]
    rooms = {name.split(".")[1] for name in found["loaded"] if "." in name}
    assert {"clock", "https", "private_file", "session", "tokens", "verifier"} == rooms


def test_an_adapter_without_its_framework_names_it(python: Path) -> None:
    for framework in ("fastapi", "flask"):
        done = subprocess.run(
            [str(python), "-c", f"import authsvc_client.verifier.{framework}"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stderr.endswith(f"No module named '{framework}'\n")


def test_the_wheel_is_typed(python: Path) -> None:
    assert (site_packages(python) / "authsvc_client" / "py.typed").is_file()
