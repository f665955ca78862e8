"""One run of wrk, and whose CPU it cost."""

from __future__ import annotations

import math
import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile

SCRIPT = Path(__file__).with_name("load.lua")
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Load:
    """
    What a run of the generator measured.

    Args:
        rate: Answers per second.
        p50, p95, p99, slowest: Milliseconds.
        failed: Answers other than the expected one, and connections that broke.
        generator_cpu, service_cpu, database_cpu: Microseconds of CPU for each answer.
        last: What each virtual user held at the end: the newest token of its chain.
    """

    users: int
    seconds: float
    answers: int
    failed: int
    failure: str
    rate: float
    p50: float
    p95: float
    p99: float
    slowest: float
    generator_cpu: float
    service_cpu: float
    database_cpu: float
    last: tuple[str, ...]


def run(
    kind: str,
    port: int,
    lines: Sequence[str],
    *,
    seconds: float,
    service: Sequence[int] = (),
    database: int | None = None,
    more: Sequence[str] = (),
) -> Load:
    """
    Load one endpoint with as many virtual users as there are lines.

    Args:
        kind: See load.lua.
        seconds: Whole ones; wrk knows no others.
        service: The processes of the service.
        database: The postmaster.
        more: Further arguments of the script.
    """
    with NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("\n".join(lines) + "\n")
        file.flush()
        users = str(len(lines))
        before = _cpu(service), cpu_of_server(database)
        process = subprocess.Popen(
            [
                "wrk",
                "-t",
                users,
                "-c",
                users,
                "-d",
                f"{math.ceil(seconds)}s",
                "--timeout",
                "10s",
                "-s",
                str(SCRIPT),
                f"http://127.0.0.1:{port}",
                "--",
                kind,
                file.name,
                *more,
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert process.stdout is not None
        with process.stdout:
            output = process.stdout.read()
        _, _, usage = os.wait4(process.pid, 0)
        process.returncode = 0
        after = _cpu(service), cpu_of_server(database)
    rows = [line.split("\t") for line in output.splitlines()]
    result = next((row for row in rows if row[0] == "RESULT"), None)
    if result is None:
        raise RuntimeError(f"wrk said: {output}")
    duration, _, ok, failed, broken, p50, p95, p99, slowest = map(float, result[1:])
    each = max(ok, 1) / 1e6
    return Load(
        users=len(lines),
        seconds=duration,
        answers=int(ok),
        failed=int(failed + broken),
        failure=next(row[1] for row in rows if row[0] == "FAILURE"),
        rate=ok / duration,
        p50=p50 / 1000,
        p95=p95 / 1000,
        p99=p99 / 1000,
        slowest=slowest / 1000,
        generator_cpu=(usage.ru_utime + usage.ru_stime) / each,
        service_cpu=(after[0] - before[0]) / each,
        database_cpu=(after[1] - before[1]) / each,
        last=tuple(row[1] for row in rows if row[0] == "LAST"),
    )


def processes_below(pid: int) -> list[int]:
    """A process and all its descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int(_stat(int(entry.name))[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(entry.name))
    found = [pid]
    for each in found:
        found += children.get(each, [])
    return found


def header_of(port: int, path: str, name: str) -> str:
    """A header of an answer."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
        value: str = answer.headers[name]
    return value


def wait_for(port: int) -> None:
    """Until something listens there."""
    for _ in range(1000):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.01)
        else:
            return
    raise RuntimeError(f"nothing listens on port {port}")


def cpu_of_children() -> float:
    """Seconds of CPU of this process's children that have ended."""
    times = os.times()
    return times.children_user + times.children_system


def _stat(pid: int) -> list[str]:
    """The fields after the name; the first two are state and parent."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _cpu(pids: Sequence[int]) -> float:
    """Seconds of CPU that processes have used; one that has just ended counts with its parent."""
    ticks = 0
    for pid in pids:
        with suppress(FileNotFoundError, ProcessLookupError):
            ticks += sum(map(int, _stat(pid)[11:13]))
    return ticks / TICKS


def cpu_of_server(pid: int | None) -> float:
    """The same of a postmaster with its backends, those that have ended too."""
    if pid is None:
        return 0.0
    ended = sum(map(int, _stat(pid)[13:15])) / TICKS
    return ended + _cpu(processes_below(pid))
