"""
The command line (CONTRACT §3): one module per noun.

A group's module is imported when the group is asked for, so that `authsvc --version`, its help
and the start of `serve` do not wait for what only others use.
"""

from __future__ import annotations

import io
import os
import sys
from importlib.metadata import version
from typing import Annotated

import typer

from authsvc.cli.doctor import doctor
from authsvc.cli.group import LazyGroup, group
from authsvc.cli.refusals import in_words
from authsvc.cli.serve import serve
from authsvc.operator_errors import OperatorError
from authsvc.protocol.errors import Refusal

GROUPS = {
    "audit": "The audit trail: logins, refusals, ended sessions, acts of operators.",
    "clients": "Clients: services with their own tokens.",
    "keys": "Signing keys and refresh MAC keys.",
    "db": "The schema of the database.",
    "sessions": "Sessions: logins on devices.",
    "token": "Tokens.",
    "users": "Accounts.",
}

app = group("One small, trustworthy auth server.")
app.command(epilog="Example: authsvc serve --port 8001 --workers 2")(serve)
app.command(epilog="Example: authsvc doctor --json")(doctor)
for name, words in GROUPS.items():
    app.add_typer(group(words, LazyGroup), name=name)


def main() -> None:
    """Run a command: 0 done, 1 refused or failed with one line on stderr, 2 usage."""
    _open_closed_streams()
    if isinstance(sys.stdout, io.TextIOWrapper):
        # An address or an arrow that the terminal's encoding lacks must not end a command.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        app(prog_name="authsvc")
    except (OperatorError, Refusal) as exc:
        sys.stderr.write(f"{in_words(exc)}\n")
        sys.exit(1)


def _open_closed_streams() -> None:
    """Nowhere is where a stream goes that was closed (`>&-`); a socket would get its number."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: its own
            os.set_inheritable(nowhere, True)
            setattr(sys, name, os.fdopen(nowhere, mode))


def _print_version(wanted: bool) -> None:  # noqa: FBT001 - typer's signature
    if wanted:
        typer.echo(f"authsvc {version('authsvc')}")
        raise typer.Exit


@app.callback()
def options(
    *,
    show_version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """One small, trustworthy auth server."""
