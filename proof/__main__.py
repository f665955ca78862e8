"""
`make prove`: run the experiments, add up what they found, write docs/proof.md.

    python -m proof                           a tenth of every figure
    python -m proof --share 1 --minutes 60    towards the whole, for an hour
    python -m proof F01-kill-at-every-system-call mixed-schedule
    python -m proof honest                    only the figures of honest clients
    python -m proof list
    python -m proof page                      only write the page

A batch is seeded by its number and takes less than a minute; its findings are appended to
docs/proof/results.jsonl when it is done. So a run may be interrupted at any time, and the next
one goes on with the next batch. Batches of all experiments take turns.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

from bench.machine import ROOT, machine
from proof.experiment import Experiment, Findings, Stage, stage
from proof.honest.__main__ import SESSIONS, write
from proof.honest.figures import measure
from proof.page import write_page
from proof.registry import EXPERIMENTS

DOCS = ROOT / "docs"
RESULTS = DOCS / "proof" / "results.jsonl"
CONTROL = -1  # the batch number of a positive control


def results(record: Path = RESULTS) -> list[dict[str, Any]]:
    """What all runs so far have found."""
    if not record.exists():
        return []
    return [json.loads(line) for line in record.read_text().splitlines()]


async def run_batch(
    experiment: Experiment, on: Stage, *, number: int, units: int, record: Path
) -> None:
    """Run one batch, or the control, and append its line."""
    began = time.monotonic()
    random = Random(f"{experiment.name}/{number}")  # noqa: S311 - reproducible, not secret
    try:
        if number == CONTROL:
            found = await experiment.control(on, random=random)
        else:
            found = await experiment.run(on, units=units, random=random)
    except Exception:  # noqa: BLE001 - told below
        # An experiment that breaks has proved nothing, and must not pass for one that did.
        traceback.print_exc()
        found = Findings(violations=[f"the experiment broke: {traceback.format_exc(limit=-1)}"])
    line = {
        "experiment": experiment.name,
        "batch": number,
        "seconds": round(time.monotonic() - began, 1),
        **{name: machine()[name] for name in ("date", "commit", "cpu")},
        **vars(found),
    }
    record.parent.mkdir(exist_ok=True)
    with record.open("a") as file:
        file.write(json.dumps(line) + "\n")
    kind = "control" if number == CONTROL else f"batch {number}"
    print(
        f"{experiment.name} {kind}: {found.done} {experiment.unit}, "
        f"{len(found.violations)} violations, {line['seconds']} s",
        flush=True,
    )


async def prove(
    chosen: Sequence[Experiment], *, share: float, minutes: float, record: Path = RESULTS
) -> None:
    """Take turns until every experiment has its share of its goal, or time is up."""
    end = time.monotonic() + 60 * minutes
    with tempfile.TemporaryDirectory(prefix="proof-") as directory:
        async with stage(Path(directory)) as on:
            waiting = list(chosen)
            while waiting and time.monotonic() < end:
                for experiment in list(waiting):
                    mine = [r for r in results(record) if r["experiment"] == experiment.name]
                    done = sum(r["done"] for r in mine if r["batch"] != CONTROL)
                    if not any(r["batch"] == CONTROL for r in mine):
                        await run_batch(experiment, on, number=CONTROL, units=0, record=record)
                    elif done >= share * experiment.goal:
                        waiting.remove(experiment)
                    else:
                        number = 1 + max((r["batch"] for r in mine), default=CONTROL)
                        await run_batch(
                            experiment, on, number=number, units=experiment.batch, record=record
                        )
                    if time.monotonic() >= end:
                        break


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="make prove", description=__doc__.split("\n")[1])
    parser.add_argument("names", nargs="*", help="experiments; all if left out")
    parser.add_argument("--share", type=float, default=0.1, help="of every figure; 0.1")
    parser.add_argument("--minutes", type=float, default=24 * 60, help="when to stop")
    arguments = parser.parse_args()
    known = {experiment.name: experiment for experiment in EXPERIMENTS}
    if arguments.names == ["list"]:
        for experiment in EXPERIMENTS:
            print(f"{experiment.name}: {experiment.goal:,} {experiment.unit}")
        return
    if arguments.names == ["honest"] or not (RESULTS.parent / "honest.json").exists():
        print(f"simulating {SESSIONS} sessions of each kind, some minutes", flush=True)
        write(measure(sessions=SESSIONS), RESULTS.parent)
    if arguments.names not in (["page"], ["honest"]):
        unknown = set(arguments.names) - set(known)
        if unknown:
            sys.exit(f"unknown: {', '.join(sorted(unknown))}; `list` shows the experiments")
        chosen = [known[name] for name in arguments.names] or list(EXPERIMENTS)
        asyncio.run(prove(chosen, share=arguments.share, minutes=arguments.minutes))
    write_page(results(), EXPERIMENTS, DOCS)
    print("docs/proof.md is written.")
    wrong = [r for r in results() if r["batch"] != CONTROL and r["violations"]]
    blind = [r for r in results() if r["batch"] == CONTROL and not r["violations"]]
    if wrong or blind:
        sys.exit(f"{len(wrong)} batches with violations, {len(blind)} controls that found nothing")


if __name__ == "__main__":
    main()
