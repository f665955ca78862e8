"""What is counted: honest sessions lost, and how soon a thief is caught."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from statistics import mean, median

from proof.honest.browser import DISCIPLINES
from proof.honest.network import DAYS, PROFILES
from proof.honest.rules import RULES, SECOND
from proof.honest.sessions import STRATEGIES, live

OUR_DISCIPLINE = "key and lock"


@dataclass(frozen=True, slots=True)
class HonestFigure:
    """
    Sessions without a thief.

    Args:
        crashes: Whether browsers crashed and rolled their jars back.
        lost: How many users were logged out without having asked for it.
        refreshes: That succeeded, of all sessions together.
    """

    profile: str
    discipline: str
    rule: str
    crashes: bool
    sessions: int
    lost: int
    refreshes: int

    @property
    def share(self) -> float:
        """Of the sessions that were lost."""
        return self.lost / self.sessions


@dataclass(frozen=True, slots=True)
class ThiefFigure:
    """
    Sessions whose jar was copied; the user's client has our discipline.

    Args:
        sessions: That were still alive when the thief came.
        caught: How many ended, and with them the thief's access.
        median_seconds: From the theft to that end, of those that were caught.
        access_tokens: That the thief got, on average, and at most.
    """

    profile: str
    rule: str
    strategy: str
    sessions: int
    caught: int
    median_seconds: float | None
    longest_seconds: float | None
    access_tokens: float
    max_access_tokens: int


@dataclass(frozen=True, slots=True)
class Figures:
    """All of them, with what they were made from."""

    days: int
    seed: int
    honest: list[HonestFigure]
    thieves: list[ThiefFigure]

    def write(self, path: Path) -> None:
        """As JSON."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def read(cls, path: Path) -> Figures:
        """What `write` wrote."""
        raw = json.loads(path.read_text())
        return cls(
            days=raw["days"],
            seed=raw["seed"],
            honest=[HonestFigure(**each) for each in raw["honest"]],
            thieves=[ThiefFigure(**each) for each in raw["thieves"]],
        )


def measure(
    *,
    sessions: int,
    seed: int = 0,
    days: int = DAYS,
    profiles: tuple[str, ...] = tuple(PROFILES),
    rules: tuple[str, ...] = tuple(RULES),
) -> Figures:
    """
    Live all sessions.

    Args:
        sessions: Of each combination; every rule sees the same users on the same networks.
    """
    return Figures(
        days=days,
        seed=seed,
        honest=list(_honest(sessions, seed, days, profiles, rules)),
        thieves=list(_thieves(sessions, seed, days, profiles, rules)),
    )


def _honest(
    sessions: int, seed: int, days: int, profiles: tuple[str, ...], rules: tuple[str, ...]
) -> Iterator[HonestFigure]:
    for crashes in (False, True):
        for profile in profiles:
            for discipline in DISCIPLINES:
                for rule in rules:
                    lived = [
                        live(
                            RULES[rule](),
                            PROFILES[profile],
                            DISCIPLINES[discipline],
                            _random(seed, profile, index),
                            crashes=crashes,
                            days=days,
                        )
                        for index in range(sessions)
                    ]
                    lost = sum(each.lost for each in lived)
                    refreshes = sum(each.refreshes for each in lived)
                    yield HonestFigure(
                        profile, discipline, rule, crashes, sessions, lost, refreshes
                    )


def _thieves(
    sessions: int, seed: int, days: int, profiles: tuple[str, ...], rules: tuple[str, ...]
) -> Iterator[ThiefFigure]:
    for profile in profiles:
        for strategy in STRATEGIES:
            for rule in rules:
                lived = [
                    live(
                        RULES[rule](),
                        PROFILES[profile],
                        DISCIPLINES[OUR_DISCIPLINE],
                        _random(seed, profile, index),
                        strategy=strategy,
                        days=days,
                    )
                    for index in range(sessions)
                ]
                stolen = [each for each in lived if each.stolen]
                caught = [each.caught / SECOND for each in stolen if each.caught is not None]
                tokens = [each.access_tokens for each in stolen]
                yield ThiefFigure(
                    profile,
                    rule,
                    strategy,
                    sessions=len(stolen),
                    caught=len(caught),
                    median_seconds=median(caught) if caught else None,
                    longest_seconds=max(caught, default=None),
                    access_tokens=mean(tokens) if tokens else 0.0,
                    max_access_tokens=max(tokens, default=0),
                )


def _random(seed: int, profile: str, index: int) -> Random:
    return Random(f"{seed} {profile} {index}")  # noqa: S311 - chance that can be repeated
