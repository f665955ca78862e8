"""`authsvc users import`: read a file of accounts, name every bad line, import all or nothing."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import typer

from authsvc.cli.console import plural, progress
from authsvc.cli.database import with_database
from authsvc.flows.import_accounts import AddressesTaken, Imported, import_accounts
from authsvc.keys.foreign_hashes import WorkLimit, why_unusable
from authsvc.operator_errors import OperatorError
from authsvc.protocol.email_address import check_domain, normal_form
from authsvc.protocol.errors import ValidationFailed
from authsvc.protocol.roles import check_roles
from authsvc.settings import Settings
from authsvc.store.database import Database
from authsvc.store.users import NewUser
from authsvc_client.tokens import json_object

MEMBERS = ("email", "password_hash", "roles", "created_at", "disabled")
SHOWN = 20  # bad lines; a file in a wrong form has nothing else
LONG = 10_000  # lines, which take half a second to check


class _BadLineError(Exception):
    """What is wrong with one line; never holds its hash."""


def import_file(settings: Settings, file: Path, *, skip_existing: bool) -> None:
    """
    Import a file and say what became of it.

    Raises:
        OperatorError: Some lines are bad, or name addresses that are taken; nothing was imported.
    """
    rows = _lines(file)
    if len(rows) > LONG:
        typer.echo(f"Checking {len(rows)} lines", err=True)
    accounts, lines = _read(rows, file, settings)
    report = progress(lambda done: f"{done} of {len(accounts)} accounts")

    async def act(db: Database) -> Imported:
        return await import_accounts(db, accounts, skip_existing=skip_existing, on_progress=report)

    try:
        done = with_database(settings, act)
    except AddressesTaken as exc:
        problems = [f"{file}:{lines[email]}: {email} has an account" for email in exc.emails]
        raise OperatorError(
            _listing(problems, "nothing was imported; skip existing accounts with --skip-existing")
        ) from exc
    skipped = f", {len(done.skipped)} skipped" if done.skipped else ""
    typer.echo(f"Imported {plural(done.created, 'account')}{skipped}.")


def _lines(file: Path) -> list[bytes]:
    try:
        data = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as exc:
        raise OperatorError(f"{file}: cannot be read ({exc.strerror})") from exc
    return data.removeprefix(b"\xef\xbb\xbf").split(b"\n")


def _read(
    lines: Sequence[bytes], file: Path, settings: Settings
) -> tuple[list[NewUser], dict[str, int]]:
    """The accounts, and in which line each address stands."""
    accounts: list[NewUser] = []
    found: dict[str, int] = {}
    problems = []
    now = datetime.now(UTC)
    limit = WorkLimit(
        settings.hash_memory_budget_mib, settings.argon2_memory_kib, settings.argon2_time
    )
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            account = _account(line, limit=limit, public_only=settings.public_email_only, now=now)
            earlier = found.setdefault(account.email, number)
            if earlier != number:
                raise _BadLineError(f"email: is the same as in line {earlier}")
        except _BadLineError as exc:
            problems.append(f"{file}:{number}: {exc}")
        else:
            accounts.append(account)
    if problems:
        raise OperatorError(_listing(problems, "nothing was imported"))
    if not accounts:
        raise OperatorError(f"{file}: holds no accounts")
    return accounts, found


def _account(line: bytes, *, limit: WorkLimit, public_only: bool, now: datetime) -> NewUser:
    try:
        row = json_object.decode(line)
    except ValueError as exc:
        cause = "is not a JSON object of UTF-8 without duplicate members"
        raise _BadLineError(cause) from exc
    strange = sorted(set(row) - set(MEMBERS))
    if strange:
        raise _BadLineError(f"{strange[0]!a}: is unknown; known are {', '.join(MEMBERS)}")
    email, password_hash = row.get("email"), row.get("password_hash")
    roles, disabled = row.get("roles", []), row.get("disabled", False)
    if not isinstance(email, str):
        raise _BadLineError("email: is missing or not a string")
    if not isinstance(password_hash, str):
        raise _BadLineError("password_hash: is missing or not a string")
    if not isinstance(roles, list) or not all(isinstance(role, str) for role in roles):
        raise _BadLineError("roles: is not a list of strings")
    if not isinstance(disabled, bool):
        raise _BadLineError("disabled: is neither true nor false")
    unusable = why_unusable(password_hash, limit)
    if unusable:
        raise _BadLineError(f"password_hash: {unusable}")
    try:
        check_roles(roles)
        address = normal_form(email)
        if public_only:
            check_domain(address)
    except ValidationFailed as exc:
        (error,) = exc.errors
        raise _BadLineError(f"{error.loc[-1]}: {error.msg}") from exc
    return NewUser(
        email=address,
        password_hash=password_hash,
        roles=tuple(roles),
        created_at=_moment(row["created_at"], now) if "created_at" in row else None,
        disabled=disabled,
    )


def _moment(value: object, now: datetime) -> datetime:
    moment = None
    if isinstance(value, str):
        with suppress(ValueError):
            moment = datetime.fromisoformat(value)
    if moment is None or moment.tzinfo is None:
        raise _BadLineError("created_at: write it with its time zone, as in 2026-11-22T10:00:00Z")
    if moment > now:
        raise _BadLineError("created_at: is in the future")
    return moment.astimezone(UTC)


def _listing(problems: list[str], verdict: str) -> str:
    shown = problems[:SHOWN]
    if len(problems) > SHOWN:
        shown.append(f"and {len(problems) - SHOWN} lines more")
    return "\n".join([*shown, f"{plural(len(problems), 'bad line')}: {verdict}"])
