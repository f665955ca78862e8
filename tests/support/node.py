"""Node.js and Chromium, for the clients and pages that nobody tests in Python."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

CLIENTS = Path(__file__).parents[1] / "clients"
NODE = shutil.which("node")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)

needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="needs Chromium (Debian: apt-get install chromium)"
)


def has(package: str, where: Path = CLIENTS) -> bool:
    """Whether there is Node.js, with that package."""
    return NODE is not None and (where / "node_modules" / package).is_dir()


def needs(package: str) -> pytest.MarkDecorator:
    """A test of a script that imports that package."""
    reason = "needs Node.js and `npm ci --ignore-scripts` in tests/clients (make test does that)"
    return pytest.mark.skipif(not has(package), reason=reason)


def node(*arguments: Path | str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run Node.js to its end; options as of `subprocess.run`."""
    assert NODE is not None
    return subprocess.run(
        [NODE, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        **options,
    )


def observed(script: Path, *arguments: str, told: object = None) -> Any:
    """What a script of ours prints as JSON when it was told something as JSON."""
    done = node(script, *arguments, input=json.dumps(told))
    assert 0 == done.returncode, done.stderr
    return json.loads(done.stdout)
