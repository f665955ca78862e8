"""How commands talk with people and programs: tables, JSON, questions, passwords."""

from __future__ import annotations

import getpass
import json
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import typer

from authsvc.operator_errors import OperatorError

PROGRESS_INTERVAL = 1.0  # seconds
MINUTE, HOUR, DAY = 60, 3600, 86_400  # seconds


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """Aligned columns; the first row has the headings."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        typer.echo("  ".join(cells).rstrip())


def print_json(document: object) -> None:
    """Indented JSON in ASCII, so that no terminal obeys what a stranger sent."""
    typer.echo(json.dumps(document, indent=2, default=_as_text))


def _as_text(value: object) -> str:
    if isinstance(value, datetime):
        return timestamp(value)
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(type(value))


def printable(text: str, width: int = sys.maxsize) -> str:
    """
    A stranger's words (a user agent, a claim) without what would move a terminal.

    Args:
        width: Characters, to which it is cut.
    """
    shown = "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in text
    )
    return shown if len(shown) <= width else f"{shown[: width - 1]}…"


def timestamp(moment: datetime) -> str:
    """RFC 3339, in UTC and whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def duration(span: timedelta) -> str:
    """A length of time in its largest sensible unit, such as `3 minutes`."""
    seconds = abs(round(span.total_seconds()))
    for size, name in ((DAY, "day"), (HOUR, "hour"), (MINUTE, "minute")):
        # Two of a unit, so that 61 minutes are not an hour.
        if seconds >= 2 * size:
            return f"{seconds // size} {name}s"
    return f"{seconds} second{'' if seconds == 1 else 's'}"


def distance(moment: datetime, now: datetime) -> str:
    """Such as `3 minutes ago` and `in 2 days`."""
    span = duration(moment - now)
    return f"{span} ago" if moment <= now else f"in {span}"


def plural(count: int, noun: str, many: str | None = None) -> str:
    """Such as `1 session` and `3 sessions`; `many` where an s will not do."""
    return f"{count} {noun if count == 1 else many or f'{noun}s'}"


def progress(words: Callable[[int], str]) -> Callable[[int], None]:
    """A function that says how far something has come, at most once a second."""
    said_at = time.monotonic()

    def say(done: int) -> None:
        nonlocal said_at
        if time.monotonic() - said_at >= PROGRESS_INTERVAL:
            said_at = time.monotonic()
            typer.echo(words(done), err=True)

    return say


def confirm(question: str, *, yes: bool) -> None:
    """
    Ask before something that cannot be undone.

    Raises:
        OperatorError: The answer is no, or nobody is there to give one.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise OperatorError(f"{question} There is no terminal to ask on; repeat with --yes")
    if not typer.confirm(question, err=True):
        raise OperatorError("Nothing was changed.")


def new_password(*, from_stdin: bool) -> str:
    """
    A new password: typed twice without echo, or the one line of standard input.

    It never stands in the arguments, which every user of the machine can list.

    Not to be called while an event loop runs: it would swallow the first Ctrl-C.

    Raises:
        OperatorError: The two differ, or there is nothing to read.
    """
    if from_stdin:
        return _password_from_stdin()
    if not sys.stdin.isatty():
        raise OperatorError(
            "There is no terminal to ask for the password on; pipe it in with --password-stdin"
        )
    first = getpass.getpass("New password: ", stream=sys.stderr)
    if first != getpass.getpass("Once more: ", stream=sys.stderr):
        raise OperatorError("The two passwords differ; nothing was changed.")
    return first


def _password_from_stdin() -> str:
    try:
        text = sys.stdin.buffer.read().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise OperatorError("The password on standard input is not UTF-8.") from None
    line = text.removesuffix("\n").removesuffix("\r")
    if "\n" in line:
        raise OperatorError("Standard input has more than one line; send only the password.")
    if not line:
        raise OperatorError("Standard input is empty; pipe the password in.")
    return line
