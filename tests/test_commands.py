"""What `make run` and `make test` prepare, with a Python that notes what it is asked to do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
REAL = Path(sys.executable).resolve()

# Makes real venvs, but without pip; pip's calls are noted instead, and fail if told so.
PYTHON = f"""#!/bin/sh
case "$*" in
    "-m venv --clear .venv")
        echo venv >>"$NOTES"
        "{REAL}" -m venv --without-pip --clear .venv
        rm .venv/bin/python
        cp "$0" .venv/bin/python ;;
    "-m pip --version") ;;
    "-m pip install"*)
        echo "pip $*" | sed 's/-m pip install --quiet //' >>"$NOTES"
        exit "${{PIP_FAILS:-0}}" ;;
    *)
        own="$(dirname "$0")/python3"
        if [ -f .venv/pyvenv.cfg ] && [ "$0" = .venv/bin/python ]; then exec "$own" "$@"; fi
        exec "{REAL}" "$@" ;;
esac
"""
BROKEN_SHIM = "#!/bin/sh\necho 'pyenv: command not found' >&2\nexit 127\n"
WITHOUT_ENSUREPIP = f"""#!/bin/sh
case "$*" in *ensurepip*) echo 'No module named ensurepip' >&2; exit 1 ;; esac
exec "{REAL}" "$@"
"""
TOO_OLD = "#!/bin/sh\nexit 1\n"

CREATED = ["venv"]
PROJECTS = ("pyproject.toml", "clients/python/pyproject.toml")
INSTALLED = [
    "pip --require-hashes -r {}",
    "pip --no-index --no-build-isolation --no-deps -e clients/python -e .",
]


@dataclass
class Checkout:
    """A copy of the files that set up, in a directory with a space."""

    path: Path
    programs: Path

    def program(self, name: str, text: str) -> None:
        file = self.programs / name
        file.write_text(text)
        file.chmod(0o755)

    def prepare(self, lock: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", str(self.path / "scripts" / "environment.sh"), lock],
            env={
                "PATH": f"{self.programs}:/usr/bin:/bin",
                "NOTES": str(self.programs / "notes"),
                **environment,
            },
            capture_output=True,
            check=False,
            text=True,
            cwd="/",
        )

    def notes(self) -> list[str]:
        """What was asked since the last call."""
        file = self.programs / "notes"
        lines = file.read_text().splitlines() if file.exists() else []
        file.unlink(missing_ok=True)
        return lines


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    path = tmp_path / "check out"
    shutil.copytree(ROOT / "scripts", path / "scripts")
    (path / "clients" / "python").mkdir(parents=True)
    for name in (*PROJECTS, "requirements.lock", "requirements-dev.lock"):
        (path / name).write_text("one==1\n")
    (tmp_path / "bin").mkdir()
    made = Checkout(path, tmp_path / "bin")
    for name in ("python3.13", "python3.12", "python3.11"):
        made.program(name, BROKEN_SHIM)
    made.program("python3", PYTHON)
    return made


def installed(lock: str) -> list[str]:
    return [line.format(lock) for line in INSTALLED]


def test_first_run_makes_a_venv_and_installs_the_lock(checkout: Checkout) -> None:
    done = checkout.prepare("requirements.lock")

    assert 0 == done.returncode, done.stderr
    assert CREATED + installed("requirements.lock") == checkout.notes()


def test_second_run_does_nothing_and_says_nothing(checkout: Checkout) -> None:
    checkout.prepare("requirements.lock")
    checkout.notes()

    again = checkout.prepare("requirements.lock")

    assert [] == checkout.notes()
    assert "" == again.stdout + again.stderr


def test_file_times_do_not_matter(checkout: Checkout) -> None:
    """Git sets them anew with every checkout."""
    checkout.prepare("requirements.lock")
    checkout.notes()

    os.utime(checkout.path / "requirements.lock", (4_000_000_000, 4_000_000_000))
    checkout.prepare("requirements.lock")

    assert [] == checkout.notes()


@pytest.mark.parametrize("name", ["requirements.lock", *PROJECTS])
def test_changed_lock_is_installed_into_the_same_venv(checkout: Checkout, name: str) -> None:
    checkout.prepare("requirements.lock")
    checkout.notes()

    (checkout.path / name).write_text("one==2\n")
    checkout.prepare("requirements.lock")

    assert installed("requirements.lock") == checkout.notes()


def test_venv_of_make_test_serves_make_run_but_not_the_reverse(checkout: Checkout) -> None:
    checkout.prepare("requirements-dev.lock")
    checkout.notes()

    checkout.prepare("requirements.lock")
    assert [] == checkout.notes()

    shutil.rmtree(checkout.path / ".venv")
    checkout.prepare("requirements.lock")
    checkout.notes()
    checkout.prepare("requirements-dev.lock")
    assert installed("requirements-dev.lock") == checkout.notes()


def test_failed_installation_is_tried_again(checkout: Checkout) -> None:
    failed = checkout.prepare("requirements.lock", PIP_FAILS="1")
    checkout.notes()

    checkout.prepare("requirements.lock")

    assert 0 != failed.returncode
    assert installed("requirements.lock") == checkout.notes()


def test_moved_checkout_gets_a_new_venv(checkout: Checkout) -> None:
    """The scripts of a venv name its path, and the project in it is installed by path."""
    checkout.prepare("requirements.lock")
    checkout.notes()

    moved = Checkout(checkout.path.rename(checkout.path.with_name("moved")), checkout.programs)
    moved.prepare("requirements.lock")

    assert CREATED + installed("requirements.lock") == checkout.notes()


def test_venv_whose_python_is_gone_is_made_anew(checkout: Checkout) -> None:
    checkout.prepare("requirements.lock")
    checkout.notes()

    (checkout.path / ".venv" / "bin" / "python").unlink()
    checkout.prepare("requirements.lock")

    assert CREATED + installed("requirements.lock") == checkout.notes()


def test_missing_venv_module_is_one_line_that_names_the_package(checkout: Checkout) -> None:
    checkout.program("python3", WITHOUT_ENSUREPIP)

    refused = checkout.prepare("requirements.lock")

    assert 0 != refused.returncode
    assert 1 == len(refused.stderr.splitlines())
    assert "apt-get install python3-venv" in refused.stderr
    assert not (checkout.path / ".venv").exists()


def test_newer_python_without_venv_gives_way_to_an_older_with_it(checkout: Checkout) -> None:
    checkout.program("python3.13", WITHOUT_ENSUREPIP)

    assert 0 == checkout.prepare("requirements.lock").returncode


def test_no_python_that_is_new_enough_is_one_line_that_says_which(checkout: Checkout) -> None:
    checkout.program("python3", TOO_OLD)

    refused = checkout.prepare("requirements.lock")

    assert 1 == len(refused.stderr.splitlines())
    assert "Python 3.11 or newer is needed" in refused.stderr


def test_make_test_checks_before_it_tests() -> None:
    steps = subprocess.run(
        ["make", "-n", "test"], cwd=ROOT, capture_output=True, check=True, text=True
    ).stdout

    places = [
        steps.index(step)
        for step in ("ruff check", "ruff format --check", "-m mypy", "lint_imports", "-m pytest")
    ]
    assert sorted(places) == places


@pytest.fixture
def debian(tmp_path: Path) -> Path:
    """The programs of a bare system, and an apt-get and a make that note their calls."""
    programs = tmp_path / "bare"
    programs.mkdir()
    for name in ("bash", "cut", "dirname", "grep", "id", "mktemp", "rm", "tail", "tee"):
        found = shutil.which(name)
        assert found is not None
        (programs / name).symlink_to(found)
    note = '#!/bin/sh\necho "$(basename "$0") $*" >>"$NOTES"\n'
    made = {
        "apt-get": note,
        "sudo": '#!/bin/sh\nexec "$@"\n',
        "make": f"{note}echo '== mypy'\necho 'FAILED tests/a.py::b'\nexit ${{MAKE_FAILS:-0}}\n",
        "python3": BROKEN_SHIM,
        "sleep": "#!/bin/sh\n",
        "basename": f'#!/bin/sh\nexec {shutil.which("basename")} "$@"\n',
    }
    for name, text in made.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    return programs


def ci(debian: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(debian / "bash"), str(ROOT / ".ci" / "run")],
        env={"PATH": str(debian), "NOTES": str(debian / "notes"), **environment},
        capture_output=True,
        check=False,
        text=True,
    )


def test_ci_installs_what_is_missing_and_runs_all_tests(debian: Path) -> None:
    done = ci(debian)

    calls = (debian / "notes").read_text().splitlines()
    assert 0 == done.returncode, done.stderr
    assert ["-qq", "update"] == calls[0].split()[1:]
    assert {"chromium", "nodejs", "npm", "python3-venv"} <= set(calls[1].split())
    assert "make" not in calls[1].split()
    assert "make --no-print-directory test-all" == calls[2]


def test_ci_ends_as_make_did_and_names_what_failed(debian: Path) -> None:
    failed = ci(debian, MAKE_FAILS="7")

    assert 7 == failed.returncode
    assert "CI failed in: mypy" in failed.stderr
    assert "FAILED tests/a.py::b" in failed.stderr


def test_ci_tries_apt_again_and_gives_up_with_a_line(debian: Path) -> None:
    (debian / "apt-get").write_text('#!/bin/sh\necho apt >>"$NOTES"\nexit 100\n')

    failed = ci(debian)

    assert 1 == failed.returncode
    assert ["apt"] * 3 == (debian / "notes").read_text().splitlines()
    assert "apt-get could not install" in failed.stderr


def test_pre_commit_hooks_download_nothing() -> None:
    configuration = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())

    assert ["local"] == [repository["repo"] for repository in configuration["repos"]]
    for hook in configuration["repos"][0]["hooks"]:
        assert hook["entry"].startswith(".venv/bin/python -m "), hook["id"]
        assert "system" == hook["language"]
