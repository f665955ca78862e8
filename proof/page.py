"""docs/proof.md, from the results and nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from proof.experiment import Experiment
from proof.guessing.figures import read, table
from proof.honest.browser import DISCIPLINES
from proof.honest.figures import Figures, HonestFigure
from proof.honest.rules import RULES
from proof.planted import BUGS

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
HONEST = """\
## Honest clients

A browser as people use it, simulated over {days} days of virtual time, {sessions} sessions for
each combination: one cookie jar, several tabs, sleep, requests and answers that are lost, slow,
doubled and reordered. The client may send the `Idempotency-Key`, hold a lock so that one refresh
is under way at a time, do both (as our browser client does), or neither. authsvc's rules are
those of the real service: the same sessions are lived against it, answer for answer
(F12-honest-browsers). The rules of its peers are simulated from their documentation: *strict*
(Keycloak, node-oidc-provider), *30 s leeway* (the same successor; Okta, Auth0), *parent always*
(GoTrue), *fork in grace* (Hydra).

![Honest sessions lost, by rule, network and client](proof/honest-sessions.svg)

The same for the mobile network in numbers, share of honest sessions lost:
"""
ROLLED_BACK = """
A crash can roll the cookie jar back to what was on the disk. A client that keeps its last key,
and repeats it in the first refresh after it starts, loses nothing by that:

![With crashes that roll the jar back](proof/rolled-back-sessions.svg)

## Thieves

The other half: how long somebody stays who has copied the jar of such a client.

![How long a thief stays](proof/thieves.svg)

What stands out against us: a thief who follows every refresh of a **cookie** session within the
retry window of 10 seconds is rarely caught on a calm network. Body tokens have no window, and
cookie sessions have none with `REFRESH_RETRY_WINDOW=0`; see [what the retry window
costs](refresh-families.md#what-the-retry-window-costs).
"""
GUESSING = """\
## Guessing, and who pays for it

A day of five populations, simulated under our throttle
([decision 0018](decisions/0018-throttle.md)) and under the rules of others with their defaults:
*GoTrue* counts all requests of an address, *Keycloak* (brute force detection, temporary lockout)
the failures of an account, *django-axes* the failures of an address, until an administrator resets
them. Our model is compared with the SQL, attempt for attempt, by our tests; those of the others
are simplified, and were not compared with their programs: of their defaults only GoTrue's 150
requests in 5 minutes were looked up. Their figures depend on the rate and the timing of the guesses
(in an earlier draft, with evenly timed guesses, Keycloak let 308 through where it is 2,701 now): an
order of magnitude, not a ranking. Who is told to wait comes back when Retry-After says. A cell
is the share of honest logins that had to wait, and the longest wait; a bold line says how many
guesses reached the password in that day. `python -m proof.guessing docs/proof/guessing.json`
repeats it.

What stands out against us: leaked passwords, one for each account, that come through a
backend-for-frontend are not slowed at all, since its address is a known network of its customers.
Once a botnet has spent an account's 100 failures, its owner waits for
up to a day on a new device in a new network. A neighbour who guesses from the owner's own address
keeps waiting who has no device cookie there, and his guesses are 505: the 298 that a known network
has in a day, and the 207 that the owner's 24 logins there gave back, since nothing tells an owner
who mistyped from a neighbour ([why it stays so](decisions/0018-throttle.md#consequences)).

"""
PLANTED = """\
## Planted bugs

A checker that passes everything proves nothing. Each of these builds breaks one promise, and
`make test-all` demands that the checker finds it, and finds nothing in the service as it is.
"""
FOUND = """\
## What it has found

Each was mended at the root, and has a regression test named for its fault. Runs from before a
mending are not counted above.

- **F08, F11**: a request that its client had given up, and repeated, was judged after the client
  had gone on, and ended the session as reuse. Twice: while it waited for a connection to the
  database, and while its bytes lay unread in the kernel
  ([decision 0011](decisions/0011-overtaken-requests.md)).
- **F04**: with several hosts in the URL, a primary that hung, or whose machine was gone, was asked
  first and used up the time for connecting, so its promoted standby was never asked; and every
  idle connection to it cost a request 2 s
  ([decision 0016](decisions/0016-several-hosts-of-the-database.md)).
- **F09**: after a lost reply of the database two requests with one key were both told `rotated`.
- **F09, longer than the deadline of a request**: refreshes that had been answered 503 before they
  were sent rotated when the database came back
  ([decision 0015](decisions/0015-rotations-that-go-together.md)). A review found it, and the
  experiment has such faults since.
- **F22, F26**: during a rolling upgrade, old processes called a newer schema not ready.
- **F24**: a client that did not read kept megabytes of answers in the kernel.
- **F30**: pipelined requests were still served after their client had hung up.

And one in PostgreSQL 18.4 that cannot be mended here. **F18**: if the disk is full as the
recovery after a crash begins, the server may stay up and answer "not yet accepting connections"
for good, with no process that recovers. Starting it again helps; the experiment does what its
operator would do, and counts it.
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
`make test-all`.
"""


@dataclass
class Sum:
    """One experiment over all its batches."""

    done: int = 0
    batches: int = 0
    commits: list[str] = field(default_factory=list)
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
        if line["commit"] not in found.commits:
            found.commits.append(line["commit"])
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
    parts = [
        HEAD,
        *_table(sums, experiments),
        *_honest(docs / "proof"),
        *_guessing(docs / "proof"),
        *_planted(),
    ]
    parts += [FOUND]
    parts += [*_details(sums, experiments), *_when(results)]
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


def _honest(directory: Path) -> Iterator[str]:
    if not (directory / "honest.json").exists():
        return
    figures = Figures.read(directory / "honest.json")
    each = max(figure.sessions for figure in figures.honest)
    yield HONEST.format(days=figures.days, sessions=each)
    kept_key = {name for name, client in DISCIPLINES.items() if client.keeps_key}
    clients = [name for name in DISCIPLINES if name not in kept_key]
    lost = {(f.rule, f.discipline): f.share for f in figures.honest if _plain(f)}
    yield "| rules of | " + " | ".join(clients) + " |"
    yield "|---" * (len(clients) + 1) + "|"
    for rule in RULES:
        row = " | ".join(f"{lost[rule, client]:.1%}" for client in clients)
        yield f"| {rule} | {row} |"
    yield ROLLED_BACK


def _guessing(directory: Path) -> Iterator[str]:
    if (directory / "guessing.json").exists():
        yield GUESSING
        yield from table(read(directory / "guessing.json"))
        yield ""


def _plain(figure: HonestFigure) -> bool:
    return figure.profile == "mobile" and not figure.crashes


def _planted() -> Iterator[str]:
    yield PLANTED
    yield "| planted | what breaks |\n|---|---|"
    for name, breaks in BUGS.items():
        yield f"| `{name}` | {breaks} |"
    yield ""


def _details(sums: dict[str, Sum], experiments: Sequence[Experiment]) -> Iterator[str]:
    for experiment in experiments:
        found = sums.get(experiment.name)
        yield f"### {experiment.name}\n"
        yield f"{experiment.promise}\n"
        if found is None:
            continue
        commits = ", ".join(f"`{commit}`" for commit in found.commits)
        facts = [f"{found.batches} batches in {found.seconds / 60:,.0f} minutes, of {commits}"]
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
