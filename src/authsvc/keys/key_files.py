"""
The files of a key directory: their names, who may read them, their bytes.

A name carries the one thing that is not in the file: the UTC second from which the key works.
What cannot be used becomes a `KeyProblem` that names file, cause and remedy.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from authsvc.operator_errors import OperatorError
from authsvc_client.private_file import OTHERS_WRITE

NAME = re.compile(r"(?P<mac>refresh-)?(?P<time>\d{8}T\d{6}Z)(?(mac)\.key|\.pem)", re.ASCII)
TIME = "%Y%m%dT%H%M%SZ"
LAST_YEAR = 9000  # beyond, adding a retirement to it would leave the calendar

MAX_SIZE = 65_536  # bytes; an encrypted 8192-bit key is under 8 KiB
PRIVATE_MODE = 0o600
DIRECTORY_MODE = 0o700
OTHERS = 0o077
READING = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
MAX_LINKS = 8  # to a key; the kubelet needs one, and the kernel follows 40


class KeyKind(StrEnum):
    """What a file holds, by its name."""

    SIGNING = "signing"
    MAC = "mac"


class KeyDirectoryError(OperatorError):
    """The key directory cannot be used; the text has one line per cause, each with its fix."""


@dataclass(frozen=True, slots=True)
class KeyProblem:
    """
    A problem of a key file, for an operator.

    Args:
        refused: The file is not used; else it is, and this is a warning.
    """

    file: str
    problem: str
    fix: str
    refused: bool = True

    def __str__(self) -> str:
        """One line for people."""
        return f"{self.file}: {self.problem}; {self.fix}"


class KeyRefused(Exception):  # noqa: N818 - a verdict on a file
    """What is wrong with one key, and what to do about it."""

    def __init__(self, problem: str, fix: str) -> None:
        super().__init__(f"{problem}; {fix}")
        self.problem = problem
        self.fix = fix


@dataclass(frozen=True, slots=True)
class KeyContent:
    """
    One file as it was read.

    Args:
        content: Empty if it could not be read; then `refusal` says why. Not in the `repr`.
        mode: Permission bits.
        identity: Device and inode.
        fixed_mode: It lies on a read-only mount, where no mode can be changed.
        lax_folder: If it is a link: who else could exchange what it leads to, and the remedy.
    """

    name: str
    kind: KeyKind
    activation: datetime
    content: bytes = field(default=b"", repr=False)
    mode: int = PRIVATE_MODE
    owner: int = 0
    identity: tuple[int, int] = (0, 0)
    fixed_mode: bool = False
    refusal: tuple[str, str] | None = None
    lax_folder: tuple[str, str] | None = None


def file_name(kind: KeyKind, activation: datetime) -> str:
    """The name of a key that works from `activation` on."""
    text = activation.astimezone(UTC).strftime(TIME)
    return f"{text}.pem" if kind is KeyKind.SIGNING else f"refresh-{text}.key"


def parse_name(name: str) -> tuple[KeyKind, datetime] | None:
    """Kind and activation of a file name; None if it is not the name of a key."""
    match = NAME.fullmatch(name)
    if match is None:
        return None
    try:
        activation = datetime.strptime(match["time"], TIME).replace(tzinfo=UTC)
    except ValueError:
        return None
    if activation.year >= LAST_YEAR:
        return None
    return (KeyKind.MAC if match["mac"] else KeyKind.SIGNING), activation


def read_directory(
    path: Path,
) -> tuple[tuple[KeyContent, ...], tuple[KeyProblem, ...], tuple[str, str] | None]:
    """
    Every key file in the order of activation, the names that mean nothing, and who else can write.

    Raises:
        KeyDirectoryError: The directory itself cannot be read.
    """
    try:
        names = sorted(os.listdir(path))  # noqa: PTH208 - only names are wanted
        writers = planted_directory(path)
    except OSError as exc:
        raise KeyDirectoryError(no_directory(path, exc)) from exc
    files, problems = [], []
    for name in names:
        parsed = parse_name(name)
        if parsed is not None:
            files.append(_read(path / name, *parsed))
        elif name.endswith((".pem", ".key")) and not name.startswith("."):
            problems.append(_stray(name))
    files.sort(key=lambda file: (file.activation, file.name))
    return tuple(files), tuple(problems), writers


def exposed(file: KeyContent) -> tuple[str, str] | None:
    """That other users can read a private file, and the remedy; None if they cannot."""
    if file.mode & OTHERS:
        return (
            f"others can read this private key (mode {file.mode:04o})",
            f"chmod 600 {file.name}",
        )
    return None


def planted(name: str, mode: int, owner: int) -> tuple[str, str] | None:
    """Who else could have written a file or directory, and the remedy; None if no other user."""
    if owner not in {0, os.geteuid()}:
        return (
            f"it belongs to another user (uid {owner})",
            f"make sure that it is yours, then: chown {os.geteuid()} {name}",
        )
    if mode & OTHERS_WRITE:
        return (
            f"others can write it (mode {mode:04o})",
            f"make sure that its content is yours, then: chmod go-w {name}",
        )
    return None


def planted_directory(path: Path) -> tuple[str, str] | None:
    """
    As `planted`, for a directory, where a writer can add a key.

    A secret volume is root's and 1777, and its read-only mount forbids to change that. What others
    add to a sticky directory is their own, which is found out from each file and link.
    """
    found = path.stat()
    mode = stat.S_IMODE(found.st_mode)
    if mode & stat.S_ISVTX and mode & stat.S_IWOTH and on_read_only_mount(path):
        mode &= ~OTHERS_WRITE
    return planted(str(path.absolute()), mode, found.st_uid)


def repair(path: Path, file: KeyContent) -> bool:
    """
    Restrict a private file to its owner, where the file is ours.

    It is the file that was read: not what a link leads to, nor what has its name by now.
    """
    if file.owner != os.geteuid():
        return False
    try:
        fd = os.open(path / file.name, READING | os.O_NOFOLLOW)
        try:
            found = os.fstat(fd)
            if (found.st_dev, found.st_ino) != file.identity:
                return False
            os.fchmod(fd, PRIVATE_MODE)
        finally:
            os.close(fd)
    except OSError:
        return False
    return True


def on_read_only_mount(place: Path | int) -> bool:
    """Whether it is a read-only mount such as a secret volume, whose modes cannot be changed."""
    try:
        return bool(os.statvfs(place).f_flag & os.ST_RDONLY)
    except OSError:
        return False


def _read(path: Path, kind: KeyKind, activation: datetime) -> KeyContent:
    """Read one file; a FIFO or a device of that name must not hang the service."""
    try:
        fd = os.open(path, READING)
        try:
            found, fixed_mode = os.fstat(fd), on_read_only_mount(fd)
            content, refusal = b"", None
            if not stat.S_ISREG(found.st_mode):
                refusal = ("it is not a regular file", "remove it")
            elif found.st_size > MAX_SIZE:
                refusal = (f"it has {found.st_size} bytes, more than any key", "remove it")
            else:
                content = os.read(fd, MAX_SIZE + 1)
        finally:
            os.close(fd)
        lax_folder = _lax_folder(path)
    except OSError as exc:
        return KeyContent(path.name, kind, activation, refusal=_unreadable(path, exc))
    return KeyContent(
        path.name,
        kind,
        activation,
        content,
        mode=stat.S_IMODE(found.st_mode),
        owner=found.st_uid,
        identity=(found.st_dev, found.st_ino),
        fixed_mode=fixed_mode,
        refusal=refusal,
        lax_folder=lax_folder,
    )


def _lax_folder(path: Path) -> tuple[str, str] | None:
    """
    As `planted`, for links and the folders they lead through: to write there is to write the key.

    Raises:
        OSError: A link or folder has gone, as when the kubelet swaps a volume.
    """
    for _ in range(MAX_LINKS):
        if not path.is_symlink():
            return None
        lax = planted(path.name, PRIVATE_MODE, path.lstat().st_uid)
        if lax is not None:
            problem, fix = lax
            return f"it is a link, and {problem}", fix.replace("chown", "chown -h")
        path = path.parent / path.readlink()
        folder = path.parent.resolve()
        lax = planted_directory(folder)
        if lax is not None:
            problem, fix = lax
            return f"it is a link into {folder}, and {problem}", fix
    return f"it leads over more than {MAX_LINKS} links", "link to the file itself"


def _unreadable(path: Path, exc: OSError) -> tuple[str, str]:
    if exc.errno in {errno.EACCES, errno.EPERM}:
        return ("the user that runs authsvc cannot read it", f"chown or chmod {path.name}")
    return (f"it cannot be read ({exc.strerror})", "repair or remove it")


def _stray(name: str) -> KeyProblem:
    return KeyProblem(
        file=name,
        problem="its name is not the UTC second at which it becomes active, so it is ignored",
        fix=(
            "move it elsewhere and import it with `authsvc keys import FILE`, or name it "
            "like 20261122T100000Z.pem (signing) or refresh-20261122T100000Z.key (MAC)"
        ),
        refused=False,
    )


def no_directory(path: Path, exc: OSError) -> str:
    """Why a key directory cannot be read, and what to do."""
    if isinstance(exc, FileNotFoundError):
        return (
            f"{path}: the key directory does not exist; set AUTHSVC_KEYS_DIR, which is relative "
            "to the working directory, or create the first keys with `authsvc keys add --first`"
        )
    return (
        f"{path}: the key directory cannot be read ({exc.strerror}); set AUTHSVC_KEYS_DIR, or "
        "let the user that runs authsvc read it"
    )
