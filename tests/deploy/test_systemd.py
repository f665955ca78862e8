"""deploy/authsvc.service, read by systemd's own tools."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from authsvc.settings import Settings
from tests.support.deploy_files import ROOT

UNIT = (ROOT / "deploy" / "authsvc.service").read_text()
EXPOSURE = 15  # in tenths, of 100; a unit without any hardening has 96

pytestmark = [
    pytest.mark.finding("N19"),
    pytest.mark.skipif(
        shutil.which("systemd-analyze") is None, reason="needs systemd (Debian: systemd)"
    ),
]


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", *arguments], capture_output=True, text=True, check=False
    )


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit, with a program that there is on this machine."""
    path = tmp_path / "authsvc.service"
    program = tmp_path / "authsvc"  # in a path without spaces
    program.symlink_to(sys.executable)
    path.write_text(UNIT.replace("/opt/authsvc/bin/authsvc", str(program)))
    return path


def test_systemd_has_nothing_to_say_against_it(unit: Path) -> None:
    checked = analyze("verify", "--man=no", str(unit))

    assert (0, "") == (checked.returncode, checked.stderr)


def test_systemd_sees_a_mistake(unit: Path) -> None:
    unit.write_text(unit.read_text().replace("ProtectHome=true", "ProtectHomes=true"))

    assert "ProtectHomes" in analyze("verify", "--man=no", str(unit)).stderr


def test_it_is_exposed_to_little(unit: Path) -> None:
    arguments = ("security", "--offline=true", "--no-pager", f"--threshold={EXPOSURE}")

    assert 0 == analyze(*arguments, str(unit)).returncode
    unit.write_text(re.sub(r"^(Protect|Restrict|Private|Cap).*\n", "", UNIT, flags=re.MULTILINE))
    assert 0 != analyze(*arguments, str(unit)).returncode


def test_its_settings_exist() -> None:
    named = set(re.findall(r"AUTHSVC_(\w+)=", UNIT))

    assert {name.lower() for name in named} <= set(Settings.model_fields)
    assert "ENV" in named
