"""Why the embedded PostgreSQL does not start, in words for the user who started it."""

from __future__ import annotations

from authsvc.operator_errors import OperatorError


class EmbeddedPostgresError(OperatorError):
    """What is wrong and what to do about it, on one line."""


class DataDirUnwritableError(EmbeddedPostgresError):
    """The data directory cannot be created or written."""
