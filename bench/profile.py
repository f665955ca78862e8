"""Where the time of a refresh goes: a sampling profile of one loaded worker, as text."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from bench import load
from bench.world import World

SECONDS = 10
LISTED = 40


async def profile_refresh(world: World) -> dict[str, Any]:
    """
    Sample with py-spy.

    Returns:
        `own` and `inclusive`: functions with their share of the samples.
    """
    spy = shutil.which("py-spy") or shutil.which("py-spy", path=str(Path(sys.executable).parent))
    if spy is None:
        sys.exit("The profile needs py-spy: .venv/bin/python -m pip install py-spy")
    with world.serving(workers=1) as serving, NamedTemporaryFile() as raw:
        sampler = subprocess.Popen(
            [
                spy,
                "record",
                "-p",
                str(serving.processes[0]),
                "-d",
                str(SECONDS),
                "-r",
                "500",
                "-f",
                "raw",
                "-o",
                raw.name,
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        lines = await world.tokens(8)
        load.run("refresh", serving.port, lines, seconds=SECONDS + 1)
        sampler.wait()
        return shares(Path(raw.name).read_text())


def shares(raw: str) -> dict[str, Any]:
    """From collapsed stacks to shares."""
    own: Counter[str] = Counter()
    inclusive: Counter[str] = Counter()
    for line in raw.splitlines():
        stack, _, count = line.rpartition(" ")
        frames = [_short(frame) for frame in stack.split(";")]
        own[frames[-1]] += int(count)
        for frame in set(frames):
            inclusive[frame] += int(count)
    samples = sum(own.values())
    return {
        "samples": samples,
        "own": [[frame, n / samples] for frame, n in own.most_common(LISTED)],
        "inclusive": [
            [frame, n / samples]
            for frame, n in inclusive.most_common(3 * LISTED)
            if n / samples < 0.9
        ][:LISTED],
    }


def _short(frame: str) -> str:
    """`function (package/module.py)`."""
    match = re.fullmatch(r"(.*) \((.*?)(?::\d+)?\)", frame)
    if match is None:
        return frame
    return f"{match[1]} ({'/'.join(Path(match[2]).parts[-2:])})"
