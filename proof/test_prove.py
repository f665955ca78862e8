"""The runner: batches are seeded by their number, add up over runs, and are never lost."""

from __future__ import annotations

from pathlib import Path
from random import Random

from proof.__main__ import prove, results, run_batch
from proof.experiment import Findings, Stage, stage
from proof.page import summed, write_page


class Dice:
    """An experiment that takes no time."""

    name = "F00-dice"
    promise = "No die falls on its edge."
    unit = "throws"
    goal = 100
    batch = 10

    async def run(self, stage: Stage, *, units: int, random: Random) -> Findings:
        del stage
        findings = Findings(done=units)
        for _ in range(units):
            findings.counted[f"shows {random.randint(1, 6)}"] += 1
        findings.at_most("seconds", random.random())
        return findings

    async def control(self, stage: Stage, *, random: Random) -> Findings:
        del stage, random
        return Findings(violations=["on its edge"])


async def test_runs_add_up_to_the_same_whatever_interrupts_them(tmp_path: Path) -> None:
    once, twice = tmp_path / "once" / "results.jsonl", tmp_path / "twice" / "results.jsonl"

    await prove([Dice()], share=0.3, minutes=1, record=once)
    await prove([Dice()], share=0.1, minutes=1, record=twice)
    await prove([Dice()], share=0.3, minutes=1, record=twice)

    assert [-1, 0, 1, 2] == [line["batch"] for line in results(once)]
    assert summed(results(once))["F00-dice"].counted == summed(results(twice))["F00-dice"].counted


async def test_the_page_says_what_was_run_and_no_more(tmp_path: Path) -> None:
    record = tmp_path / "proof" / "results.jsonl"
    await prove([Dice()], share=0.2, minutes=1, record=record)

    write_page(results(record), [Dice()], tmp_path)

    page = (tmp_path / "proof.md").read_text()
    assert "| 20 throws | 100: 20.0% | 0 | caught |" in page


class Broken(Dice):
    """An experiment that proves nothing, since it does not even run."""

    async def run(self, stage: Stage, *, units: int, random: Random) -> Findings:
        del stage, units, random
        raise ConnectionError("no service")


async def test_an_experiment_that_breaks_is_a_violation_and_not_a_pass(tmp_path: Path) -> None:
    record = tmp_path / "results.jsonl"

    async with stage(tmp_path) as on:
        await run_batch(Broken(), on, number=0, units=10, record=record)

    (line,) = results(record)
    assert "ConnectionError" in line["violations"][0]
