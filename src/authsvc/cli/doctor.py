"""`authsvc doctor`: look at everything, change nothing, say what to do next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import typer

from authsvc.cli.console import plural, print_json
from authsvc.cli.group import Json

if TYPE_CHECKING:
    from authsvc.cli.diagnosis.finding import Finding

COLOURS = {"ok": "green", "info": "cyan", "warning": "yellow", "error": "red"}


def doctor(
    *,
    json_wanted: Json = False,
) -> None:
    """
    Examine configuration, keys, database, browser settings and password hashing.

    Exit code 1 if there is an error, else 0; every finding has an id that does not change.
    """
    findings = list(_examine())
    counts = Counter(str(finding.severity) for finding in findings)
    if json_wanted:
        print_json(
            {
                "findings": [_as_json(finding) for finding in findings],
                "counts": {name: counts[name] for name in COLOURS},
            }
        )
    else:
        for finding in findings:
            _print(finding)
        named = ", ".join(plural(counts[name], name) for name in ("error", "warning"))
        typer.echo(f"{named}.")
    raise typer.Exit(1 if counts["error"] else 0)


def _examine() -> Iterator[Finding]:
    from authsvc.cli.diagnosis import (  # noqa: PLC0415 - see cli/main.py
        configuration,
        database,
        key_files,
        passwords,
        web,
    )

    settings, findings = configuration.load()
    yield from findings
    if settings is None:
        return
    yield from configuration.examine(settings)
    yield from key_files.examine(settings, now=datetime.now(UTC))
    yield from database.examine(settings)
    yield from web.examine(settings)
    yield from passwords.examine(settings)


def _print(finding: Finding) -> None:
    severity = typer.style(f"{finding.severity:<8}", fg=COLOURS[finding.severity])
    typer.echo(f"{severity} {finding.full_id}  {finding.title}: {finding.found}")
    if finding.next_step:
        typer.echo(f"{'':<25} → {finding.next_step}")


def _as_json(finding: Finding) -> dict[str, str]:
    return {
        "id": finding.full_id,
        "severity": finding.severity,
        "title": finding.title,
        "found": finding.found,
        "next": finding.next_step,
    }
