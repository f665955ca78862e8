"""
The development server: a real PostgreSQL from a wheel, for `make run` and the tests.

It needs no installation and no configuration, keeps its data in one directory, listens on a
socket that only its user reaches, and ends with the process that started it.
"""

from __future__ import annotations

from authsvc.embedded_postgres.errors import DataDirUnwritableError, EmbeddedPostgresError
from authsvc.embedded_postgres.server import EmbeddedPostgres, running_url, start, start_temporary

__all__ = [
    "DataDirUnwritableError",
    "EmbeddedPostgres",
    "EmbeddedPostgresError",
    "running_url",
    "start",
    "start_temporary",
]
