"""The settings, for commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from authsvc.cli.errors import CommandError

if TYPE_CHECKING:
    from authsvc.settings import Settings


def load_settings() -> Settings:
    """
    Read the environment and `.env`.

    Raises:
        CommandError: A value is bad; one line for each.
    """
    from authsvc.settings import Settings, SettingsError  # noqa: PLC0415 - see cli/main.py

    try:
        return Settings.load()
    except SettingsError as exc:
        raise CommandError(str(exc)) from None
