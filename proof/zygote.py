"""
A real service process in a fraction of a second, thousands of times.

The start of `authsvc serve` is mostly imports. The zygote has done them once: it has no thread and
no event loop, and forks a child for each service, which runs the same `serve` as the command.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self

from proof.replica import CHEAP, START_SECONDS
from tests.support.wire import Connection

PR_SET_PDEATHSIG = 1  # linux/prctl.h
MESSAGE = 65_536  # bytes; a command and its answer are one packet each
POLL = 0.004  # seconds
READYZ = b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"


@dataclass
class Service:
    """One `authsvc serve`; `pidfd` names the process even when its number is used again."""

    pid: int
    pidfd: int
    port: int
    log_path: Path
    gone: bool = False

    async def ready(self) -> None:
        """
        Wait until /readyz says 200.

        Raises:
            RuntimeError: It ended instead; the end of its log is in the message.
            TimeoutError: After 60 s.
        """
        async with asyncio.timeout(START_SECONDS):
            while not await _is_ready(self.port):
                if self.has_ended():
                    end = self.log_path.read_text(errors="replace")[-2000:]
                    raise RuntimeError(f"the service ended: {end}")
                await asyncio.sleep(POLL)

    def has_ended(self) -> bool:
        """Whether the process is gone."""
        if not self.gone:
            # Readable when all threads have ended (pidfd_open(2)); a leader may end before them.
            if not select.select([self.pidfd], [], [], 0)[0]:
                return False
            self.gone = True
            os.close(self.pidfd)
        return True

    async def ended(self, seconds: float) -> bool:
        """Wait for its end; False if it is still there after so long."""
        deadline = time.monotonic() + seconds
        while not self.has_ended():
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(POLL)
        return True

    def kill(self) -> None:
        """`kill -9`, and wait until it is gone."""
        if not self.has_ended():
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
        while not self.has_ended():
            time.sleep(POLL)


class Zygote:
    """
    The parent of services, as a context manager; with it all of them end.

    Args:
        directory: Where services run; `keys/` and their logs are below it.
        plant: `module:function`, which a child calls before it serves: a planted bug.
    """

    def __init__(self, directory: Path, *, plant: str | None = None) -> None:
        self._directory = directory
        self._plant = plant
        self._services: list[Service] = []

    def __enter__(self) -> Self:
        """Import everything, once."""
        self._socket, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.settimeout(START_SECONDS)
        with other, (self._directory / "zygote.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "proof.zygote", str(other.fileno())],
                env={**_clean_environment(), "PYTHONPATH": os.pathsep.join(sys.path)},
                cwd=self._directory,
                pass_fds=[other.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        if self._socket.recv(MESSAGE) != b"ready":
            self._process.wait()
            raise RuntimeError((self._directory / "zygote.log").read_text()[-2000:])
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for service in self._services:
            service.kill()
        self._socket.close()
        self._process.wait(timeout=10)

    def spawn(
        self,
        port: int,
        database_url: str,
        settings: dict[str, str] | None = None,
        *,
        output: Path | None = None,
    ) -> Service:
        """
        Start a service; see `Service.ready`.

        Args:
            settings: Names without the prefix; they win over `CHEAP`.
            output: Where its standard output and error go.
        """
        self._services = [known for known in self._services if not known.has_ended()]
        log_path = output or self._directory / f"service-{port}.log"
        environment = {
            "AUTHSVC_DATABASE_URL": database_url,
            "AUTHSVC_DATA_DIR": str(self._directory / "data"),
            "AUTHSVC_KEYS_DIR": str(self._directory / "keys"),
            "AUTHSVC_HOST": "127.0.0.1",
            "AUTHSVC_PORT": str(port),
            "AUTHSVC_WORKERS": "1",
            **{f"AUTHSVC_{name}": value for name, value in {**CHEAP, **(settings or {})}.items()},
        }
        command = {"environment": environment, "log": str(log_path), "plant": self._plant}
        self._socket.send(json.dumps(command).encode())
        pid = int(self._socket.recv(MESSAGE))
        service = Service(pid, os.pidfd_open(pid), port, log_path)
        self._services.append(service)
        return service


async def _is_ready(port: int) -> bool:
    with suppress(OSError, EOFError, ValueError):
        connection = await Connection.open(port)
        try:
            return (await connection.ask(READYZ)).status == 200
        finally:
            connection.abort()
    return False


def _clean_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("AUTHSVC_")}


def main(descriptor: int) -> None:
    """The zygote itself: fork a service for each packet, until the harness hangs up."""
    for name in (
        "argon2.low_level",
        "asyncpg",
        "authsvc.app",
        "authsvc.cli.serving",
        "authsvc.http.wire.framing",
        "sqlalchemy.dialects.postgresql.asyncpg",
        "uvicorn.lifespan.on",
        "uvicorn.loops.uvloop",
        "uvloop",
    ):
        import_module(name)
    from authsvc.cli.serve import serve  # noqa: PLC0415 - after the long imports

    gc.collect()
    gc.freeze()
    harness = socket.socket(fileno=descriptor)
    signal.signal(signal.SIGCHLD, _reap)
    harness.send(b"ready")
    while packet := harness.recv(MESSAGE):
        # The number is sent before the child can be reaped and its number used again.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
        pid = os.fork()
        if pid == 0:
            harness.close()
            _run(json.loads(packet), serve)
        harness.send(str(pid).encode())
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})


def _run(command: dict[str, Any], serve: Callable[[], None]) -> None:
    """In the child: what a start from the command line would find, then `serve`."""
    code = 1
    try:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
        os.setsid()
        log = os.open(command["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.close(log)
        os.environ.update(command["environment"])
        if command["plant"]:
            module, _, function = command["plant"].partition(":")
            getattr(import_module(module), function)()
        serve()
        code = 0
    finally:
        os._exit(code)


def _reap(signum: int, frame: FrameType | None) -> None:
    del signum, frame
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


if __name__ == "__main__":
    main(int(sys.argv[1]))
