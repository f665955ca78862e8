"""`authsvc sessions`: who is logged in, and the end of that."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Annotated
from uuid import UUID

import typer

from authsvc.cli.console import (
    confirm,
    plural,
    print_json,
    print_table,
    printable,
    progress,
    timestamp,
)
from authsvc.cli.database import sessions_ended, with_database
from authsvc.cli.group import Json, group
from authsvc.cli.users import with_account
from authsvc.flows import accounts, administer_sessions
from authsvc.settings import Settings
from authsvc.store.database import Database
from authsvc.store.tables import RefreshFamily

USER_AGENT_WIDTH = 40  # characters of it in a table; --json has all

app = group()


@app.command("list", epilog="Example: authsvc sessions list --user alice@example.com")
def list_sessions(
    *,
    user: Annotated[
        str | None, typer.Option(help="Only sessions of this user: e-mail or id.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 100,
    after: Annotated[
        UUID | None, typer.Option(help="The last session of the previous page.")
    ] = None,
    json_wanted: Json = False,
) -> None:
    """List live sessions, newest login first."""

    async def act(db: Database) -> Sequence[tuple[RefreshFamily, str]]:
        owner = (await accounts.find_account(db, user)).id if user else None
        return await administer_sessions.list_all_sessions(
            db, limit=limit + 1, user_id=owner, after=after
        )

    page = with_database(Settings.load(), act)
    shown = page[:limit]
    following = str(shown[-1][0].id) if len(page) > limit else None
    if json_wanted:
        entries = [_as_json(family, email) for family, email in shown]
        print_json({"sessions": entries, "next": following})
        return
    if not shown:
        typer.echo("No sessions." if after is None else "No more sessions.")
        return
    headings = ("ID", "USER", "CREATED", "LAST USED", "DELIVERY", "IP", "USER AGENT")
    print_table([headings, *(_row(family, email) for family, email in shown)])
    if following:
        same = f"--user {user} " if user else ""
        typer.echo(f"There are more: authsvc sessions list {same}--after {following}", err=True)


@app.command(epilog="Example: authsvc sessions revoke --all --reason restored")
def revoke(
    session: Annotated[
        UUID | None,
        typer.Argument(metavar="ID", help="The id of one session, from `sessions list`."),
    ] = None,
    *,
    user: Annotated[
        str | None, typer.Option(help="All sessions of this user: e-mail or id.")
    ] = None,
    everybody: Annotated[bool, typer.Option("--all", help="All sessions of all users.")] = False,
    reason: Annotated[
        str, typer.Option(help="The reason to record in the audit trail.")
    ] = "administrator",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before --all.")] = False,
) -> None:
    """
    End sessions at once: one, all of a user, or all of all users.

    After restoring a backup, run it with --all --reason restored before any traffic.
    """
    if sum((session is not None, user is not None, everybody)) != 1:
        raise typer.BadParameter("give either a session's ID, or --user, or --all")
    settings = Settings.load()

    administer_sessions.check_reason(reason)

    if session is not None:
        ended = with_database(
            settings, lambda db: administer_sessions.revoke_session(db, session, reason=reason)
        )
        typer.echo(f"Ended {session}." if ended else f"{session} had ended already.")
    elif user is not None:
        found, count = with_account(
            settings, user, partial(administer_sessions.revoke_user_sessions, reason=reason)
        )
        typer.echo(f"Ended {sessions_ended(count)} of {found.email}.")
    else:
        confirm("End all sessions of all users? Everyone has to log in again.", yes=yes)
        say = progress(lambda ended: f"{ended} ended so far")
        count = with_database(
            settings,
            lambda db: administer_sessions.revoke_everybody(db, reason=reason, on_progress=say),
        )
        typer.echo(f"Ended {plural(count, 'session')}.")


def _row(family: RefreshFamily, email: str) -> tuple[str, ...]:
    return (
        str(family.id),
        email,
        timestamp(family.created_at),
        timestamp(family.rotated_at),
        family.delivery,
        family.last_ip,
        printable(family.last_user_agent, USER_AGENT_WIDTH),
    )


def _as_json(family: RefreshFamily, email: str) -> dict[str, object]:
    """As GET /auth/sessions shows it, with what concerns administrators only."""
    return {
        "id": family.id,
        "user_id": family.user_id,
        "email": email,
        "created_at": family.created_at,
        "last_used_at": family.rotated_at,
        "idle_expires_at": family.idle_expires_at,
        "absolute_expires_at": family.absolute_expires_at,
        "delivery": family.delivery,
        "generation": family.generation,
        "ip": family.last_ip,
        "user_agent": family.last_user_agent,
        "login_ip": family.ip,
        "login_user_agent": family.user_agent,
    }
