"""Private files: written by this user only, replaced atomically (POSIX)."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


class NotPrivate(Exception):  # noqa: N818 - read as a sentence: raise NotPrivate
    """Another user could have written the file, or it is too large; the text says which."""


def read(path: Path, *, at_most: int) -> bytes:
    """
    The content of a plain file that only this user, or root, can write.

    Args:
        at_most: Bytes.

    Raises:
        NotPrivate: It is none.
        OSError: It cannot be read; FileNotFoundError if it is not there.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise NotPrivate("it is no plain file")
        if found.st_uid not in {os.geteuid(), 0} or found.st_mode & OTHERS_WRITE:
            raise NotPrivate("others than this user could have written it")
        content = file.read(at_most + 1)
    if len(content) > at_most:
        raise NotPrivate(f"it is larger than {at_most} bytes")
    return content


def replace(path: Path, content: bytes) -> None:
    """
    Write a file of mode 0600, which appears whole and on disk, or not at all.

    Its directory is made, 0700, if it is missing.

    Raises:
        OSError: It cannot be written; the old content is still there.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with temporary(path, content, prefix=f".{path.name}.") as written:
        written.replace(path)
    flush_directory(path.parent)


@contextmanager
def temporary(path: Path, content: bytes, *, prefix: str) -> Iterator[Path]:
    """
    A file of mode 0600 beside `path`, flushed to the disk; removed at the end if it is there.

    Raises:
        OSError: It cannot be written.
    """
    written = path.with_name(f"{prefix}{secrets.token_hex(8)}")
    try:
        descriptor = os.open(written, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        yield written
    finally:
        with suppress(OSError):
            written.unlink(missing_ok=True)


def flush_directory(path: Path) -> None:
    """Bring a rename or a removal to the disk, where the file system can."""
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
