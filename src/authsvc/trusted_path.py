"""The way to a directory: as root, over no link that a lesser account could have planted."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

MAX_STEPS = 1000  # more are a circle of links
OPENED = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# A directory on the way may permit to pass and not to read.
PASSED = OPENED | getattr(os, "O_PATH", 0)


class PlantedLink(OSError):  # noqa: N818 - read as a sentence: raise PlantedLink
    """Whoever made the link decides in which directory root would work; `strerror` names it."""


@dataclass(frozen=True, slots=True)
class OpenDirectory:
    """
    A directory that stays the same, whatever its path leads to by now.

    Args:
        path: Without links.
    """

    path: Path
    descriptor: int


@contextmanager
def open_directory(path: Path, *, mode: int | None = None) -> Iterator[OpenDirectory]:
    """
    Open a directory one component after the other, so that no link is followed unseen.

    Args:
        mode: To make it with, and its parents with the usual one; None: it has to exist.

    Raises:
        PlantedLink: We are root, and a link on the way is another account's.
        OSError: It cannot be opened or made.
    """
    with ExitStack() as passed:
        here, descriptor, made = Path("/"), None, False
        names = list(reversed(path.absolute().parts))
        for _ in range(MAX_STEPS):
            if not names:
                break
            name = names.pop()
            target = _link(here / name, name, descriptor)
            if target is not None:
                names += reversed(target.parts)
                continue
            made = mode is not None and _make(name, descriptor)
            descriptor = os.open(name, PASSED, dir_fd=descriptor)
            passed.callback(os.close, descriptor)
            here = here.parent if name == ".." else here / name
        else:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
        descriptor = os.open(".", OPENED, dir_fd=descriptor)
        passed.callback(os.close, descriptor)
        if made and mode is not None:
            os.fchmod(descriptor, mode)
        yield OpenDirectory(here, descriptor)


def _link(path: Path, name: str, parent: int | None) -> Path | None:
    """Where a link leads; None if it is none, or nothing at all."""
    try:
        target = os.readlink(name, dir_fd=parent)
        owner = os.stat(name, dir_fd=parent, follow_symlinks=False).st_uid
    except OSError:
        return None
    if os.geteuid() == 0 and owner != 0:
        raise PlantedLink(
            errno.ELOOP, f"{path} is a link that user id {owner} made, and authsvc runs as root"
        )
    return Path(target)


def _make(name: str, parent: int | None) -> bool:
    """Make a directory where nothing has its name."""
    try:
        os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        with suppress(FileExistsError):  # another start has just made it
            os.mkdir(name, dir_fd=parent)
            return True
    return False
