"""On what something was measured, and when."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parents[1]
LIBRARIES = ("fastapi", "uvicorn", "asyncpg", "cryptography", "argon2-cffi-bindings")


def machine() -> dict[str, str]:
    """Words that a reader can compare with a machine of their own."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "commit": commit(),
        "cpu": f"{model}, {os.cpu_count()} cores",
        "memory": f"{memory:.0f} GiB",
        "system": f"Linux {platform.release()}",
        "python": f"{platform.python_version()} ({_build()})",
        "libraries": ", ".join(f"{name} {version(name)}" for name in LIBRARIES),
    }


def _build() -> str:
    """Distributions optimise by profile; what a plain `configure` makes is a quarter slower."""
    return "the distribution's" if sys.base_prefix == "/usr" else "built by hand"


def commit() -> str:
    """The commit of the working tree, `+` if there is more than it."""
    changed = _git("status", "--porcelain", "--", "src", "tests", "alembic", "pyproject.toml")
    return _git("rev-parse", "--short", "HEAD") + ("+" if changed else "")


def _git(*words: str) -> str:
    run = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    return run.stdout.strip()
