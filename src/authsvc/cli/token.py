"""`authsvc token inspect`: what a token says, and what a verifier would say to it."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Annotated

import typer

from authsvc.cli.console import print_json, printable
from authsvc.cli.group import Json, group
from authsvc.cli.token_checks import date
from authsvc.cli.token_explained import Explanation, explain
from authsvc.cli.token_keys import keys_of_directory, keys_of_jwks
from authsvc.cli.token_session import ask_database
from authsvc.settings import Settings

STDIN = "-"
MARKS = {True: "ok", False: "REFUSED", None: "unknown"}

app = group()


@app.command(epilog="Example: authsvc token inspect - --audience orders < token.txt")
def inspect(
    token: Annotated[
        str,
        typer.Argument(
            metavar="TOKEN",
            help="An access or refresh token; - reads standard input, which keeps it out of the "
            "shell's history.",
        ),
    ],
    *,
    audience: Annotated[
        str | None, typer.Option(help="The verifier's own name; by default AUTHSVC_AUDIENCE.")
    ] = None,
    issuer: Annotated[
        str | None, typer.Option(help="The issuer it trusts; by default AUTHSVC_ISSUER.")
    ] = None,
    jwks: Annotated[
        str | None,
        typer.Option(
            help="URL or file of the keys it trusts; by default those of AUTHSVC_KEYS_DIR."
        ),
    ] = None,
    session: Annotated[
        bool,
        typer.Option("--session", help="Also ask the database about its session, or its client."),
    ] = False,
    json_wanted: Json = False,
) -> None:
    """
    Decode a token and say what a verifier would accept or refuse, and why.

    Exit code 0 if it would be accepted, else 1. Prints nothing secret, and changes nothing: a
    refresh token can still be used afterwards.
    """
    settings = Settings.load()
    now = datetime.now(UTC)
    explanation = explain(
        _presented(token),
        keys=keys_of_jwks(jwks) if jwks else keys_of_directory(settings, now=now),
        issuer=issuer or settings.issuer,
        audience=audience or settings.audience,
        now=now,
    )
    if session:
        asked = ask_database(settings, explanation)
        explanation = replace(explanation, checks=(*explanation.checks, *asked))
    if json_wanted:
        print_json(
            {
                "kind": explanation.kind,
                "accepted": explanation.accepted,
                "summary": explanation.summary,
                "header": explanation.header,
                "claims": explanation.claims,
                "checks": [asdict(check) for check in explanation.checks],
            }
        )
    else:
        _print(explanation, now)
    raise typer.Exit(0 if explanation.accepted else 1)


def _presented(token: str) -> str:
    text = (sys.stdin.read() if token == STDIN else token).strip()
    scheme, _, rest = text.partition(" ")
    return rest.strip() if scheme.lower() == "bearer" else text


def _print(explanation: Explanation, now: datetime) -> None:
    for title, members in (("Header", explanation.header), ("Claims", explanation.claims)):
        if members is None:
            continue
        typer.echo(f"{title}, not verified until the checks below:")
        for name, value in members.items():
            when = date(name, value, now)
            typer.echo(f"  {printable(name):<12}{json.dumps(value)}{f'  {when}' if when else ''}")
    typer.echo("Checks:")
    for check in explanation.checks:
        typer.echo(f"  {MARKS[check.passed]:<8} {check.name} {check.words}")
    typer.echo(explanation.summary)
