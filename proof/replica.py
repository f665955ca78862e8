"""One `authsvc serve` that the harness may kill, stop and start again."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.support.live import free_port, is_ready

# Cheap enough for thousands of logins; nothing here measures argon2.
CHEAP = {
    # One for all replicas: an access token of one is good at the others.
    "ISSUER": "http://localhost:8000",
    "THROTTLE": "off",
    "MAX_CONNECTIONS_PER_ADDRESS": "100000",  # all clients are on this machine
    "MAX_SESSIONS": "10000",  # one account has a session for each round
    "ARGON2_MEMORY_KIB": "8",
    "ARGON2_TIME": "1",
    "LOG_LEVEL": "warning",
    "LOG_FORMAT": "json",
}
START_SECONDS = 60.0


class Replica:
    """
    A real service in a process (and workers) of its own.

    Args:
        directory: Where it runs; `keys/` and the log `replica-<port>.log` are below it.
        workers: AUTHSVC_WORKERS.
        settings: Names without the prefix; they win over `CHEAP`.
        command: What starts it; a planted bug or a wrapper (strace, faketime) goes here.
        environment: More variables for the process, such as LD_PRELOAD.
    """

    def __init__(
        self,
        database_url: str,
        directory: Path,
        *,
        workers: int = 1,
        settings: dict[str, str] | None = None,
        command: Sequence[str] = (sys.executable, "-m", "authsvc", "serve"),
        environment: dict[str, str] | None = None,
    ) -> None:
        self.port = free_port()
        self.directory = directory
        self.log_path = directory / f"replica-{self.port}.log"
        self._command = list(command)
        self._environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("AUTHSVC_")},
            "PYTHONPATH": os.pathsep.join(sys.path),
            "AUTHSVC_DATABASE_URL": database_url,
            "AUTHSVC_DATA_DIR": str(directory / "data"),
            "AUTHSVC_KEYS_DIR": str(directory / "keys"),
            "AUTHSVC_HOST": "127.0.0.1",
            "AUTHSVC_PORT": str(self.port),
            "AUTHSVC_WORKERS": str(workers),
            **{f"AUTHSVC_{name}": value for name, value in {**CHEAP, **(settings or {})}.items()},
            **(environment or {}),
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process; see `ready`."""
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                self._command,
                cwd=self.directory,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    async def ready(self) -> None:
        """
        Wait until it answers.

        Raises:
            RuntimeError: It ended instead; the end of its log is in the message.
            TimeoutError: After 60 s.
        """
        assert self.process is not None
        async with asyncio.timeout(START_SECONDS):
            while not await asyncio.to_thread(is_ready, self.port):
                if self.process.poll() is not None:
                    end = self.log_path.read_text(errors="replace")[-2000:]
                    raise RuntimeError(f"the service ended with {self.process.returncode}: {end}")
                await asyncio.sleep(0.02)

    def kill(self) -> None:
        """`kill -9` of the service with all its workers."""
        if self.process is not None:
            if self.process.poll() is None:
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def stop(self) -> None:
        """SIGTERM, and wait for the drain."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(timeout=30)
