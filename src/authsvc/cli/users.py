"""`authsvc users`: the accounts, as the person sees them who runs the service."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated, TypeVar
from uuid import UUID

import typer

from authsvc.cli.console import (
    confirm,
    new_password,
    print_json,
    print_table,
    timestamp,
)
from authsvc.cli.database import sessions_ended, with_database
from authsvc.cli.group import Json, group
from authsvc.cli.import_file import import_file
from authsvc.flows import accounts, administer_sessions
from authsvc.keys.foreign_hashes import parameters_of
from authsvc.keys.password_blocklist import blocked_passwords
from authsvc.keys.passwords import PasswordHasher
from authsvc.protocol.email_address import check_domain, normal_form
from authsvc.protocol.errors import EmailTaken, NotFound
from authsvc.protocol.roles import check_roles
from authsvc.settings import Settings
from authsvc.store.database import Database
from authsvc.store.tables import User
from authsvc_client.tokens.secret import Secret

T = TypeVar("T")

app = group()

TheUser = Annotated[str, typer.Argument(metavar="USER", help="E-mail address or id.")]
PasswordStdin = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from standard input.")
]


@app.command(epilog="Example: authsvc users create alice@example.com --role admin")
def create(
    email: Annotated[str, typer.Argument(metavar="EMAIL", help="E-mail address.")],
    *,
    role: Annotated[list[str] | None, typer.Option(help="A role; repeat it for more.")] = None,
    password_stdin: PasswordStdin = False,
    json_wanted: Json = False,
) -> None:
    """Create an account; asks for its password."""
    settings = Settings.load()

    async def look(db: Database) -> None:
        # What is wrong without a password is said before one is asked for.
        check_roles(role or ())
        if settings.public_email_only:
            check_domain(normal_form(email))
        with suppress(NotFound):
            await accounts.find_account(db, email)
            raise EmailTaken

    async def act(db: Database) -> User:
        return await accounts.create_account(
            db,
            hasher_of(settings),
            email=email,
            password=password,
            blocked=blocked_passwords(),
            roles=role or (),
        )

    with_database(settings, look)
    password = Secret(new_password(from_stdin=password_stdin))
    user = with_database(settings, act)
    if json_wanted:
        print_json(_as_json(user))
    else:
        with_roles = f" with the roles {' '.join(user.roles)}" if user.roles else ""
        typer.echo(f"Created {user.email} ({user.id}){with_roles}.")


@app.command("list", epilog="Example: authsvc users list --limit 20 --after alice@example.com")
def list_users(
    *,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 100,
    after: Annotated[str, typer.Option(help="The last address of the previous page.")] = "",
    json_wanted: Json = False,
) -> None:
    """List accounts in the order of their addresses."""
    page = with_database(
        Settings.load(), lambda db: accounts.list_accounts(db, limit=limit + 1, after=after)
    )
    users = page[:limit]
    following = users[-1].email if len(page) > limit else None
    if json_wanted:
        print_json({"users": [_as_json(user) for user in users], "next": following})
        return
    if not users:
        typer.echo("No accounts." if not after else "No more accounts.")
        return
    rows = [("EMAIL", "ID", "CREATED", "STATE", "ROLES")]
    rows += [
        (
            user.email,
            str(user.id),
            timestamp(user.created_at),
            "disabled" if user.disabled_at else "active",
            " ".join(user.roles),
        )
        for user in users
    ]
    print_table(rows)
    if following:
        typer.echo(f"There are more: authsvc users list --after {following}", err=True)


@app.command(epilog="Example: authsvc users show alice@example.com --json")
def show(user: TheUser, *, json_wanted: Json = False) -> None:
    """Show one account; its password hash is never shown."""
    found, sessions = with_account(Settings.load(), user, administer_sessions.count_sessions)
    parameters = parameters_of(found.password_hash)
    if json_wanted:
        print_json({**_as_json(found), "sessions": sessions, "password_hashing": parameters})
        return
    disabled = timestamp(found.disabled_at) if found.disabled_at else "no"
    for name, value in (
        ("e-mail", found.email),
        ("id", str(found.id)),
        ("roles", " ".join(found.roles) or "none"),
        ("created", timestamp(found.created_at)),
        ("password set", f"{timestamp(found.password_changed_at)} ({parameters})"),
        ("disabled", disabled),
        ("sessions", str(sessions)),
    ):
        typer.echo(f"{name:<14}{value}")


@app.command(epilog="Example: authsvc users disable alice@example.com")
def disable(user: TheUser) -> None:
    """End every session of an account at once and refuse its logins."""
    found, done = with_account(Settings.load(), user, accounts.disable_account)
    ended = sessions_ended(done.ended)
    if done.changed:
        typer.echo(f"Disabled {found.email}; {ended} ended.")
    else:
        typer.echo(f"{found.email} was disabled already; {ended} ended.")


@app.command(epilog="Example: authsvc users enable alice@example.com")
def enable(user: TheUser) -> None:
    """Let a disabled account log in again; its old sessions stay ended."""
    found, done = with_account(Settings.load(), user, accounts.enable_account)
    typer.echo(f"Enabled {found.email}." if done.changed else f"{found.email} is not disabled.")


@app.command(epilog="Example: authsvc users delete alice@example.com --yes")
def delete(
    user: TheUser, *, yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False
) -> None:
    """Delete an account with its sessions; its audit trail stays."""
    settings = Settings.load()
    found = with_database(settings, lambda db: accounts.find_account(db, user))
    confirm(
        f"Delete {found.email} ({found.id}) and all its sessions? This cannot be undone.", yes=yes
    )
    done = with_database(settings, lambda db: accounts.delete_account(db, found.id))
    typer.echo(f"Deleted {found.email} ({found.id}); {sessions_ended(done.ended)} ended.")


@app.command("set-roles", epilog="Example: authsvc users set-roles alice@example.com admin billing")
def set_roles(
    user: TheUser,
    roles: Annotated[
        list[str] | None,
        typer.Argument(metavar="ROLE", help="All roles that it should have; none removes all."),
    ] = None,
) -> None:
    """Replace the roles of an account."""
    settings = Settings.load()
    found, done = with_account(
        settings, user, lambda db, user_id: accounts.set_account_roles(db, user_id, roles or ())
    )
    named = " ".join(sorted(set(roles or ()))) or "none"
    if not done.changed:
        typer.echo(f"{found.email} has these roles already: {named}.")
        return
    typer.echo(
        f"{found.email} now has the roles: {named}. Access tokens carry them from the next "
        f"refresh on, within {int(settings.access_ttl.total_seconds())} s; /auth/verify and "
        "verifiers that follow the revocation feed ask for it at once."
    )


@app.command("set-password", epilog="Example: authsvc users set-password alice@example.com")
def set_password(user: TheUser, *, password_stdin: PasswordStdin = False) -> None:
    """Set a new password for an account and end all its sessions."""
    settings = Settings.load()

    async def act(db: Database) -> accounts.Changed:
        return await accounts.set_account_password(
            db, hasher_of(settings), found, password=password, blocked=blocked_passwords()
        )

    found = with_database(settings, lambda db: accounts.find_account(db, user))
    password = Secret(new_password(from_stdin=password_stdin))
    done = with_database(settings, act)
    typer.echo(f"{found.email} has a new password; {sessions_ended(done.ended)} ended.")


@app.command("import", epilog="Example: authsvc users import users.jsonl --skip-existing")
def import_users(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="JSON lines, UTF-8; - is standard input.")
    ],
    *,
    skip_existing: Annotated[
        bool,
        typer.Option("--skip-existing", help="Leave existing accounts unchanged, and continue."),
    ] = False,
) -> None:
    """
    Import accounts with their argon2 hashes: the whole file, or nothing.

    One JSON object a line: email, password_hash (PHC), and optionally roles, created_at and
    disabled.
    """
    import_file(Settings.load(), file, skip_existing=skip_existing)


def with_account(
    settings: Settings, user: str, act: Callable[[Database, UUID], Awaitable[T]]
) -> tuple[User, T]:
    """Run one act on the account that a command names, as `with_database` does."""

    async def on_account(db: Database) -> tuple[User, T]:
        found = await accounts.find_account(db, user)
        return found, await act(db, found.id)

    return with_database(settings, on_account)


def hasher_of(settings: Settings) -> PasswordHasher:
    """With one thread, since a command hashes one password at a time."""
    return PasswordHasher(
        settings.argon2_memory_kib,
        settings.argon2_time,
        settings.argon2_parallelism,
        threads=1,
        memory_budget_mib=settings.hash_memory_budget_mib,
        queue_seconds=settings.hash_queue_seconds,
    )


def _as_json(user: User) -> dict[str, object]:
    shown = {"id", "email", "roles", "created_at", "password_changed_at", "disabled_at"}
    return user.model_dump(include=shown)
