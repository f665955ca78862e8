"""The database cluster on disk: made once, checked at each start, found by later ones."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from authsvc.embedded_postgres.binaries import MAJOR, Programs, SystemUser
from authsvc.embedded_postgres.errors import EmbeddedPostgresError
from authsvc.embedded_postgres.owned_files import read_owned

DATABASE = "authsvc"
SOCKET = ".s.PGSQL.5432"
SUN_PATH = 104  # bytes for a socket's path with its end; 108 on Linux, 104 on macOS and BSD
SHARED_MEMORY = 8 * 1024 * 1024  # bytes; containers give /dev/shm as little as 64 KiB
WORKING_DIRECTORY = "/proc/self/cwd"


def cluster_dir(data_dir: Path) -> Path:
    """The cluster's place in a data directory."""
    return data_dir / "postgres"


def name_of(cluster: Path) -> str:
    """A short name for a cluster, by which its server's command line is recognised."""
    return f"authsvc-{hashlib.sha256(os.fsencode(cluster)).hexdigest()[:16]}"


def prepare(data_dir: Path, programs: Programs, *, sync: bool) -> Path:
    """
    Return the cluster of a data directory; make it, with an empty database, if there is none.

    Args:
        data_dir: An existing directory.
        programs: PostgreSQL's programs and the account that is to own the cluster.
        sync: Whether it has to survive a power failure.

    Raises:
        EmbeddedPostgresError: It is another user's, another version's, or cannot be made.
    """
    cluster = cluster_dir(data_dir)
    if not cluster.exists():
        _create(cluster, programs, sync=sync)
    _check(cluster, programs.account)
    return cluster


def data_argument(cluster: Path, account: SystemUser) -> str:
    """
    What `-D` names: the cluster, or the server's working directory.

    As `nobody`, the server may be unable to pass through the parents of the data directory,
    such as root's home. Rather than open those to everybody we start it inside its cluster,
    whose path it then does not need.

    Raises:
        EmbeddedPostgresError: There is no such way on this system.
    """
    closed = first_closed_parent(cluster, account)
    if closed is None:
        return str(cluster)
    if sys.platform != "linux":
        raise EmbeddedPostgresError(
            f"PostgreSQL runs as the user `nobody`, who cannot enter {closed}. Set "
            "AUTHSVC_DATA_DIR to a directory that every user can reach."
        )
    return WORKING_DIRECTORY


def socket_dir(cluster: Path, account: SystemUser) -> Path:
    """
    The directory of the server's socket: in its cluster, which no other user may enter.

    If that path is too long for a socket, or has characters that mean something in a host
    list, it is a directory of that user's own among the temporary ones.

    Raises:
        EmbeddedPostgresError: That directory is somebody else's.
    """
    if _fits(cluster) and re.fullmatch(r"[\w/. -]+", str(cluster), re.ASCII):
        return cluster
    leaf = f"{name_of(cluster)}-{account.uid}"
    for base in (Path(tempfile.gettempdir()), Path("/tmp")):  # noqa: S108  # ownership is checked
        path = base / leaf
        if _fits(path) and first_closed_parent(path, account) is None:
            _own_directory(path, account)
            return path
    raise EmbeddedPostgresError(  # unreachable where there is a /tmp
        f"The path {cluster} is too long for a socket. Set AUTHSVC_DATA_DIR to a shorter one."
    )


def first_closed_parent(path: Path, account: SystemUser) -> Path | None:
    """The outermost parent directory that the account may not pass through."""
    if not account.dropped:
        return None
    for parent in reversed(path.parents):
        status = parent.stat()
        if status.st_uid == account.uid:
            allowed = status.st_mode & stat.S_IXUSR
        elif status.st_gid == account.gid:
            allowed = status.st_mode & stat.S_IXGRP
        else:
            allowed = status.st_mode & stat.S_IXOTH
        if not allowed:
            return parent
    return None


def memory_options() -> list[str]:
    """Keep dynamic shared memory in files where /dev/shm is absent, tiny or closed to us."""
    if sys.platform != "linux":
        return []
    try:
        usage = os.statvfs("/dev/shm")  # noqa: S108  # only looked at
        free = usage.f_bavail * usage.f_frsize
        writable = Path("/dev/shm").stat().st_mode & stat.S_IWOTH  # noqa: S108
    except OSError:
        free = writable = 0
    if writable and free >= SHARED_MEMORY:
        return []
    return ["-c", "dynamic_shared_memory_type=mmap"]


def _create(cluster: Path, programs: Programs, *, sync: bool) -> None:
    """Make it beside its place and move it there when it is complete."""
    scratch = cluster.with_name(f"{cluster.name}.new")
    if scratch.exists():  # left by a start that was interrupted
        shutil.rmtree(scratch)
    _own_directory(scratch, programs.account)
    where = ["-D", data_argument(scratch, programs.account), *memory_options()]
    _run(
        programs,
        "initdb",
        [
            *where,
            "--username=postgres",
            # Who reaches the socket is decided by the modes of its directory, 0700.
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
            # Sorts by code point and folds case by Unicode, alike on every system.
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--no-instructions",
            *([] if sync else ["--no-sync"]),
        ],
        cwd=scratch,
    )
    _run(
        programs,
        "postgres",
        ["--single", *where, "postgres"],
        cwd=scratch,
        text=f"CREATE DATABASE {DATABASE};\n",
    )
    scratch.rename(cluster)
    if sync:
        _sync_directory(cluster.parent)


def _run(
    programs: Programs, name: str, arguments: Sequence[str], *, cwd: Path, text: str = ""
) -> None:
    with programs.start(
        name, arguments, cwd=cwd, output=subprocess.PIPE, stdin=subprocess.PIPE
    ) as process:
        try:
            output, _ = process.communicate(text.encode())
        except BaseException:  # Ctrl-C: nothing of ours is left running
            process.kill()
            raise
    if process.returncode != 0:
        raise EmbeddedPostgresError(f"{name} failed: {complaint(output.decode(errors='replace'))}")


def complaint(log: str) -> str:
    """The line of a program's output that says what was wrong."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    for word in ("FATAL:", "PANIC:", "error:", "ERROR:"):
        for line in lines:
            if word in line:
                return line[line.index(word) :]
    return lines[-1] if lines else "it said nothing."


def _check(cluster: Path, account: SystemUser) -> None:
    owner = cluster.stat().st_uid
    if owner != account.uid:
        raise EmbeddedPostgresError(
            f"{cluster} belongs to user id {owner}, and PostgreSQL would run as {account.uid}. "
            "Start authsvc as the user who made it, or set AUTHSVC_DATA_DIR to another directory."
        )
    try:
        found = read_owned(cluster / "PG_VERSION", owner=owner).strip()
    except OSError as exc:
        raise EmbeddedPostgresError(
            f"{cluster} is not a database that can be read ({exc.strerror}). Move it away, or set "
            "AUTHSVC_DATA_DIR to another directory."
        ) from exc
    if found != str(MAJOR):
        raise EmbeddedPostgresError(
            f"{cluster} is a database of PostgreSQL {found}, and this authsvc has {MAJOR}. "
            "Dump it with the authsvc that made it, or move it away to start with an empty one."
        )


def _fits(directory: Path) -> bool:
    return len(os.fsencode(directory / SOCKET)) < SUN_PATH


def _own_directory(path: Path, account: SystemUser) -> None:
    """Make a directory that only the account may enter, or make sure that it is one."""
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        _close_to_others(path, account)
        return
    if account.dropped:
        os.chown(path, account.uid, account.gid)


def _close_to_others(path: Path, account: SystemUser) -> None:
    """
    Make a directory that exists 0700, if it is the account's.

    In a shared /tmp another user may have put one there to receive our connections, or a symlink
    to have us change what it points to: so by a descriptor, not by its name.
    """
    foreign = EmbeddedPostgresError(
        f"{path} exists and is not ours. Remove it, or set AUTHSVC_DATA_DIR to a shorter path."
    )
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        raise foreign from None
    try:
        if os.fstat(descriptor).st_uid != account.uid:
            raise foreign
        os.fchmod(descriptor, 0o700)
    finally:
        os.close(descriptor)


def _sync_directory(path: Path) -> None:
    """Make a rename durable, without which a power failure could undo it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
