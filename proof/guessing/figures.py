"""The figures of docs/proof.md: what each rule does to each population, as JSON and as a table."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

from proof.guessing.ours import Ours
from proof.guessing.populations import DAY, live, populations
from proof.guessing.rules import DjangoAxes, GoTrue, Keycloak, Rule

RULES: dict[str, Callable[[], Rule]] = {
    "authsvc": Ours,
    "GoTrue": GoTrue,
    "Keycloak": Keycloak,
    "django-axes": DjangoAxes,
}
Figures = list[dict[str, Any]]


def measure(*, scale: float = 1) -> Figures:
    """All of them; the same people and the same guesses for each rule."""
    figures: Figures = []
    for population in populations(Random("people"), scale=scale):  # noqa: S311 - reproducible
        for name, rule in RULES.items():
            outcome = live(population, rule(), Random("guesses"))  # noqa: S311 - reproducible
            figures += [
                {
                    "population": population.name,
                    "group": group,
                    "rule": name,
                    "visits": len(outcome.waits[group]),
                    "delayed": outcome.delayed(group),
                    "longest": outcome.longest(group).total_seconds(),
                    "guesses": outcome.guessed.total(),
                    "most": max(outcome.guessed.values(), default=0),
                }
                for group in outcome.waits
            ]
    return figures


def table(figures: Figures) -> Iterator[str]:
    """The lines of the table."""
    yield "| who | " + " | ".join(RULES) + " |"
    yield "|---" * (len(RULES) + 1) + "|"
    cells: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    for figure in figures:
        cells.setdefault((figure["population"], figure["group"]), {})[figure["rule"]] = figure
    before = ""
    for (population, group), row in cells.items():
        if population != before:
            guessed = (_guesses(row[rule]) for rule in RULES)
            yield f"| **{population}**: guesses | " + " | ".join(guessed) + " |"
            before = population
        yield f"| {group} | " + " | ".join(_delays(row[rule]) for rule in RULES) + " |"


def _guesses(figure: dict[str, Any]) -> str:
    if not figure["guesses"]:
        return "-"
    return f"{figure['guesses']:,}; {figure['most']:,} at one account"


def _delays(figure: dict[str, Any]) -> str:
    if not figure["delayed"]:
        return "0%"
    longest = timedelta(seconds=figure["longest"])
    return f"{figure['delayed']:.1%}, {'a day' if longest >= DAY else longest}"


def read(path: Path) -> Figures:
    """As they were written."""
    found: Figures = json.loads(path.read_text())
    return found


def write(path: Path) -> None:
    """Measure all at full size."""
    path.write_text(json.dumps(measure(), indent=1) + "\n")
