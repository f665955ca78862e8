"""The short form of `make bench`: nothing about speed, everything about right answers."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from bench import measurements, page
from bench.charts import line_chart
from bench.endings import measure_endings
from bench.profile import shares
from bench.scale import measure_scale
from bench.verification import measure_verifier
from bench.world import world

needs_wrk = pytest.mark.skipif(shutil.which("wrk") is None, reason="needs wrk: apt-get install wrk")


@needs_wrk
async def test_every_load_is_answered_and_every_chain_is_whole(tmp_path: Path) -> None:
    async with world(tmp_path, 500) as on:
        limits = measurements.measure_limits(on, seconds=0.3)
        refresh = await measurements.measure_refresh(on, seconds=1, workers=(2,), sweep=(1, 16))
        others = await measurements.measure_others(on, seconds=1, users=4, workers=(2,))
        orm = await measurements.measure_orm(on, seconds=1, users=(2,), rounds=1)
        scale = await measure_scale(tmp_path, sizes=(500, 1_000), seconds=1, rotations=0, rounds=1)

    loads = [*refresh, *orm[0].values(), *others["2"].values()]
    loads += scale["rounds"][0]
    assert {0} == {run["failed"] for run in loads}, [run["failure"] for run in loads]
    assert {0} == {run["lost_chains"] for run in loads if "lost_chains" in run}
    assert all(run["answers"] > 0 and run["service_cpu"] > 0 for run in loads)
    # A ratio to a limit is below it; one that is far below would mean a broken measurement.
    for run in refresh:
        assert 0.02 < run["rate"] / measurements.combined_limit(limits, run["generator_cpu"]) < 1


@needs_wrk
async def test_a_broken_chain_is_seen(tmp_path: Path) -> None:
    """The measurement's own control: two users with one token are reuse."""
    async with world(tmp_path, 100) as on:
        with on.serving(workers=1) as serving:
            token = (await on.tokens(1))[0]
            run = measurements._run("refresh", on, serving, [token, token], 1)

        assert run.failed > 0
        assert run.failure
        assert await on.lost_chains(run) > 0


def test_the_page_says_which_targets_were_missed() -> None:
    machine = dict.fromkeys(
        ("date", "commit", "cpu", "memory", "system", "python", "libraries"), ""
    )
    start: dict[str, Any] = {"pss_mb_one_idle_worker": 101.0, "first_answer_seconds": 1.2}

    targets = list(page.targets({"start": {"machine": machine, "seconds": 1, "found": start}}))

    assert [False, True] == [target.met for target in targets]


def test_shares_of_a_profile_add_up() -> None:
    found = shares("main (a/b.py:1);work (c/d.py:2) 3\nmain (a/b.py:1);rest (c/d.py:3) 1\n")

    assert [["work (c/d.py)", 0.75], ["rest (c/d.py)", 0.25]] == found["own"]


def test_a_chart_is_whole_xml() -> None:
    from xml.etree.ElementTree import fromstring  # noqa: PLC0415 - our own text

    chart = line_chart(
        "a < b", x_label="x", y_label="y", lines={"one & two": [(1, 5.0), (16, 900.0)]}, log_y=True
    )

    assert fromstring(chart).tag.endswith("svg")  # noqa: S314 - our own text


def test_the_verifier_is_measured_against_its_limit_and_another() -> None:
    found = measure_verifier(seconds=0.3, rounds=1)

    assert 0.02 < found["of_rsa"]  # as short as this, noise has no upper bound
    assert 1 == found["fetches"]
    assert {"rsa", "verifier", "verifier_async", "pyjwt"} == set(found["per_second"])
    machine = dict.fromkeys(
        ("date", "commit", "cpu", "memory", "system", "python", "libraries"), ""
    )
    text = "\n".join(
        page._verifier({"verifier": {"machine": machine, "seconds": 1, "found": found}})
    )
    assert "| plain PyJWT |" in text


@pytest.mark.finding("11.1")
async def test_the_end_of_many_sessions_is_measured_by_its_answer(tmp_path: Path) -> None:
    async with world(tmp_path, 10) as on:
        found = await measure_endings(on, sizes=(3, 300), rounds=1)

    machine = dict.fromkeys(
        ("date", "commit", "cpu", "memory", "system", "python", "libraries"), ""
    )
    results = {"endings": {"machine": machine, "seconds": 1, "found": found}}
    ways = ["logout all", "logout others", "disable"]
    assert [(way, size) for way in ways for size in (3, 300)] == [
        (run["way"], run["sessions"]) for run in found
    ]
    assert [f"{way} with 300 sessions" for way in ways] == [
        target.name for target in page.targets(results)
    ]
    assert "| disable | 300 |" in "\n".join(page._endings(results))
