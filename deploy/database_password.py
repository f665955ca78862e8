#!/usr/bin/env python3
"""
Make a random database password at the first `docker compose up`, and keep it.

Two files in the directory named by the first argument: `password`, which the postgres image
reads, and `pgpass`, which PostgreSQL's clients read (`?passfile=` in AUTHSVC_DATABASE_URL). They
live in a volume that only those containers mount, so no password stands in a file of the
repository, in the environment or in `docker inspect`.
"""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path

# The user of the postgres image is neither ours nor in our group; others do not mount the volume.
PASSWORD_MODE = 0o444
# Clients ignore a pgpass file that anybody else can read (libpq and asyncpg alike).
PGPASS_MODE = 0o600


def main(directory: Path) -> None:
    """Write what is missing; a password that exists is the database's and stays."""
    password = directory / "password"
    if not password.exists():
        # Letters, digits, - and _: nothing that a pgpass file or a URL would have to escape.
        _write(password, secrets.token_urlsafe(32), PASSWORD_MODE)
    _write(directory / "pgpass", f"*:*:*:*:{password.read_text().strip()}", PGPASS_MODE)


def _write(path: Path, line: str, mode: int) -> None:
    """Put a file in its place whole: a start that was interrupted must not leave half of one."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(f"{line}\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.chmod(mode)
    temporary.replace(path)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
