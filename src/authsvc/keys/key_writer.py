"""
Create, replace and remove files in a key directory so that no reader sees half of one.

A file is written under a hidden name, flushed to disk and then linked: it appears whole or not
at all, and never over another. All writers of one directory take turns.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from authsvc.keys.key_files import (
    DIRECTORY_MODE,
    KeyDirectoryError,
    no_directory,
    parse_name,
)
from authsvc.trusted_path import open_directory
from authsvc_client.private_file import temporary

TEMPORARY = ".authsvc-"
# File systems without hard links: FAT, some network and desktop-VM mounts.
NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


def make_directory(path: Path) -> None:
    """
    Make a key directory, 0700, if it is missing: for the first keys only.

    Else a command in another working directory would make a second one, which no service reads.

    Raises:
        KeyDirectoryError: It cannot be created.
    """
    try:
        with open_directory(path, mode=DIRECTORY_MODE):
            pass
    except OSError as exc:
        raise _not_writable(path, exc) from exc


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """
    Hold the right to write a key directory.

    Raises:
        KeyDirectoryError: It is not there, or cannot be written.
    """
    with ExitStack() as opened:
        try:
            directory = opened.enter_context(open_directory(path)).descriptor
        except FileNotFoundError as exc:
            raise KeyDirectoryError(no_directory(path, exc)) from exc
        except OSError as exc:
            raise _not_writable(path, exc) from exc
        try:
            _close_to_others(directory)
            # Network file systems without locks: the links alone still keep files whole.
            with suppress(OSError):
                fcntl.flock(directory, fcntl.LOCK_EX)
            yield
            with suppress(OSError):
                os.fsync(directory)
        except OSError as exc:
            raise _not_writable(path, exc) from exc


def create(path: Path, content: bytes) -> bool:
    """
    Create a file of mode 0600; only within `writing`.

    Returns:
        Whether it was created; False if there is one of that name.
    """
    with temporary(path, content, prefix=TEMPORARY) as written:
        try:
            os.link(written, path)
        except FileExistsError:
            return False
        except OSError as exc:
            if exc.errno not in NO_LINKS:
                raise
            if path.exists():
                return False
            written.rename(path)
    return True


def replace(path: Path, content: bytes) -> None:
    """Put other content under an existing name, at once; only within `writing`."""
    with temporary(path, content, prefix=TEMPORARY) as written:
        written.replace(path)


def leftovers(path: Path) -> list[Path]:
    """Hidden files of writers that were killed; only within `writing`, so of no running one."""
    return [entry for entry in path.iterdir() if entry.name.startswith(TEMPORARY)]


def _close_to_others(directory: int) -> None:
    """
    Make the directory 0700, if it is ours and holds nothing but keys.

    A KEYS_DIR that was set to some shared directory by mistake must not be locked up.
    """
    found = os.fstat(directory)
    if not found.st_mode & 0o077 or found.st_uid != os.geteuid():
        return
    if all(parse_name(name) or name.startswith((".", "README")) for name in os.listdir(directory)):
        os.fchmod(directory, DIRECTORY_MODE)


def _not_writable(path: Path, exc: OSError) -> KeyDirectoryError:
    return KeyDirectoryError(
        f"{path}: the key directory cannot be written ({exc.strerror}); do this where it can "
        "be, as the user that owns it"
    )
