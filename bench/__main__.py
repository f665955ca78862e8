"""
`make bench`: measure the service against the limits of the machine it runs on.

    python -m bench                 everything (about half an hour; 20 GB of disk)
    python -m bench refresh orm     some measurements, into the results that are there
    python -m bench page            only write docs/performance.md from the results

Each measurement is written to docs/performance/results.json as soon as it is done, so that an
interrupted run continues with the ones that it names.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from bench import measurements as m
from bench.endings import measure_endings
from bench.machine import ROOT, machine
from bench.page import write_page
from bench.profile import profile_refresh
from bench.scale import measure_scale
from bench.verification import measure_verifier
from bench.world import World, world

RESULTS = ROOT / "docs" / "performance" / "results.json"
SECONDS = 6.0
FAMILIES = 10_000
SIZES = (10_000, 1_000_000, 10_000_000)
ROTATIONS = 1_000_000


async def _login_with_avx2(on: World) -> Any:
    with tempfile.TemporaryDirectory() as overlay:
        build = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "-q",
            "--no-deps",
            "--target",
            overlay,
            "--no-binary",
            "argon2-cffi-bindings",
            "argon2-cffi-bindings",
        ]
        subprocess.run(["env", "CFLAGS=-march=x86-64-v3", *build], check=True)
        return await m.measure_login_with_avx2(on, seconds=SECONDS, overlay=Path(overlay))


async def _limits(on: World) -> Any:
    return m.measure_limits(on, seconds=SECONDS)


async def _start(on: World) -> Any:
    return m.measure_start(on)


async def _scale(on: World) -> Any:
    return await measure_scale(
        on.stage.directory, sizes=SIZES, seconds=SECONDS, rotations=ROTATIONS
    )


async def _verifier(on: World) -> Any:
    del on  # it needs neither the service nor its database
    return await asyncio.to_thread(measure_verifier, seconds=SECONDS)  # it runs loops of its own


MEASUREMENTS: dict[str, Callable[[World], Awaitable[Any]]] = {
    "limits": _limits,
    "start": _start,
    "headroom": lambda on: m.measure_headroom(on, seconds=SECONDS),
    "refresh": lambda on: m.measure_refresh(on, seconds=SECONDS),
    "others": lambda on: m.measure_others(on, seconds=SECONDS),
    "isolation": lambda on: m.measure_isolation(on, seconds=SECONDS),
    "endings": measure_endings,
    "orm": lambda on: m.measure_orm(on, seconds=SECONDS),
    "avx2": _login_with_avx2,
    "verifier": _verifier,
    "profile": profile_refresh,
    "scale": _scale,
}


def _results() -> dict[str, Any]:
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else {}


async def main(names: list[str]) -> None:
    if shutil.which("wrk") is None:
        sys.exit("make bench needs the load generator wrk: apt-get install wrk")
    unknown = set(names) - {*MEASUREMENTS, "page"}
    if unknown:
        sys.exit(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(MEASUREMENTS)}, page")
    RESULTS.parent.mkdir(exist_ok=True)
    for name in names or MEASUREMENTS:
        if name == "page":
            continue
        print(f"== {name}", flush=True)
        began = time.monotonic()
        # The service's log goes to memory, as with a collector; PostgreSQL's data is on the disk.
        memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108
        with tempfile.TemporaryDirectory(prefix="bench-", dir=memory) as directory:
            async with world(Path(directory), FAMILIES) as on:
                found = await MEASUREMENTS[name](on)
        seconds = round(time.monotonic() - began)
        # Read as late as this: another run may have written its own meanwhile.
        results = _results() | {name: {"machine": machine(), "seconds": seconds, "found": found}}
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    write_page(_results(), ROOT / "docs")
    print("docs/performance.md is written.")


asyncio.run(main(sys.argv[1:]))
