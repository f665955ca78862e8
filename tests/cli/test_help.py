from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from authsvc.cli.main import app
from tests.cli.conftest import Command


def commands(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for word, below in getattr(command, "commands", {}).items():
        yield from commands(below, (*words, word))
    if words and not getattr(command, "commands", {}):
        yield words, command


ALL = dict(commands(typer.main.get_command(app)))


@pytest.mark.finding("N24")
@pytest.mark.parametrize("words", ALL, ids=" ".join)
async def test_every_command_helps_with_an_example_of_itself(
    run: Command, words: tuple[str, ...]
) -> None:
    done = await run(*words, "--help")

    assert 0 == done.code
    assert f"Example: authsvc {' '.join(words)}" in done.out


@pytest.mark.finding("N24")
@pytest.mark.parametrize("words", ALL, ids=" ".join)
async def test_help_shows_flags_without_a_value_and_arguments_in_capitals(
    run: Command, words: tuple[str, ...]
) -> None:
    done = await run(*words, "--help")

    usage = done.out.partition("\n")[0].removeprefix(f"Usage: authsvc {' '.join(words)}")
    assert "bool" not in done.out
    assert usage == usage.upper()


@pytest.mark.finding("N24")
@pytest.mark.parametrize("words", [(), ("users",), *ALL], ids=" ".join)
async def test_the_short_option_helps_as_well(run: Command, words: tuple[str, ...]) -> None:
    """Not where a kid is named: one in 4096 begins with `-h`."""
    done, named = await run(*words, "-h"), await run(*words, "--help")

    if words in {("keys", "revoke"), ("keys", "export-public")}:
        assert 0 != done.code
    else:
        assert (0, named.out) == (done.code, done.out)


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_every_option_says_what_it_does(words: tuple[str, ...]) -> None:
    assert all(option.help for option in ALL[words].params if option.name != "help")


@pytest.mark.parametrize("group", ["audit", "users", "clients", "keys", "sessions", "db", "token"])
async def test_a_group_without_a_command_shows_what_there_is(run: Command, group: str) -> None:
    done = await run(group)

    assert 2 == done.code
    assert f"Usage: authsvc {group}" in done.out + done.err


def test_the_command_line_loads_without_what_only_some_commands_use() -> None:
    """`authsvc --version`, its help and the start of `serve` wait for nobody."""
    heavy = ["sqlalchemy", "pydantic", "fastapi", "alembic", "cryptography", "argon2", "httpx"]
    program = (
        "import sys, authsvc.cli.main;"
        "authsvc.cli.main.app(['--help'], standalone_mode=False);"
        f"print([name for name in {heavy} if name in sys.modules], end='')"
    )

    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)

    assert loaded.stdout.startswith(b"Usage: ")
    assert loaded.stdout.endswith(b"\n[]")


@pytest.mark.finding("P18")
@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_standard_stream_is_no_error(tmp_path: Path, closed: str) -> None:
    command = f'exec "$0" -m authsvc keys add --first {closed}'

    done = subprocess.run(["sh", "-c", command, sys.executable], capture_output=True, check=False)

    assert 0 == done.returncode
    assert b"Traceback" not in done.stderr
    assert any((tmp_path / "keys").iterdir())
