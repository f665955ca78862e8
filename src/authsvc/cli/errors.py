"""How a command refuses."""

from __future__ import annotations

from authsvc.operator_errors import OperatorError


class CommandError(OperatorError):
    """Refused or failed: one clear line for stderr; exit code 1."""
