"""How `authsvc keys` words and lays out what it shows."""

from __future__ import annotations

from authsvc.cli.console import timestamp
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


def rows(keys: tuple[ListedKey, ...]) -> list[tuple[str, ...]]:
    """A table for people, with its headings."""
    headings = ("STATE", "KIND", "ACTIVE FROM", "NEEDED UNTIL", "KEY ID", "FILE")
    return [headings, *map(_row, keys)]


def _row(key: ListedKey) -> tuple[str, ...]:
    return (
        key.state if key.private else f"{key.state} (public half)",
        key.kind,
        timestamp(key.activation),
        timestamp(key.until) if key.until else "-",
        key.key_id or "-",
        key.file,
    )


def as_json(key: ListedKey) -> dict[str, object]:
    """One key of `keys list --json`."""
    return {
        "file": key.file,
        "kind": key.kind,
        "kid" if key.kind == "signing" else "key_id": key.key_id,
        "state": key.state,
        "activation": key.activation,
        "published_until" if key.kind == "signing" else "needed_until": key.until,
        "bits": key.bits,
        "private": key.private,
        "problem": str(key.problem) if key.problem else None,
    }
