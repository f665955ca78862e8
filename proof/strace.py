"""A process under strace: what it calls, and a signal or an error at a chosen call."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

ENTRY = re.compile(r"^(\d+) +(\w+)\(", re.MULTILINE)
PATIENCE = 5.0  # seconds
POLL = 0.002  # seconds


@dataclass(frozen=True, slots=True)
class Call:
    """The n-th call of that name in one thread, counted as strace counts: since it attached."""

    thread: int
    name: str
    nth: int


@dataclass
class Trace:
    """What strace has seen so far."""

    path: Path
    process: asyncio.subprocess.Process
    mark: int = 0

    def calls(self, *, since_mark: bool = False) -> list[Call]:
        """All calls, as they began; or those after `set_mark`."""
        counts: Counter[tuple[int, str]] = Counter()
        found = []
        for match in ENTRY.finditer(self.path.read_text(errors="replace")):
            thread, name = int(match[1]), match[2]
            counts[thread, name] += 1
            if not since_mark or match.start() >= self.mark:
                found.append(Call(thread, name, counts[thread, name]))
        return found

    def set_mark(self) -> None:
        """What begins from now on belongs to the operation."""
        self.mark = self.path.stat().st_size


@asynccontextmanager
async def traced(
    pids: Sequence[int], *, inject: Sequence[str] = (), trace: str | None = None
) -> AsyncIterator[Trace]:
    """
    Attach to processes with all their threads; detach at the end.

    Args:
        inject: Values of `-e inject=` (strace(1)), such as `read:signal=KILL:when=3`.
        trace: Which calls to show; None is all.

    Raises:
        PermissionError: The kernel refuses ptrace; the text is strace's.
    """
    arguments = [f"--inject={value}" for value in inject]
    arguments += [f"--trace={trace}"] if trace else []
    for pid in pids:
        arguments += ["-p", str(pid)]
    with TemporaryDirectory() as directory:
        path = Path(directory) / "trace"
        path.touch()
        process = await asyncio.create_subprocess_exec(
            "strace",
            "-f",
            "-o",
            str(path),
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            await _attached(process, len(pids))
            yield Trace(path, process)
        finally:
            await _detach(process, pids)


async def _attached(process: asyncio.subprocess.Process, processes: int) -> None:
    assert process.stderr is not None
    said = b""
    while said.count(b" attached") < processes:
        async with asyncio.timeout(PATIENCE):
            line = await process.stderr.readline()
        said += line
        if not line or b"ptrace(" in line or b"not permitted" in line:
            raise PermissionError(f"strace cannot attach: {said.decode()}")


async def _detach(process: asyncio.subprocess.Process, pids: Sequence[int]) -> None:
    """From the living it detaches when asked; among the dead it may wait for ever."""
    with suppress(ProcessLookupError):
        process.terminate()
        with suppress(TimeoutError):
            async with asyncio.timeout(0 if any(map(is_dead, pids)) else PATIENCE):
                await process.wait()
        process.kill()
    await process.wait()


def is_dead(pid: int) -> bool:
    """Whether its first thread has ended, even if nobody has been told."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state in {"Z", "X"}
