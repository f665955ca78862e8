"""How `authsvc keys` words and lays out what it shows."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from authsvc.keys.inventory import ListedKey


def what_breaks(state: str, *, kind: str) -> str:
    """What a revocation does to others."""
    if state in {"signing", "retired"} and kind == "signing":
        return (
            "Every access token that it signed is refused from now on; clients get another "
            "with their refresh token. Other services trust it until they fetch the JWKS "
            "again: up to 15 minutes."
        )
    if state in {"sealing", "retired"}:
        return (
            "Every session whose newest refresh token it sealed has ended: those users must log in "
            "again. Access tokens stay valid until they expire; after a leak end them with "
            "`authsvc sessions revoke --all`."
        )
    return "It was not in use, so nothing else changes."


def table(keys: tuple[ListedKey, ...]) -> str:
    """Aligned columns for people."""
    rows = [("STATE", "KIND", "ACTIVE FROM", "NEEDED UNTIL", "KEY ID", "FILE")]
    for key in keys:
        half = "" if key.private else " (public half)"
        until = text(key.until) if key.until else "-"
        rows.append(
            (
                f"{key.state}{half}",
                key.kind,
                text(key.activation),
                until,
                key.key_id or "-",
                key.file,
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def as_json(key: ListedKey) -> dict[str, object]:
    """One key of `keys list --json`."""
    return {
        "file": key.file,
        "kind": key.kind,
        "kid" if key.kind == "signing" else "key_id": key.key_id,
        "state": key.state,
        "activation": text(key.activation),
        "published_until" if key.kind == "signing" else "needed_until": (
            text(key.until) if key.until else None
        ),
        "bits": key.bits,
        "private": key.private,
        "problem": str(key.problem) if key.problem else None,
    }


def text(moment: datetime) -> str:
    """RFC 3339, in UTC and whole seconds."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
