"""The settings, for commands."""

from __future__ import annotations

from authsvc.cli.errors import CommandError
from authsvc.settings import Settings, SettingsError


def load_settings() -> Settings:
    """
    Read the environment and `.env`.

    Raises:
        CommandError: A value is bad; one line for each.
    """
    try:
        return Settings.load()
    except SettingsError as exc:
        raise CommandError(str(exc)) from None
