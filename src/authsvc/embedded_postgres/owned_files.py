"""Files in directories of a lesser account: opened by root without following its symlinks."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from authsvc.embedded_postgres.errors import EmbeddedPostgresError

MAX_SIZE = 65_536  # bytes; those that we read have a few lines


def open_owned(
    path: Path, *, owner: int, flags: int = os.O_RDONLY, directory: int | None = None
) -> int:
    """
    Open a regular file that belongs to `owner`; the descriptor is the caller's to close.

    The owner is checked as well as O_NOFOLLOW, since a hard link is no symlink; O_NONBLOCK,
    since a FIFO would hang us.

    Args:
        directory: Its directory, open: that of the path may be another by now.

    Raises:
        FileNotFoundError: There is none.
        EmbeddedPostgresError: Something else has its name.
    """
    planted = EmbeddedPostgresError(
        f"{path} is not a file of its database: something else was put there. Find out "
        "by whom, and remove it."
    )
    try:
        flags |= os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        name = path if directory is None else path.name
        descriptor = os.open(name, flags, 0o600, dir_fd=directory)
    except OSError as exc:
        # FreeBSD says EMLINK, and a FIFO without a reader ENXIO.
        if exc.errno in {errno.ELOOP, errno.EMLINK, errno.ENXIO, errno.EISDIR}:
            raise planted from None
        raise
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_uid != owner:
        os.close(descriptor)
        raise planted
    return descriptor


def read_owned(path: Path, *, owner: int) -> str:
    """Read a file as `open_owned` opens it."""
    descriptor = open_owned(path, owner=owner)
    with os.fdopen(descriptor, errors="replace") as file:
        return file.read(MAX_SIZE)
