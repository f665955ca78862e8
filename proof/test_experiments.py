"""The short form of `make prove`: every experiment, and every positive control that is quick."""

from __future__ import annotations

from collections.abc import AsyncIterator
from random import Random

import pytest
from _pytest.mark import ParameterSet

from proof.experiment import Experiment, Stage, stage
from proof.many_endings import ManyEndings
from proof.registry import EXPERIMENTS
from proof.slow_clients import SlowClients

# Units of the short form.
SHORT = {
    "mixed-schedule": 250,
    "F01-kill-the-service-at-every-system-call": 8,
    "F02-F03-kill-postgres": 4,
    "F04-synchronous-failover": 2,
    "F05-asynchronous-failover": 1,
    "F07-F20-slow-database": 1,
    "F08-client-aborts": 100,
    "F09-database-link": 3,
    "F10-lost-answers": 400,
    "F12-honest-browsers": 2,
    "F12-two-to-ten-tabs": 30,
    "F13-one-token-many-times": 18,
    "F14-disable": 20,
    "F14-end-session": 20,
    "F14-logout-all": 20,
    "F14-logout-others": 20,
    "F14-logout-session": 20,
    "F14-password-change": 20,
    "F14-reuse": 20,
    "F14-revoke-user-sessions": 20,
    "F15-clock-skew": 48,
    "F16-F17-F28-keys-under-load": 4,
    "F16-key-schedule-over-virtual-hours": 4,
    "F18-disk-full-postgres": 1,
    "F18-disk-full-service-log": 1,
    "F19-disk-error-postgres": 1,
    "F22-migration-killed-at-every-statement": 3,
    "F23-more-logins-than-can-be-hashed": 300,
    "F24-slow-clients": 300,
    "F25-guesses-from-everywhere": 1_000,
    "F26-rolling-restart": 1,
    "F30-malformed-input": 4_000,
    "F30-stateful-fuzzing": 30,
    "A1-end-very-many-sessions": 3,
    "A4-a-crowded-revocation-log": 1_500,
    "A7-abandoned-replays": 100,
}
# Controls that take few seconds; `make prove` runs all of them.
QUICK = (
    "F08-client-aborts",
    "F12-honest-browsers",
    "F12-two-to-ten-tabs",
    "F13-one-token-many-times",
    "F14-disable",
    "F14-logout-all",
    "F14-logout-session",
    "F15-clock-skew",
    "F16-key-schedule-over-virtual-hours",
    "F22-migration-killed-at-every-statement",
    "F25-guesses-from-everywhere",
    "F26-rolling-restart",
    "A1-end-very-many-sessions",
    "A4-a-crowded-revocation-log",
    "A7-abandoned-replays",
)
HURRIED: dict[str, Experiment] = {
    # The service's time-outs are 10 and 30 seconds; here they are a twentieth.
    "F24-slow-clients": SlowClients(hurry=20.0),
    "A1-end-very-many-sessions": ManyEndings(sessions=10_000),
}


def of(name: str) -> Experiment:
    return HURRIED.get(name) or next(each for each in EXPERIMENTS if each.name == name)


def _marked(name: str) -> ParameterSet:
    """With the rows of docs/security.md that the experiment covers, and the finding."""
    rows = {
        "F12-two-to-ten-tabs": ("R1", "R3"),
        "F13-one-token-many-times": ("R1", "R2", "R3"),
        "F12-honest-browsers": ("R1", "R2", "R3", "R8"),
    }.get(name, ("R4", "D2", "D5") if name.startswith("F14") else ())
    marks = [pytest.mark.requirement(*rows)] if rows else []
    number = name.partition("-")[0]
    if number in {"A1", "A4", "A7"}:
        marks.append(pytest.mark.finding(f"11.{number[1:]}"))
    return pytest.param(name, marks=marks)


@pytest.fixture(scope="module")
async def on(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    async with stage(tmp_path_factory.mktemp("proof")) as opened:
        yield opened


def test_every_experiment_has_a_short_form() -> None:
    assert {experiment.name for experiment in EXPERIMENTS} == set(SHORT)


@pytest.mark.parametrize("name", [_marked(name) for name in SHORT])
async def test_no_promise_is_broken(on: Stage, name: str) -> None:
    findings = await of(name).run(on, units=SHORT[name], random=Random("short"))  # noqa: S311

    assert [] == findings.violations
    assert findings.done >= SHORT[name]


@pytest.mark.parametrize("name", QUICK)
async def test_the_experiment_can_fail(on: Stage, name: str) -> None:
    findings = await of(name).control(on, random=Random("short"))  # noqa: S311

    assert [] != findings.violations
