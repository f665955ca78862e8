"""How a command refuses."""

from __future__ import annotations


class CommandError(Exception):
    """Refused or failed: one clear line for stderr; exit code 1."""
