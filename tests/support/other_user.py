"""Running a program as somebody else than root."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import asyncpg

NOBODY = 65534
AS_ROOT = os.geteuid() == 0
# Where our modules and those of others are, for an interpreter that is not this venv's.
ROOT = Path(__file__).parents[2]
PYTHONPATH = os.pathsep.join(
    map(str, (ROOT / "src", ROOT / "clients/python/src", Path(asyncpg.__file__).parents[1]))
)


def python_for_everybody() -> str | None:
    """An interpreter of this version that others can run; this one may lie in root's home."""
    question = f"import sys; sys.exit(sys.version_info[:2] != {sys.version_info[:2]})"
    for candidate in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
        try:
            asked = subprocess.run([candidate, "-c", question], user=NOBODY, check=False, cwd="/")
        except OSError:
            continue
        if asked.returncode == 0:
            return candidate
    return None
