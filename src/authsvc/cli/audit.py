"""`authsvc audit`: who logged in, what was refused, what operators did."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated
from uuid import UUID

import typer

from authsvc.cli.console import plural, print_json, print_table, printable, progress, timestamp
from authsvc.cli.database import with_database
from authsvc.cli.group import Json, group
from authsvc.flows import accounts, administer_audit
from authsvc.protocol.audit import AuditEvent, AuditFilter
from authsvc.settings import Settings
from authsvc.store.database import Database
from authsvc.store.tables import AuditRecord

DETAILS_WIDTH = 60  # characters of them in a table; --json has all
SPAN = re.compile(r"([0-9]{1,5})([smhd])")
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}

app = group()


def moment(text: str) -> datetime:
    """
    A moment such as `2026-11-22`, `2026-11-22T10:00:00Z`, or `36h` for so long ago.

    Raises:
        typer.BadParameter: It is none of them.
    """
    if ago := SPAN.fullmatch(text):
        return datetime.now(UTC) - timedelta(**{UNITS[ago[2]]: int(ago[1])})
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(
            "write a moment such as 2026-11-22, 2026-11-22T10:00:00Z, or 36h (7d, 15m) ago"
        ) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


User = Annotated[str | None, typer.Option(help="Only about this user: e-mail, or an id.")]
Session = Annotated[UUID | None, typer.Option(help="Only about this session.")]
Event = Annotated[
    list[AuditEvent] | None, typer.Option(help="Only this event; may be repeated.", metavar="EVENT")
]
Since = Annotated[
    datetime | None,
    typer.Option(parser=moment, metavar="MOMENT", help="From then on: a date, a moment, or 24h."),
]
Until = Annotated[
    datetime | None,
    typer.Option(parser=moment, metavar="MOMENT", help="Before then, written as for --since."),
]


@app.command("list", epilog="Example: authsvc audit list --user alice@example.com --since 7d")
def list_records(
    *,
    user: User = None,
    session: Session = None,
    event: Event = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 100,
    after: Annotated[
        UUID | None, typer.Option(help="The last record of the previous page.")
    ] = None,
    json_wanted: Json = False,
) -> None:
    """List records of the audit trail, newest first."""

    async def act(db: Database) -> Sequence[AuditRecord]:
        wanted = AuditFilter(await _user_id(db, user), session, tuple(event or ()), since, until)
        return await administer_audit.list_records(db, wanted=wanted, limit=limit + 1, after=after)

    page = with_database(Settings.load(), act)
    shown = page[:limit]
    following = str(shown[-1].id) if len(page) > limit else None
    if json_wanted:
        print_json({"records": [_as_json(record) for record in shown], "next": following})
        return
    if not shown:
        typer.echo("No records." if after is None else "No more records.")
        return
    print_table([("AT", "EVENT", "USER", "SESSION", "IP", "DETAILS"), *map(_row, shown)])
    if following:
        typer.echo(
            f"There are more: repeat the command with --after {following}",
            err=True,
        )


@app.command(
    epilog="Example: authsvc audit export --since 2026-11-01 --until 2026-12-01 > 11.jsonl"
)
def export(
    *,
    user: User = None,
    session: Session = None,
    event: Event = None,
    since: Since = None,
    until: Until = None,
) -> None:
    """
    Write records of the audit trail as JSON Lines, oldest first.

    Repeat it with --since the last `at`; records of that second come again, with the same `id`.
    """
    say = progress(lambda done: f"{done} records so far")

    async def act(db: Database) -> int:
        wanted = AuditFilter(await _user_id(db, user), session, tuple(event or ()), since, until)
        count = 0
        async for record in administer_audit.export_records(db, wanted=wanted):
            typer.echo(json.dumps(_as_json(record)))
            count += 1
            say(count)
        return count

    count = with_database(Settings.load(), act)
    typer.echo(f"Exported {plural(count, 'record')}.", err=True)


async def _user_id(db: Database, identifier: str | None) -> UUID | None:
    """The id of a user; one that was deleted has no address any more, but a trail."""
    if identifier is None:
        return None
    try:
        return UUID(identifier)
    except ValueError:
        return (await accounts.find_account(db, identifier)).id


def _row(record: AuditRecord) -> tuple[str, ...]:
    details = json.dumps(record.details, ensure_ascii=False) if record.details else ""
    return (
        timestamp(record.at),
        record.event,
        str(record.user_id or ""),
        str(record.family_id or ""),
        record.ip or "",
        printable(details, DETAILS_WIDTH),
    )


def _as_json(record: AuditRecord) -> dict[str, object]:
    return {
        "id": str(record.id),
        "at": record.at.astimezone(UTC).isoformat(),
        "event": record.event,
        "user_id": str(record.user_id) if record.user_id else None,
        "session_id": str(record.family_id) if record.family_id else None,
        "ip": record.ip,
        "user_agent": record.user_agent,
        "request_id": record.request_id,
        "details": record.details,
    }
