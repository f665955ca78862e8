"""The wheels of both distributions, and environments that hold them and nothing else."""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
from collections.abc import Collection
from importlib.metadata import Distribution, distribution, distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

SERVER = Path(__file__).parents[2]
CLIENT = SERVER / "clients" / "python"


def build(project: Path, place: Path) -> Path:
    """The wheel of a project, built into a directory that is empty."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(place)]
    subprocess.run(command, cwd=project, check=True, capture_output=True)
    [wheel] = place.glob("*.whl")
    return wheel


def environment(place: Path, *wheels: Path) -> Path:
    """The interpreter of an environment with the wheels and what they ask for, nothing else."""
    venv.create(place, with_pip=False)
    interpreter = place / "bin" / "python"
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", str(interpreter), "install", "--quiet",
         "--no-index", "--no-deps", "--disable-pip-version-check", *map(str, wheels)],
        check=True,
    )  # fmt: skip
    packages = site_packages(interpreter)
    # As pip would, from what is installed here: no network.
    for needed in _missing(packages):
        for file in needed.files or ():
            source = Path(str(needed.locate_file(file)))
            if ".." not in file.parts and source.is_file():
                target = packages / file
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)
    return interpreter


def site_packages(interpreter: Path) -> Path:
    [packages] = interpreter.parents[1].glob("lib/python*/site-packages")
    return packages


def requirements(of: Distribution, extras: Collection[str] = ()) -> list[Requirement]:
    """What a distribution asks for with these extras, on this Python."""
    return [
        found
        for found in map(Requirement, of.requires or ())
        if found.marker is None
        or any(found.marker.evaluate({"extra": extra}) for extra in {"", *extras})
    ]


def _missing(packages: Path) -> list[Distribution]:
    """What the distributions in a directory need, directly or not, and is not there."""
    there = {canonicalize_name(each.name): each for each in distributions(path=[str(packages)])}
    found: dict[str, Distribution] = {}
    waiting = [needed for each in there.values() for needed in requirements(each)]
    seen: set[str] = set()
    while waiting:
        needed = waiting.pop()
        name = canonicalize_name(needed.name)
        if str(needed) in seen or name in there:
            continue
        seen.add(str(needed))
        found.setdefault(name, distribution(name))
        waiting += requirements(found[name], needed.extras)
    return list(found.values())
