"""What is said of bad settings."""

from __future__ import annotations

from pydantic import ValidationError

PREFIX = "AUTHSVC_"


class SettingsError(Exception):
    """One line per bad setting: its name, what is wrong, what to write instead."""


def explain(exc: ValidationError) -> list[str]:
    """One line per bad value; values are never repeated, since some are secrets."""
    lines = []
    for error in exc.errors(include_input=False, include_url=False):
        message = error["msg"].removeprefix("Value error, ")
        if not error["loc"]:
            lines += message.split("\n")
            continue
        name = str(error["loc"][0])
        if not name.upper().startswith(PREFIX) and name != "DATABASE_URL":
            name = PREFIX + name.upper()
        lines.append(f"{name}: {message}")
    return lines
