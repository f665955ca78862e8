"""Commands as a user runs them: arguments, standard input, exit code, two outputs."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from authsvc.cli.main import main
from tests.http.conftest import CHEAP_ARGON2


@dataclass(frozen=True)
class Done:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Command = Callable[..., Awaitable[Done]]


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """No setting but where keys and data are, in an empty directory without a `.env`."""
    for name in os.environ:
        if name.startswith("AUTHSVC_") or name in {"DATABASE_URL", "PORT"}:
            monkeypatch.delenv(name)
    monkeypatch.setenv("AUTHSVC_KEYS_DIR", str(tmp_path / "keys"))
    monkeypatch.setenv("AUTHSVC_DATA_DIR", str(tmp_path / "data"))
    for name, value in CHEAP_ARGON2.items():
        monkeypatch.setenv(f"AUTHSVC_{name.upper()}", str(value))
    monkeypatch.chdir(tmp_path)
    return monkeypatch


@pytest.fixture
def run(environment: pytest.MonkeyPatch) -> Command:
    """Run a command; `stdin` is piped, so there is no terminal."""

    def in_thread(stdin: str | bytes) -> Done:
        with CliRunner().isolation(input=stdin) as (out, err, _):
            code = 0
            try:
                main()
            except SystemExit as exc:
                code = exc.code if isinstance(exc.code, int) else 1
            sys.stdout.flush()
            sys.stderr.flush()
            return Done(code, out.getvalue().decode(), err.getvalue().decode())

    async def execute(*arguments: str, stdin: str | bytes = "") -> Done:
        environment.setattr(sys, "argv", ["authsvc", *arguments])
        # In a thread of its own, since a command has an event loop of its own.
        return await asyncio.to_thread(in_thread, stdin)

    return execute


@pytest.fixture
def authsvc(run: Command, environment: pytest.MonkeyPatch, database_url: str) -> Command:
    """As `run`, on a fresh, migrated database."""
    environment.setenv("AUTHSVC_DATABASE_URL", database_url)
    return run
