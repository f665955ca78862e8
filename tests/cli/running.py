"""`authsvc serve` as a process of its own, as its users run it."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support.live import free_port
from tests.support.other_user import PYTHONPATH
from tests.support.waiting import HANGS, until


class Running:
    """
    A running `authsvc serve`.

    Args:
        home: Its working directory, with its keys and, in `data`, its database.
        settings: By their names without the prefix.
        user: Whom to become.
        python: The interpreter, if not ours.
        stdout: Where the log goes, if not to `output`.
    """

    def __init__(
        self,
        home: Path,
        settings: Mapping[str, str] | None = None,
        *,
        user: int | None = None,
        python: str = sys.executable,
        stdout: int = subprocess.PIPE,
    ) -> None:
        settings = settings or {}
        self.port = free_port()
        self.data_dir = Path(settings.get("DATA_DIR", home / "data"))
        ours = {
            "PORT": str(self.port),
            "DATA_DIR": str(self.data_dir),
            "WORKERS": "2",
            "LOG_FORMAT": "json",
            **settings,
        }
        inherited = {k: v for k, v in os.environ.items() if not re.match("(AUTHSVC|DATABASE)_", k)}
        self.process = subprocess.Popen(
            [python, "-m", "authsvc", "serve"],
            cwd=home,
            env={
                **inherited,
                "PYTHONPATH": PYTHONPATH,
                **{f"AUTHSVC_{name}": value for name, value in ours.items()},
            },
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            user=user,
            group=user,
            extra_groups=None if user is None else [],
        )
        self.out: list[str] = []
        self.err: list[str] = []
        self._readers = [
            threading.Thread(target=lambda: self.out.extend(self.process.stdout or ())),
            threading.Thread(target=lambda: self.err.extend(self.process.stderr or ())),
        ]
        for reader in self._readers:
            reader.start()

    @property
    def output(self) -> str:
        return "".join(self.out)

    @property
    def complaint(self) -> str:
        return "".join(self.err)

    def ready(self) -> Running:
        """Wait until it says so."""
        until(lambda: "Ctrl-C stops it." in self.complaint or self.process.poll() is not None)
        assert self.process.poll() is None, self.complaint
        return self

    def end(self, signum: signal.Signals = signal.SIGINT) -> int:
        """Send a signal to the whole group, as a terminal does with Ctrl-C; the exit code."""
        os.killpg(self.process.pid, signum)
        return self.wait()

    def wait(self) -> int:
        code = self.process.wait(HANGS)
        for reader in self._readers:
            reader.join(HANGS)
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()
        return code

    def processes(self) -> list[str]:
        """All that it started and that still runs; each carries its data directory or group."""
        listing = subprocess.run(
            ["ps", "-axww", "-o", "pid=,pgid=,stat=,args="],
            capture_output=True,
            check=True,
            text=True,
        )
        data = str(self.data_dir.resolve())
        found = []
        for line in listing.stdout.splitlines():
            pid, group, state, program = line.split(maxsplit=3)
            ours = int(group) == self.process.pid or (data in program and "postgres" in program)
            if ours and not state.startswith("Z"):
                found.append(f"{pid} {program}")
        return found

    def workers(self) -> list[int]:
        return [int(line.split()[0]) for line in self.processes() if "spawn_main" in line]

    def request(
        self, method: str, path: str, body: object = None, *, host: str = "127.0.0.1"
    ) -> tuple[int, Any]:
        """One request on a connection of its own: status and, if it is JSON, the body."""
        connection = http.client.HTTPConnection(host, self.port, timeout=HANGS)
        try:
            connection.request(
                method,
                path,
                body=None if body is None else json.dumps(body),
                headers={"Host": f"localhost:{self.port}", "Content-Type": "application/json"},
            )
            answer = connection.getresponse()
            text = answer.read()
            is_json = "json" in (answer.getheader("content-type") or "")
            return answer.status, json.loads(text) if is_json else text
        finally:
            connection.close()
