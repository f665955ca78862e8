"""docs/proof.md, from the results and nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.proof.experiment import Experiment

HEAD = """\
# Proof

Written by `make prove` from [`proof/results.jsonl`](proof/results.jsonl). Nothing is rounded up: a
figure is the sum of the batches that were run and recorded, on the machines and commits listed
below. The rules that are checked are those of [refresh-families.md](refresh-families.md); the
invariants I1 to I20 are in [security.md](security.md).

How to read the table: every experiment runs the real service in processes of its own, with a real
PostgreSQL (fsync on), does something bad to it, and looks for broken promises. A **violation** is a
fork, an honest session lost, an acknowledged change undone, a dead credential accepted, an answer
of 500 or none within the deadline, or a recovery that took longer than 5 s. The **control** is
the same experiment against a build or setting that must fail; a control that finds nothing means
that the experiment is blind.
"""
REPEAT = """\
## Repeat it

```
apt-get install strace faketime wrk     # Debian; and root, for mounts and ptrace
make prove                              # a tenth of every figure
make prove ARGS="--share 1"             # all of it; hours. It may be interrupted and goes on
make prove ARGS="list"
```

Every batch is seeded by its number. The short forms of all experiments and controls run in
`make test`.
"""


@dataclass
class Sum:
    """One experiment over all its batches."""

    done: int = 0
    batches: int = 0
    seconds: float = 0
    violations: list[str] = field(default_factory=list)
    counted: Counter[str] = field(default_factory=Counter)
    worst: dict[str, float] = field(default_factory=dict)
    controls: int = 0
    caught: int = 0


def summed(results: Sequence[dict[str, Any]]) -> dict[str, Sum]:
    """The sums by experiment."""
    sums: dict[str, Sum] = {}
    for line in results:
        found = sums.setdefault(line["experiment"], Sum())
        if line["batch"] < 0:
            found.controls += 1
            found.caught += bool(line["violations"])
            continue
        found.done += line["done"]
        found.batches += 1
        found.seconds += line["seconds"]
        found.violations += line["violations"]
        found.counted.update(line["counted"])
        for name, value in line["worst"].items():
            found.worst[name] = max(value, found.worst.get(name, value))
    return sums


def write_page(
    results: Sequence[dict[str, Any]], experiments: Sequence[Experiment], docs: Path
) -> None:
    """The page."""
    sums = summed(results)
    parts = [HEAD, *_table(sums, experiments), *_details(sums, experiments), *_when(results)]
    (docs / "proof.md").write_text("\n".join([*parts, REPEAT]))


def _table(sums: dict[str, Sum], experiments: Sequence[Experiment]) -> Iterator[str]:
    yield "## What was run\n"
    yield "| experiment | done | of the long form | violations | control |"
    yield "|---|---:|---:|---:|---|"
    for experiment in experiments:
        found = sums.get(experiment.name, Sum())
        share = found.done / experiment.goal
        control = "caught" if found.caught and found.caught == found.controls else "**not caught**"
        yield (
            f"| [{experiment.name}](#{experiment.name.lower()}) | {found.done:,} {experiment.unit} "
            f"| {experiment.goal:,}: {share:.1%} | {len(found.violations)} "
            f"| {control if found.controls else 'not run'} |"
        )
    yield ""


def _details(sums: dict[str, Sum], experiments: Sequence[Experiment]) -> Iterator[str]:
    for experiment in experiments:
        found = sums.get(experiment.name)
        if found is None:
            continue
        yield f"### {experiment.name}\n"
        yield f"{experiment.promise}\n"
        facts = [f"{found.batches} batches in {found.seconds / 60:,.0f} minutes"]
        facts += [f"{name.replace('_', ' ')}: {n:,}" for name, n in sorted(found.counted.items())]
        facts += [
            f"worst {name.replace('_', ' ')}: {value:,.3g}"
            for name, value in sorted(found.worst.items())
        ]
        yield "; ".join(facts) + ".\n"
        for violation in found.violations[:20]:
            yield f"- **violation**: {violation}"
        if found.violations:
            yield ""


def _when(results: Sequence[dict[str, Any]]) -> Iterator[str]:
    yield "## On what, and when\n"
    yield "| date | commit | machine | batches | minutes |\n|---|---|---|---:|---:|"
    runs: dict[tuple[str, str, str], list[float]] = {}
    for line in results:
        runs.setdefault((line["date"], line["commit"], line["cpu"]), []).append(line["seconds"])
    for (date, commit, cpu), seconds in runs.items():
        yield f"| {date} | `{commit}` | {cpu} | {len(seconds)} | {sum(seconds) / 60:,.0f} |"
    yield ""
