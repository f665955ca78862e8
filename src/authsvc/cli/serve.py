"""`authsvc serve`: the service, and in development the PostgreSQL and the keys that it needs."""

from __future__ import annotations

import os
import resource
import signal
from contextlib import suppress
from types import FrameType
from typing import Annotated

import typer


def serve(
    *,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on; by default both loopbacks.")
    ] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; by default 8000.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes; by default one per core.")] = None,
) -> None:
    """Run the service until Ctrl-C; in development with its own PostgreSQL."""
    # Through the environment, where the worker processes find them too.
    for name, value in {"HOST": host, "PORT": port, "WORKERS": workers}.items():
        if value is not None:
            os.environ[f"AUTHSVC_{name}"] = str(value)
    # A core file would hold the keys.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # The usual soft limit of 1,024 is for programs that use select(2).
    _, hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):  # macOS has a lower limit than the one that it names
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard_limit, hard_limit))
    # From here on an end that is asked for unwinds everything, in whatever phase it comes.
    signal.signal(signal.SIGINT, _interrupt)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        from authsvc.cli.serving import serve_until_stopped  # noqa: PLC0415 - seconds of imports

        serve_until_stopped()
    except KeyboardInterrupt:
        say("authsvc has stopped.")


def say(text: str) -> None:
    """Tell a person, on stderr: stdout is for the log. That it cannot be told ends no service."""
    with suppress(OSError):
        typer.echo(text, err=True)


def _interrupt(signum: int, frame: FrameType | None) -> None:
    """SIGTERM is told the way Ctrl-C is, and Ctrl-C also where a shell has us ignore it."""
    del signum, frame
    raise KeyboardInterrupt
