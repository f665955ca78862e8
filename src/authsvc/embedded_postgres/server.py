"""A PostgreSQL server that lives as long as the process that started it."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self, TextIO
from urllib.parse import quote

from authsvc.embedded_postgres import binaries, cluster
from authsvc.embedded_postgres.errors import DataDirUnwritableError, EmbeddedPostgresError
from authsvc.embedded_postgres.owned_files import open_owned, read_owned
from authsvc.trusted_path import OpenDirectory, PlantedLink, open_directory
from authsvc_client.private_file import OTHERS_WRITE

START_TIMEOUT = 120.0  # seconds; recovery after a crash replays the log first
STOP_TIMEOUT = 30.0  # seconds
POLL = 0.02  # seconds

DEFAULTS = {
    "listen_addresses": "",  # the socket only
    "unix_socket_permissions": "0700",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # A refused statement's DETAIL repeats rows, and rows have e-mail addresses.
    "log_error_verbosity": "terse",
    "max_connections": "200",
}
# For data that nobody will miss.
THROW_AWAY = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddedPostgres:
    """
    A running server; a context manager that stops it.

    Args:
        url: `postgresql://postgres@/authsvc?host=DIRECTORY`, the directory percent-encoded.
        programs: The directory of psql, pgbench and the others.
        afterwards: What is done once the server has ended.
    """

    url: str
    data_dir: Path
    log_path: Path
    programs: Path
    process: subprocess.Popen[bytes]
    afterwards: ExitStack

    @property
    def pid(self) -> int:
        """Of the postmaster."""
        return self.process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Shut down cleanly: disconnect clients, flush, leave. A second Ctrl-C hastens it."""
        _end(self.process)
        self.afterwards.close()


def start(data_dir: Path, *, options: Mapping[str, str] | None = None) -> EmbeddedPostgres:
    """
    Start the server of a data directory, with a database `authsvc`; make both if need be.

    Call this on the main thread: the server ends with the thread that started it.

    Args:
        data_dir: Created if it does not exist.
        options: Settings of PostgreSQL, such as `{"log_statement": "all"}`.

    Raises:
        DataDirUnwritableError: The data directory cannot be created or written.
        EmbeddedPostgresError: Anything else; the text says what to do.
    """
    settings = {**DEFAULTS, **(options or {})}
    try:
        with ExitStack() as afterwards:
            directory = _open_data_dir(data_dir, afterwards)
            afterwards.enter_context(_lock(directory))
            return _start(directory, settings, afterwards)
    except OSError as exc:
        raise EmbeddedPostgresError(f"The embedded PostgreSQL does not start: {exc}") from exc


def start_temporary(*, options: Mapping[str, str] | None = None) -> EmbeddedPostgres:
    """
    Start a server whose data is gone when it stops, and which is fast because of that.

    Args:
        options: As of `start`; `{"fsync": "on"}` for measurements that mean something.
    """
    data_dir = Path(tempfile.mkdtemp(prefix="authsvc-"))
    try:
        server = start(data_dir, options={**THROW_AWAY, **(options or {})})
    except BaseException:
        shutil.rmtree(data_dir, ignore_errors=True)
        raise
    server.afterwards.callback(shutil.rmtree, data_dir, ignore_errors=True)
    return server


def running_url(data_dir: Path) -> str | None:
    """The URL of the server that runs on a data directory now, if we may reach it."""
    try:
        with open_directory(data_dir.expanduser()) as opened:
            directory = cluster.cluster_dir(opened.path)
        found = _pid_file(directory)
    except (OSError, EmbeddedPostgresError):
        return None
    if found is None or not found.ready or not _serves(found.pid, directory):
        return None
    return _url(directory if found.socket_dir == cluster.WORKING_DIRECTORY else found.socket_dir)


def _open_data_dir(path: Path, afterwards: ExitStack) -> OpenDirectory:
    # As root, the server's account has to pass through it to its cluster.
    mode = 0o711 if os.geteuid() == 0 else 0o700
    try:
        directory = afterwards.enter_context(open_directory(path.expanduser(), mode=mode))
        with tempfile.TemporaryFile(dir=directory.path):
            pass
    except PlantedLink as exc:
        raise EmbeddedPostgresError(
            f"{exc.strerror}. Start it as that user, or name the directory itself in "
            "AUTHSVC_DATA_DIR."
        ) from exc
    except OSError as exc:
        raise DataDirUnwritableError(f"{path} cannot be written: {exc.strerror}.") from exc
    _refuse_foreign(directory)
    return directory


def _refuse_foreign(directory: OpenDirectory) -> None:
    """As root, work only where no lesser account can put a symlink in our way."""
    found = os.fstat(directory.descriptor)
    if os.geteuid() == 0 and (found.st_uid != 0 or found.st_mode & OTHERS_WRITE):
        raise EmbeddedPostgresError(
            f"{directory.path} belongs to user id {found.st_uid} or can be written by others, and "
            "authsvc runs as root. Start it as that user, or set AUTHSVC_DATA_DIR to a directory "
            "that only root can write."
        )


def _lock(directory: OpenDirectory) -> TextIO:
    """
    Hold the data directory; the kernel lets go of it when we end, however that happens.

    Raises:
        EmbeddedPostgresError: Another process holds it.
    """
    descriptor = open_owned(
        directory.path / "lock",
        owner=os.geteuid(),
        flags=os.O_RDWR | os.O_CREAT,
        directory=directory.descriptor,
    )
    # Whoever can open it can hold it. Earlier versions made it readable by all.
    os.fchmod(descriptor, 0o600)
    file = os.fdopen(descriptor, "r+", encoding="ascii")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = file.read(20).strip()
        file.close()
        named = f" (process {holder})" if _is_ours(holder) else ""
        raise EmbeddedPostgresError(
            f"Another authsvc{named} runs on {directory.path}. Stop it, or give this one a "
            "directory of its own with AUTHSVC_DATA_DIR and a port with AUTHSVC_PORT."
        ) from None
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()
    return file


def _is_ours(pid: str) -> bool:
    """Whether a number is that of a Python process of our own user, which may be told to end."""
    if not pid.isascii() or not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except OSError:  # gone, or another user's
        return False
    command = _command_of(int(pid))
    return b"python" in command or b"authsvc" in command


def _start(
    data_dir: OpenDirectory, settings: Mapping[str, str], afterwards: ExitStack
) -> EmbeddedPostgres:
    account = binaries.account()
    programs = binaries.programs(account)
    directory = cluster.prepare(data_dir.path, programs, sync=settings.get("fsync") != "off")
    _end_orphan(directory)
    data = cluster.data_argument(directory, account)
    sockets = cluster.socket_dir(directory, account)
    if sockets != directory:
        afterwards.callback(shutil.rmtree, sockets, ignore_errors=True)
    arguments = ["-D", data, *cluster.memory_options()]
    for name, value in {
        **settings,
        "cluster_name": cluster.name_of(directory),
        "unix_socket_directories": data if sockets == directory else str(sockets),
    }.items():
        arguments += ["-c", f"{name}={value}"]
    log_path = data_dir.path / "postgres.log"
    with _new_log(log_path.name, data_dir.descriptor) as log:
        process = programs.start("postgres", arguments, cwd=directory, output=log)
    try:
        _wait_until(lambda: _is_ready(process, directory, log_path), START_TIMEOUT)
    except BaseException:
        _end(process)
        raise
    return EmbeddedPostgres(
        url=_url(sockets),
        data_dir=data_dir.path,
        log_path=log_path,
        programs=programs.directory,
        process=process,
        afterwards=afterwards.pop_all(),
    )


def _new_log(name: str, directory: int) -> BinaryIO:
    """An empty log; the one before it is kept."""
    with suppress(FileNotFoundError):
        os.replace(name, "postgres.previous.log", src_dir_fd=directory, dst_dir_fd=directory)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    return os.fdopen(os.open(name, flags, 0o600, dir_fd=directory), "wb")


def _end_orphan(directory: Path) -> None:
    """
    Stop the server that a process which is gone has left on this cluster.

    We hold the lock, so its starter is gone. On Linux it is ending already.
    """
    found = _pid_file(directory)
    if found is None:
        return
    for signum in (signal.SIGINT, signal.SIGQUIT):
        if not _serves(found.pid, directory):
            break
        os.kill(found.pid, signum)
        with suppress(TimeoutError):
            _wait_until(lambda: not _serves(found.pid, directory), STOP_TIMEOUT)
    else:
        raise EmbeddedPostgresError(
            f"An old PostgreSQL server (process {found.pid}) runs on {directory} and does not "
            f"stop. End it with: kill -9 {found.pid}"
        )
    # After a power failure the number in an old pid file may be that of any program, which
    # PostgreSQL then takes for a rival. It never takes its parent for one, and it still checks
    # the shared memory segment named in the file, so backends left alone are found out.
    with suppress(FileNotFoundError):
        path, owner = directory / "postmaster.pid", binaries.account().uid
        descriptor = open_owned(path, owner=owner, flags=os.O_RDWR)
        with os.fdopen(descriptor, "r+", errors="replace") as file:
            rest = file.read().partition("\n")[2]
            file.seek(0)
            file.write(f"{os.getpid()}\n{rest}")
            file.truncate()


@dataclass(frozen=True, slots=True)
class _PidFile:
    """What we read of postmaster.pid; its lines are those of pidfile.h."""

    pid: int
    socket_dir: str
    ready: bool


def _pid_file(directory: Path) -> _PidFile | None:
    try:
        # The account that owns the directory may have put anything there.
        owner = directory.stat().st_uid
        lines = read_owned(directory / "postmaster.pid", owner=owner).splitlines()
    except FileNotFoundError:
        return None
    lines += [""] * (8 - len(lines))
    # In single-user mode the number is negative.
    pid = abs(int(lines[0])) if lines[0].strip().lstrip("-").isdigit() else 0
    return _PidFile(pid, socket_dir=lines[4], ready=lines[7].strip() == "ready")


def _is_ready(process: subprocess.Popen[bytes], directory: Path, log_path: Path) -> bool:
    if process.poll() is not None:
        said = cluster.complaint(log_path.read_text(errors="replace"))
        raise EmbeddedPostgresError(f"PostgreSQL ended at once: {said} (log: {log_path})")
    found = _pid_file(directory)
    # The pid too: after kill -9 an old file that says ready is still there.
    return found is not None and found.pid == process.pid and found.ready


def _serves(pid: int, directory: Path) -> bool:
    """Whether a process is the server of this cluster: by its command line, for pids recur."""
    return f"cluster_name={cluster.name_of(directory)}".encode() in _command_of(pid)


def _command_of(pid: int) -> bytes:
    """The command line of a process; empty if there is none."""
    if Path("/proc/self").exists():
        try:
            # A zombie has no command line.
            return Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            return b""
    listing = subprocess.run(  # noqa: S603
        ["/bin/ps", "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, check=False
    )
    return listing.stdout


def _end(process: subprocess.Popen[bytes]) -> None:
    # Fast, then without flushing (the next start recovers), then by force.
    for signum in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
        process.send_signal(signum)
        with suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
            process.wait(STOP_TIMEOUT)
            return
    process.wait()


def _wait_until(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"PostgreSQL was not ready in {seconds:.0f} seconds")
        time.sleep(POLL)


def _url(socket_dir: str | Path) -> str:
    return f"postgresql://postgres@/{cluster.DATABASE}?host={quote(str(socket_dir))}"
