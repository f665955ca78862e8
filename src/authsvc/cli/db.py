"""`authsvc db`: the schema of the database."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from authsvc.cli.console import confirm, print_json
from authsvc.cli.database import database_url, open_database
from authsvc.cli.group import Json, group
from authsvc.operator_errors import OperatorError
from authsvc.settings import Settings
from authsvc.store import migrate, schema
from authsvc.store.schema import SCHEMA_REVISION, VERSION_TABLE, Schema

app = group()


@app.command(epilog="Example: authsvc db upgrade && authsvc serve")
def upgrade() -> None:
    """Bring the database to the schema that this authsvc needs; safe to run twice at once."""
    settings = Settings.load()
    before = _current(settings)
    if before.suffices and before.carried:
        typer.echo(f"The schema is {before.revision} already; nothing to do.")
        return
    if before.revision is not None and not before.ours:
        raise OperatorError(f"The database's schema {before.fault}.")
    asyncio.run(migrate.upgrade(database_url(settings)))
    after = _current(settings)
    if after.missing:
        raise OperatorError(f"The database's schema {after.fault}.")
    if after.revision == before.revision:
        typer.echo(f"The schema stays {after.revision}; the table {VERSION_TABLE} says so now.")
        return
    typer.echo(f"The schema was {before.revision or 'empty'} and is now {after.revision}.")


@app.command(epilog="Example: authsvc db current --check")
def current(
    *,
    check: Annotated[
        bool, typer.Option("--check", help="Exit with 1 unless this authsvc can run on it.")
    ] = False,
    json_wanted: Json = False,
) -> None:
    """Show the schema's revision, and the one that this authsvc needs."""
    schema = _current(Settings.load())
    found, needed, fits = schema.revision, SCHEMA_REVISION, schema.suffices
    if json_wanted:
        print_json({"revision": found, "needed": needed, "current": fits})
    elif fits and found == needed:
        typer.echo(f"{found} (what this authsvc needs)")
    elif fits:
        typer.echo(f"{found} (newer than the {needed} that this authsvc needs, and compatible)")
    elif schema.missing:
        typer.echo(f"{found} (but there is no table {', '.join(schema.missing)})")
    else:
        typer.echo(f"{found or 'empty'} (this authsvc needs {needed})")
    if check and not fits:
        raise OperatorError(f"The database's schema {schema.fault}.")


@app.command(epilog="Example: authsvc db downgrade base --yes")
def downgrade(
    revision: Annotated[
        str, typer.Argument(metavar="REVISION", help="A revision, or `base` to undo all.")
    ],
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Undo migrations; the tables and columns they added are deleted with their data."""
    settings = Settings.load()
    before = _current(settings).revision
    steps = migrate.undone(before, revision)
    if not steps:
        typer.echo(f"The schema is {before} already; nothing to do.")
        return
    typer.echo("This undoes, with all data in the tables and columns concerned:", err=True)
    for step in steps:
        typer.echo(f"  {step}", err=True)
    if revision == "base":
        typer.echo("Every account, session and audit record is lost.", err=True)
    confirm("Go on?", yes=yes)
    asyncio.run(migrate.downgrade(database_url(settings), revision))
    typer.echo(f"The schema was {before} and is now {_current(settings).revision or 'empty'}.")


def _current(settings: Settings) -> Schema:
    async def look() -> Schema:
        async with open_database(settings) as db:
            return await schema.current(db)

    return asyncio.run(look())
