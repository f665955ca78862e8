"""F12: honest browsers over weeks of virtual time, at the real service and at its pure rule."""

from __future__ import annotations

import asyncio
import shutil
from datetime import timedelta
from pathlib import Path
from random import Random

from authsvc.keys.rotation import create_first_keys
from proof.experiment import Experiment, Findings, Stage
from proof.honest.browser import DISCIPLINES
from proof.honest.network import DAYS, PROFILES
from proof.honest.rules import RULES, Rule
from proof.honest.service import RealSession, Service, serving
from proof.honest.sessions import Lived, live
from tests.conftest import START

DELIVERIES = {"authsvc, cookies": "spa", "authsvc, programs": "native"}
CONTROLS = 4


def compare(
    service: Service,
    findings: Findings,
    random: Random,
    *,
    disciplines: tuple[str, ...],
    profiles: tuple[str, ...] = tuple(PROFILES),
    strategies: tuple[str | None, ...] = (None,),
    crashes: bool = False,
    days: int = DAYS,
) -> Lived:
    """One session at the service, and once more at our pure rule, which must answer the same."""
    rule = random.choice(tuple(DELIVERIES))
    profile, discipline = random.choice(profiles), random.choice(disciplines)
    strategy, seed = random.choice(strategies), random.getrandbits(64)

    def run(session: Rule) -> Lived:
        return live(
            session,
            PROFILES[profile],
            DISCIPLINES[discipline],
            Random(seed),  # noqa: S311 - chance that can be repeated
            crashes=crashes,
            strategy=strategy,
            days=days,
        )

    real, pure = run(RealSession(service, DELIVERIES[rule])), run(RULES[rule]())
    if real != pure:
        case = f"{rule}, {profile}, {discipline}, {strategy}, seed {seed}"
        findings.violations.append(f"the service and the rule disagree: {case}")
    findings.done += 1
    findings.counted.update(how for _, how in real.trace)
    findings.counted["sessions lost"] += real.lost
    return real


class HonestBrowsers:
    """Sessions of four weeks with our client discipline, at the real service."""

    name = "F12-honest-browsers"
    promise = (
        "A browser that refreshes under a lock and repeats its Idempotency-Key is not logged out "
        "in four weeks on a network that loses, delays, doubles and reorders requests and answers."
    )
    unit = "sessions of four weeks"
    goal = 2_000
    batch = 15

    def __init__(self, days: int = DAYS) -> None:
        self._days = days

    async def run(self, stage: Stage, *, units: int, random: Random) -> Findings:
        """`units` sessions on all networks, none of which may be lost."""
        return await self._sessions(stage, units, random, "key and lock")

    async def control(self, stage: Stage, *, random: Random) -> Findings:
        """A browser with neither key nor lock on the worst network."""
        return await self._sessions(stage, CONTROLS, random, "neither", ("awful",))

    async def _sessions(
        self,
        stage: Stage,
        units: int,
        random: Random,
        discipline: str,
        profiles: tuple[str, ...] = tuple(PROFILES),
    ) -> Findings:
        findings = Findings()

        def work(url: str, keys_dir: Path) -> None:
            with serving(url, keys_dir) as service:
                for _ in range(units):
                    lived = compare(
                        service,
                        findings,
                        random,
                        disciplines=(discipline,),
                        profiles=profiles,
                        days=self._days,
                    )
                    if lived.lost:
                        findings.violations.append(f"an honest session was lost: {discipline}")

        async with stage.database() as url:
            with stage.place() as place:
                # The virtual clock is behind the real one.
                shutil.rmtree(place / "keys")
                create_first_keys(place / "keys", now=START - timedelta(days=1))
                await asyncio.to_thread(work, url, place / "keys")
        return findings


EXPERIMENTS: tuple[Experiment, ...] = (HonestBrowsers(),)
