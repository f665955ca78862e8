"""The key directory that the settings name, for commands."""

from __future__ import annotations

from datetime import datetime

from authsvc.keys.inventory import Inventory, take_inventory
from authsvc.settings import Settings


def inventory_of(settings: Settings, *, now: datetime, repairs: bool = False) -> Inventory:
    """
    Every key with its state.

    Args:
        repairs: Restrict private files that others can read, for commands that tell of it.

    Raises:
        KeyDirectoryError: The directory cannot be read.
    """
    return take_inventory(
        settings.keys_dir,
        now=now,
        passphrase=passphrase_of(settings),
        refresh_absolute_ttl=settings.refresh_absolute_ttl,
        repairs=repairs,
    )


def passphrase_of(settings: Settings) -> str | None:
    """Of encrypted signing keys."""
    return settings.keys_passphrase.get_secret_value() if settings.keys_passphrase else None
