"""
The command line (CONTRACT §3): one module per noun.

Commands import what they need when they run, so that `authsvc --version` and the start of
`serve` do not wait for what only others use.
"""

from __future__ import annotations

import io
import sys
from importlib.metadata import version
from typing import Annotated

import typer

from authsvc.cli import audit, clients, db, keys, sessions, token, users
from authsvc.cli.doctor import doctor
from authsvc.cli.errors import CommandError
from authsvc.cli.group import group
from authsvc.cli.serve import serve

app = group("One small, trustworthy auth server.")
app.command(epilog="Example: authsvc serve --port 8001 --workers 2")(serve)
app.command(epilog="Example: authsvc doctor --json")(doctor)
app.add_typer(audit.app, name="audit")
app.add_typer(clients.app, name="clients")
app.add_typer(keys.app, name="keys")
app.add_typer(db.app, name="db")
app.add_typer(sessions.app, name="sessions")
app.add_typer(token.app, name="token")
app.add_typer(users.app, name="users")


def main() -> None:
    """Run a command: 0 done, 1 refused or failed with one line on stderr, 2 usage."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # An address or an arrow that the terminal's encoding lacks must not end a command.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        app(prog_name="authsvc")
    except CommandError as exc:
        sys.stderr.write(f"{exc}\n")
        sys.exit(1)


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
