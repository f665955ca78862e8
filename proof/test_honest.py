from datetime import timedelta
from pathlib import Path
from random import Random
from xml.etree import ElementTree as ET

import pytest

from authsvc.keys.rotation import create_first_keys
from proof.experiment import Findings, stage
from proof.honest.__main__ import write
from proof.honest.browser import DISCIPLINES
from proof.honest.charts import CHARTS
from proof.honest.experiment import HonestBrowsers, compare
from proof.honest.figures import Figures, HonestFigure, ThiefFigure, measure
from proof.honest.network import PROFILES
from proof.honest.rules import OURS
from proof.honest.service import serving
from proof.honest.sessions import STRATEGIES
from tests.conftest import START


@pytest.fixture(scope="module")
def figures() -> Figures:
    return measure(sessions=5, days=9)


def _honest(figures: Figures, **wanted: object) -> list[HonestFigure]:
    return [f for f in figures.honest if all(getattr(f, k) == v for k, v in wanted.items())]


def _thief(figures: Figures, rule: str, strategy: str) -> ThiefFigure:
    (found,) = (
        f for f in figures.thieves if (f.profile, f.rule, f.strategy) == ("calm", rule, strategy)
    )
    return found


def test_the_pure_rule_answers_as_the_service_does(database_url: str, tmp_path: Path) -> None:
    """Honest and stolen sessions, with every client, on every network, with crashes."""
    create_first_keys(tmp_path / "keys", now=START - timedelta(days=1))
    findings, random = Findings(), Random(4)  # noqa: S311 - chance that can be repeated
    with serving(database_url, tmp_path / "keys") as service:
        for discipline in DISCIPLINES:
            for strategy in (None, *STRATEGIES):
                compare(
                    service,
                    findings,
                    random,
                    disciplines=(discipline,),
                    strategies=(strategy,),
                    crashes=True,
                    days=6,
                )

    assert [] == findings.violations
    assert len(DISCIPLINES) * (len(STRATEGIES) + 1) == findings.done
    assert 300 < findings.counted.total()
    assert all(findings.counted[how] for how in ("rotated", "replayed", "kept", "refused"))


@pytest.mark.requirement("R1", "R2", "R3", "R8")
async def test_an_honest_browser_is_not_logged_out_by_the_service(tmp_path: Path) -> None:
    experiment, random = HonestBrowsers(days=3), Random(12)  # noqa: S311 - can be repeated
    async with stage(tmp_path) as place:
        findings = await experiment.run(place, units=3, random=random)
        control = await experiment.control(place, random=random)

    assert [] == findings.violations
    assert 3 == findings.done
    assert findings.counted["replayed"] > 0
    assert any("lost" in violation for violation in control.violations)


@pytest.mark.parametrize("rule", OURS)
@pytest.mark.parametrize("profile", PROFILES)
def test_key_and_lock_lose_no_session(figures: Figures, rule: str, profile: str) -> None:
    """Whatever is lost, slow, doubled or overtaken."""
    (found,) = _honest(
        figures, rule=rule, profile=profile, discipline="key and lock", crashes=False
    )

    assert (5, 0) == (found.sessions, found.lost)
    assert found.refreshes > 5 * 9


def test_the_simulation_can_lose_sessions(figures: Figures) -> None:
    """The positive control: a strict rule, whatever the client does, and ours without a client."""
    strict = _honest(figures, rule="strict", profile="awful", crashes=False)
    careless = _honest(figures, rule=OURS[0], profile="awful", discipline="neither")

    assert len(DISCIPLINES) == len(strict)
    assert all(figure.lost for figure in (*strict, *careless))


def test_a_following_thief_is_caught_unless_the_parent_is_always_allowed(figures: Figures) -> None:
    for rule in OURS:
        found = _thief(figures, rule, "follows, a minute behind")
        assert (found.sessions, 0) == (found.caught, found.max_access_tokens), rule
    parent = _thief(figures, "parent always", "follows, a minute behind")

    assert 0 == parent.caught
    assert 5 < parent.access_tokens


def test_a_thief_within_seconds_is_caught_where_there_is_no_window(figures: Figures) -> None:
    """The price of the retry window of cookies, which docs must not hide."""
    programs, cookies = (_thief(figures, rule, "follows, 3 s behind") for rule in reversed(OURS))

    assert programs.sessions == programs.caught
    assert cookies.caught < cookies.sessions


def test_the_figures_are_drawn_and_read_again(figures: Figures, tmp_path: Path) -> None:
    write(figures, tmp_path)

    assert figures == Figures.read(tmp_path / "honest.json")
    for name in CHARTS:
        root = ET.fromstring((tmp_path / f"{name}.svg").read_text())  # noqa: S314 - ours
        words = {text.text for text in root.iter("{http://www.w3.org/2000/svg}text")}
        assert set(OURS) <= words
