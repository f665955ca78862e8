"""Password hashing: strong enough, fast enough, and within the memory there is."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from authsvc.cli.console import plural
from authsvc.cli.diagnosis.finding import Finding, info, ok, warning
from authsvc.cli.users import hasher_of
from authsvc.protocol.errors import Overloaded
from authsvc.settings import OWASP_ARGON2, Settings, usable_cores

MEASUREMENTS = 3  # the quickest counts: others were disturbed
SLOW = 500  # milliseconds; people notice, and a core logs in two a second
MIB = 1_048_576
# Where Linux says how much memory this process may use: cgroup v2, v1, the machine.
CGROUP_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
MEMINFO, CPUINFO = Path("/proc/meminfo"), Path("/proc/cpuinfo")


def examine(settings: Settings) -> Iterator[Finding]:
    """Look at the parameters, then hash a few times and measure."""
    yield _parameters(settings)
    yield _build(_wheel(), _read(CPUINFO))
    yield asyncio.run(_speed(settings))
    yield _memory(settings)


def _parameters(settings: Settings) -> Finding:
    memory, passes = settings.argon2_memory_kib, settings.argon2_time
    named = f"m={memory} KiB, t={passes}, p={settings.argon2_parallelism}"
    if any(memory >= least and passes >= times for least, times in OWASP_ARGON2):
        return ok("PWD-001", f"{named}: OWASP's minimum or more")
    return warning(
        "PWD-001",
        f"{named}: below OWASP's minimum",
        "remove the AUTHSVC_ARGON2_… settings; production refuses these",
    )


def _build(wheel: str, processor: str) -> Finding:
    """
    Who compiled the library; half of what a login costs depends on it.

    Args:
        wheel: Its WHEEL file: a registry's wheel is tagged for all Linuxes, and thereby compiled
            for the oldest x86-64. The options of a build from source stand nowhere.
        processor: What the system says of it.
    """
    platforms = re.findall(r"^Tag: \S+-(\w*linux_\w+)$", wheel, re.MULTILINE)
    if not platforms:
        return info("PWD-002", "unknown for this library or this system")
    if platforms[0].startswith("linux_"):
        return ok("PWD-002", "built from source; how fast it is says PWD-003")
    if platforms[0].endswith("x86_64") and re.search(
        r"^flags\s*:.*\bavx2\b", processor, re.MULTILINE
    ):
        return info(
            "PWD-002",
            "SSE2, though this processor has AVX2, with which a login costs about half",
            "build argon2-cffi-bindings with CFLAGS=-march=x86-64-v3, as the Dockerfile does",
        )
    return ok("PWD-002", "the registry's wheel")


def _wheel() -> str:
    with suppress(PackageNotFoundError):
        return distribution("argon2-cffi-bindings").read_text("WHEEL") or ""
    return ""


async def _speed(settings: Settings) -> Finding:
    hasher = hasher_of(settings)
    took = []
    try:
        for _ in range(MEASUREMENTS):
            started = time.perf_counter()
            await hasher.hash("correct horse battery staple")
            took.append((time.perf_counter() - started) * 1000)
    except Overloaded:
        return warning(
            "PWD-003",
            "not even one hash can start within AUTHSVC_HASH_QUEUE_SECONDS",
            "lower the AUTHSVC_ARGON2_… settings, or raise AUTHSVC_HASH_QUEUE_SECONDS",
        )
    finally:
        hasher.queue.close()
    best = min(took)
    found = f"{best:.1f} ms a hash: about {1000 / best:.0f} logins a second and core"
    if best > SLOW:
        fix = "lower AUTHSVC_ARGON2_MEMORY_KIB or AUTHSVC_ARGON2_TIME, not below OWASP's minimum"
        return warning("PWD-003", found, fix)
    return ok("PWD-003", found)


def _memory(settings: Settings) -> Finding:
    threads = max(1, usable_cores() // settings.workers)
    in_budget = max(1, settings.hash_memory_budget_mib * 1024 // settings.argon2_memory_kib)
    at_once = min(threads, in_budget)
    need = settings.workers * at_once * settings.argon2_memory_kib * 1024
    limit = memory_limit()
    hashes = plural(settings.workers * at_once, "hash", "hashes")
    each = f"{hashes} at a time: {need / MIB:.0f} MiB"
    if limit is None:
        return info("PWD-004", f"{each}; how much there is is unknown")
    share = f"{each} of {limit / MIB:.0f} MiB"
    if need * 2 > limit:
        return warning(
            "PWD-004",
            f"{share}: under load the system may end authsvc",
            "give it more memory, or lower AUTHSVC_WORKERS or AUTHSVC_HASH_MEMORY_BUDGET_MIB",
        )
    return ok("PWD-004", share)


def memory_limit() -> int | None:
    """The bytes that this process may use: its container's limit, or the machine's memory."""
    found = []
    for path in CGROUP_LIMITS:
        text = _read(path).strip()
        if text.isdigit():
            found.append(int(text))
    total = re.search(r"^MemTotal:\s+(\d+) kB", _read(MEMINFO), re.MULTILINE)
    if total:
        found.append(int(total[1]) * 1024)
    return min(found, default=None)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return ""
