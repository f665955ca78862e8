"""docs/performance.md, from the results and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from bench.charts import line_chart
from bench.measurements import combined_limit

Json = dict[str, Any]

HEAD = """\
# Performance

Written by `make bench` from `docs/performance/results.json`; every number below is from one
machine and says nothing about another. **What carries over are the ratios**: the service against
what the same machine does with the bare parts, measured in the same run.

All runs: real PostgreSQL 18 on the same machine with fsync and synchronous_commit on, RS256 with
2048 bits, argon2id with 19 MiB and 2 passes, the access log on (into memory: written to the disk
that PostgreSQL syncs it costs 60 µs more for each refresh). The load comes from wrk, one
thread and one connection for each virtual user, and every user of a refresh load holds a chain of
refresh tokens of its own: it can only go on with the token that the last answer gave it. Service,
PostgreSQL and wrk share the cores, and the CPU of each is measured.
"""
TRIED = """\
## What was tried, and what the missed targets wait for

A refresh costs about 250 µs for the signature and as much again for Python: HTTP parsing, the
ASGI messages, the log line, the metrics and asyncpg's protocol. What is done already, each step
measured: no routing, dependency injection or response model on this path
([decision 0010](decisions/0010-direct-endpoints-and-a-small-pool.md)), a pool without timers and
reset queries, prebuilt encoders, metrics in memory instead of on the disk that PostgreSQL syncs
(1,000 to 740 µs), fewer collections of garbage (3 %), and rotations that come together share a
statement ([decision 0015](decisions/0015-rotations-that-go-together.md): a quarter to a half more
refreshes, a third to a half of PostgreSQL's CPU). No part of what is left is larger than a few
per cent; see the profile.

- **The share of the combined limit and the distance to the ORM.** They grow with the number of
  users, since more rotations then share a statement and a turn of the loop. With 16, both workers,
  PostgreSQL and the generator's 16 threads take turns on two cores and their caches: what costs a
  worker about 500 µs with a core of its own costs it 700. It is the company that costs: signatures
  and Python in loops of their own hardly slow down when both cores are busy (the limits above).
  Pinning processes to cores and one statement under way instead of two gained less than the noise.
- **p99** is the queue: with 16 users 8 requests for each worker of half a millisecond; with one
  user it is the fsync, which on this disk takes from 0.2 to several milliseconds.
- **Refresh under a login flood.** 16 users that are never idle wait 16 / rate on average, so a p99
  below that average is out of reach at any share of today's rate; with 4 users one sees what the
  flood adds. What was tried, with figures: refusing before the look-up, seven priorities, a
  process of its own for argon2, and long turns for its threads, which brought the rate to what was
  asked ([decision 0012](decisions/0012-passwords-under-load.md)).
- **Ten million families**: each rotation touches a page that was not touched before, and writes
  its whole image to the WAL once after a checkpoint. Nothing in the statement or its plan depends
  on their number. With the memory that PostgreSQL's manual advises the sizes differ by less than
  the rounds do; with its default of 128 MB the largest reached 75 % of the smallest.
- **Ending 100,000 sessions** was measured at `948e237` beside other work, with a load of 10 on the
  two cores; a hundred sessions took 41 to 49 ms at that time. What is done before the answer does
  not depend on their number: 200 rows with an audit record each, and one entry of the feed.
- **Login** loses its share to cold caches: argon2 sweeps 19 MiB through them, and what a login
  does besides takes 3 ms of the service's CPU and 1 ms of PostgreSQL's, spread over everything
  (the largest piece, the signature, is a tenth of it). Huge pages for argon2's memory gained 2 %.
- **Errors**, if there are any, are logins of the mixed load that were answered 503 `overloaded`:
  the other requests saturate both cores, and at the lower priority two passwords had no turn
  within `HASH_QUEUE_SECONDS`.
"""
REPEAT = """\
## Measure it yourself

```
apt-get install wrk
.venv/bin/python -m pip install py-spy
make bench                      # about half an hour, 20 GB of disk
make bench ARGS="refresh page"  # some of it
```

The short form runs in `make test-all`: it asserts that no answer is wrong and no chain is lost, and
nothing about speed.
"""


@dataclass(frozen=True)
class Target:
    """What was to be reached."""

    name: str
    wanted: str
    measured: str
    met: bool


def write_page(results: Json, docs: Path) -> None:
    """The page and its plots."""
    parts = [HEAD, *_machine(results), *_targets(results), *_refresh(results, docs)]
    parts += [*_limits(results), *_others(results), *_scale(results), *_endings(results)]
    parts += [*_verifier(results)]
    parts += [*_profile(results), TRIED, REPEAT]
    (docs / "performance.md").write_text("\n".join(parts))


def targets(results: Json) -> Iterator[Target]:
    """Every target that its measurements are there for."""
    found = {name: result["found"] for name, result in results.items()}
    if "headroom" in found:
        yield from _headroom(found["headroom"])
    if "refresh" in found:
        two = [run for run in found["refresh"] if run["workers"] == 2]
        for users, allowed in ((1, 3.0), (16, 15.0)):
            p99 = next(run["p99"] for run in two if run["users"] == users)
            yield Target(
                f"refresh p99, {users} user{'s' * (users > 1)}",
                f"≤ {allowed:g} ms",
                f"{p99:.1f} ms",
                p99 <= allowed,
            )
        wrong = _wrong(found)
        yield Target("errors and lost chains, all runs", "0", str(wrong), wrong == 0)
    if "orm" in found:
        yield from _of_the_orm(found["orm"])
    if {"limits", "others"} <= set(found):
        cores, raw = found["limits"]["cores"], found["limits"]["argon2id_verifications"]
        rate = found["others"]["1"]["jwks304"]["rate"]
        yield Target("key set with 304s, one worker", "≥ 10,000/s", f"{rate:,.0f}/s", rate >= 1e4)
        if "avx2" in found:
            ratio = found["avx2"]["login"]["rate"] / (cores * raw)
            yield Target(
                "login with AVX2, of the wheel's raw argon2id",
                "≥ 1.3 x",
                f"{ratio:.2f} x",
                ratio >= 1.3,
            )
    if "isolation" in found:
        yield from _beside_a_flood(found["isolation"])
    if "scale" in found:
        yield from _of_the_smallest(found["scale"])
        hot = found["scale"]["tables"][-1]["hot_share"]
        yield Target("HOT updates", "≥ 95 %", _percent(hot), hot >= 0.95)
    yield from _within_a_request(found.get("endings", []))
    if "start" in found:
        pss, first = (
            found["start"]["pss_mb_one_idle_worker"],
            found["start"]["first_answer_seconds"],
        )
        yield Target("memory (PSS), one idle worker", "≤ 100 MB", f"{pss:.0f} MB", pss <= 100)
        yield Target("from `serve` to the first answer", "≤ 1.5 s", f"{first:.2f} s", first <= 1.5)


def _of_the_orm(runs: list[Json]) -> Iterator[Target]:
    for users, those in _by_users(runs, lambda run: run["ours"]["users"]):
        ratios = [run["ours"]["rate"] / run["orm"]["rate"] for run in those]
        ratio, each = median(ratios), ", ".join(f"{one:.1f}" for one in ratios)
        yield Target(
            f"refresh, of the same through an ORM, {users} users",
            "≥ 5 x",
            f"{ratio:.1f} x ({each})",
            ratio >= 5,
        )


def _by_users(runs: list[Json], users: Callable[[Json], int]) -> list[tuple[int, list[Json]]]:
    """Runs of several rounds, by their number of users."""
    return [
        (number, [run for run in runs if users(run) == number])
        for number in sorted({users(run) for run in runs})
    ]


def _beside_a_flood(isolation: Json) -> Iterator[Target]:
    for run in isolation["loads"]:
        share = run["flooded"]["rate"] / run["alone"]["rate"]
        kept = run["logins_hashed"]["rate"] / isolation["login_alone"]["rate"]
        p99, beside = run["flooded"]["p99"], f"under a login flood, {run['alone']['users']} users"
        yield Target(f"refresh p99 {beside}", "≤ 12 ms", f"{p99:.1f} ms", p99 <= 12)
        yield Target(f"refresh rate {beside}", "≥ 50 %", _percent(share), share >= 0.5)
        yield Target(f"logins hashed {beside}", "≥ 40 %", _percent(kept), kept >= 0.4)


def _of_the_smallest(scale: Json) -> Iterator[Target]:
    shares = [loads[-1]["rate"] / loads[0]["rate"] for loads in scale["rounds"]]
    share, each = median(shares), ", ".join(f"{one:.0%}" for one in shares)
    small, large = scale["tables"][0], scale["tables"][-1]
    yield Target(
        f"refresh with {large['families']:,} families, of {small['families']:,}",
        "≥ 90 %",
        f"{_percent(share)} ({each})",
        share >= 0.9,
    )


def _within_a_request(endings: list[Json]) -> Iterator[Target]:
    for (way, sessions), each in _endings_each(endings).items():
        if sessions == max(run["sessions"] for run in endings):
            yield Target(
                f"{way} with {sessions:,} sessions",
                "≤ 50 ms",
                f"{median(each):.1f} ms",
                median(each) <= 50,
            )


def _endings_each(endings: list[Json]) -> dict[tuple[str, int], list[float]]:
    """The milliseconds of every round, by way and number of sessions."""
    found: dict[tuple[str, int], list[float]] = {}
    for run in endings:
        found.setdefault((run["way"], run["sessions"]), []).append(run["ms"])
    return found


def _wrong(found: Any) -> int:
    """Failed answers and lost chains of every load below."""
    if isinstance(found, list):
        return sum(map(_wrong, found))
    if not isinstance(found, dict):
        return 0
    here: int = found.get("failed", 0) + found.get("lost_chains", 0)
    return here + sum(map(_wrong, found.values()))


def _headroom(rounds: list[Json]) -> Iterator[Target]:
    """Each ratio twice: the part measured on one core alone, and on all cores at once."""
    refreshes = [run for each in rounds for run in each["refresh"]]
    for users, runs in _by_users(refreshes, lambda run: run["users"]):
        for suffix, name in (("", "one core alone"), ("_on_all_cores", "all cores busy")):
            shares = [run["rate"] / run[f"combined_limit{suffix}"] for run in runs]
            share, each = median(shares), ", ".join(f"{one:.0%}" for one in shares)
            yield Target(
                f"refresh, of the combined limit, {users} users, signatures measured with {name}",
                "≥ 55 %",
                f"{_percent(share)} ({each})",
                share >= 0.55,
            )
    for measured, name in (
        ("argon2id_verifications", "one core alone"),
        ("argon2id_on_all_cores", "all cores busy"),
    ):
        share = median(
            run["login"]["rate"] / (run["limits"]["cores"] * run[measured]) for run in rounds
        )
        yield Target(
            f"login, of raw argon2id measured with {name}",
            "≥ 90 %",
            _percent(share),
            share >= 0.9,
        )


def _machine(results: Json) -> Iterator[str]:
    yield "## On what, and when\n"
    yield "| measurement | date | commit | seconds |\n|---|---|---|---|"
    for name, result in results.items():
        on = result["machine"]
        yield f"| {name} | {on['date']} | `{on['commit']}` | {result['seconds']} |"
    seen = {
        tuple(
            result["machine"][name] for name in ("cpu", "memory", "system", "python", "libraries")
        )
        for result in results.values()
    }
    yield ""
    for words in sorted(seen):
        yield f"{words[0]}; {words[1]}; {words[2]}; Python {words[3]}; {words[4]}.\n"


def _targets(results: Json) -> Iterator[str]:
    yield "## Targets\n"
    yield "| | wanted | measured | |\n|---|---|---|---|"
    for target in targets(results):
        met = "met" if target.met else "**missed**"
        yield f"| {target.name} | {target.wanted} | {target.measured} | {met} |"
    yield (
        "\nThe combined limit is cores / (one raw RSA signature + one statement of pgbench at its "
        "best concurrency + the generator's CPU for one answer): what a service would reach whose "
        "own work cost nothing. Parts and service are measured in turns, within seconds of each "
        "other; the median of the rounds counts.\n"
    )


def _refresh(results: Json, docs: Path) -> Iterator[str]:
    if "refresh" not in results:
        return
    runs = results["refresh"]["found"]
    one, two = ([run for run in runs if run["workers"] == n] for n in (1, 2))
    rates = {
        "2 workers": [(run["users"], run["rate"]) for run in two],
        "1 worker": [(run["users"], run["rate"]) for run in one],
    }
    if "limits" in results:
        limits = results["limits"]["found"]
        rates["combined limit"] = [
            (run["users"], combined_limit(limits, run["generator_cpu"])) for run in two
        ]
    directory = docs / "performance"
    (directory / "refresh-rate.svg").write_text(
        line_chart(
            "Refreshes per second",
            x_label="virtual users",
            y_label="answers per second",
            lines=rates,
        )
    )
    (directory / "refresh-latency.svg").write_text(
        line_chart(
            "Latency of a refresh, 2 workers",
            x_label="virtual users",
            y_label="milliseconds",
            lines={name: [(run["users"], run[name]) for run in two] for name in ("p99", "p50")},
            log_y=True,
        )
    )
    yield "## Refresh\n"
    yield "![Refreshes per second](performance/refresh-rate.svg)\n"
    yield "![Latency of a refresh](performance/refresh-latency.svg)\n"
    yield (
        "| workers | users | answers/s | p50 ms | p95 ms | p99 ms | slowest ms | CPU µs each: "
        "service | PostgreSQL | wrk | PSS MB | failed | lost chains |\n" + "|---" * 13 + "|"
    )
    for run in runs:
        yield (
            f"| {run['workers']} | {run['users']} | {run['rate']:,.0f} | {run['p50']:.2f} "
            f"| {run['p95']:.2f} | {run['p99']:.2f} | {run['slowest']:.1f} "
            f"| {run['service_cpu']:.0f} | {run['database_cpu']:.0f} | {run['generator_cpu']:.0f} "
            f"| {run['pss_mb']:.0f} | {run['failed']} | {run['lost_chains']} |"
        )
    if "orm" in results:
        fewest, rounds = _by_users(
            [run["orm"] for run in results["orm"]["found"]], lambda run: run["users"]
        )[0]
        rate, p99, service, database = (
            median(run[name] for run in rounds)
            for name in ("rate", "p99", "service_cpu", "database_cpu")
        )
        yield (
            f"\nThe control, the same refresh through a SQLModel session with 2 workers and "
            f"{fewest} users: {rate:,.0f}/s, p99 {p99:.1f} ms, {service:.0f} µs of "
            f"service CPU and {database:.0f} µs of PostgreSQL for each."
        )
    yield ""


def _limits(results: Json) -> Iterator[str]:
    if "limits" not in results:
        return
    found = results["limits"]["found"]
    yield "## The limits\n"
    yield "| part | per second |\n|---|---|"
    yield f"| RSA-2048 signatures, one core | {found['rsa_2048_signatures']:,.0f} |"
    yield (
        "| RSA-2048 signatures, each core while all sign "
        f"| {found['rsa_2048_signatures_on_all_cores']:,.0f} |"
    )
    yield f"| Python (claims to JSON and back), one core | {found['python']:,.0f} |"
    yield (
        f"| Python (the same), each core while all are busy | {found['python_on_all_cores']:,.0f} |"
    )
    yield f"| argon2id verifications, one core | {found['argon2id_verifications']:,.1f} |"
    for run in found["refresh_statement"]:
        yield (
            f"| the refresh statement, pgbench with {run['clients']} clients, all cores "
            f"| {run['rate']:,.0f} |"
        )
    bare = found["bare_uvicorn"]
    yield f"| a bare uvicorn answer, one process, {bare['users']} users | {bare['rate']:,.0f} |\n"


def _others(results: Json) -> Iterator[str]:
    if "others" in results:
        yield "## Other endpoints\n"
        yield (
            "| workers | load | users | answers/s | p50 ms | p99 ms | CPU µs each: service "
            "| PostgreSQL | wrk | failed |\n" + "|---" * 10 + "|"
        )
        for workers, kinds in results["others"]["found"].items():
            for kind, run in kinds.items():
                yield (
                    f"| {workers} | {KINDS[kind]} | {run['users']} | {run['rate']:,.0f} "
                    f"| {run['p50']:.2f} | {run['p99']:.2f} | {run['service_cpu']:,.0f} "
                    f"| {run['database_cpu']:.0f} | {run['generator_cpu']:.0f} | {run['failed']} |"
                )
        yield ""
    if "isolation" in results:
        found = results["isolation"]["found"]
        yield "## Refresh while wrong logins flood\n"
        yield (
            f"{found['asked_per_second']:,.0f} wrong logins a second, ten times what the cores can "
            "hash. They are queued for as long as a caller may wait and then refused with 503; the "
            "hashing threads run at a lower priority.\n"
        )
        yield "| users | | refreshes/s | p50 ms | p99 ms | failed |\n|---|---|---|---|---|---|"
        for load in found["loads"]:
            for name in ("alone", "flooded"):
                run = load[name]
                yield (
                    f"| {run['users']} | {name} | {run['rate']:,.0f} | {run['p50']:.1f} "
                    f"| {run['p99']:.1f} | {run['failed']} |"
                )
        yield ""


KINDS = {
    "login": "login",
    "jwks": "key set, 200",
    "jwks304": "key set, 304",
    "me": "`/auth/me`",
    "mixed": "mix: 70 % `/auth/me`, 20 % refresh, 8 % key set, 2 % login",
}


def _scale(results: Json) -> Iterator[str]:
    if "scale" not in results:
        return
    found = results["scale"]["found"]
    settings = ", ".join(f"`{name} = {value}`" for name, value in found["settings"].items())
    yield "## Scale\n"
    yield (
        "Two workers and 16 users for each number of families, in databases of one PostgreSQL "
        f"with {settings}. Every request of the large ones meets a family that has not rotated "
        f"before. The sizes take turns; the median of {len(found['rounds'])} rounds.\n"
    )
    yield (
        "| families | refreshes/s | p99 ms | CPU µs each: service | PostgreSQL | table MB "
        "| indexes MB | HOT |\n" + "|---" * 8 + "|"
    )
    for table, loads in zip(found["tables"], zip(*found["rounds"], strict=True), strict=True):
        rate, p99, service, database = (
            median(run[name] for run in loads)
            for name in ("rate", "p99", "service_cpu", "database_cpu")
        )
        yield (
            f"| {table['families']:,} | {rate:,.0f} | {p99:.1f} | {service:.0f} | {database:.0f} "
            f"| {table['table_bytes'] / 1e6:,.0f} | {table['index_bytes'] / 1e6:,.0f} "
            f"| {table['hot_share']:.2%} of {table['updates']:,} |"
        )
    yield ""


def _endings(results: Json) -> Iterator[str]:
    if "endings" not in results:
        return
    yield "## Ending all sessions of an account\n"
    yield (
        "Milliseconds until the answer, over HTTP to one worker; disabling is what the command "
        "does, without its start. The answer stands for all sessions; what the rows say follows "
        "in batches ([decision 0017](decisions/0017-session-epoch.md)).\n"
    )
    yield "| | sessions | median ms | each round |\n|---|---|---|---|"
    for (way, sessions), each in _endings_each(results["endings"]["found"]).items():
        rounds = ", ".join(f"{one:.1f}" for one in each)
        yield f"| {way} | {sessions:,} | {median(each):.1f} | {rounds} |"
    yield ""


def _verifier(results: Json) -> Iterator[str]:
    if "verifier" not in results:
        return
    found = results["verifier"]["found"]
    rates = found["per_second"]
    yield "## Verifying access tokens\n"
    yield (
        f"On one core, the same token of {found['token_bytes']} bytes over and over, its key "
        f"fetched {'once' if found['fetches'] == 1 else str(found['fetches']) + ' times'}. PyJWT "
        "with a parsed key, one algorithm and required claims; it checks neither the spelling of "
        "the token nor the members of its header.\n"
    )
    yield "| | per second | of raw RSA |\n|---|---|---|"
    for name, words in VERIFIERS.items():
        yield f"| {words} | {rates[name]:,.0f} | {_percent(rates[name] / rates['rsa'])} |"
    yield ""


VERIFIERS = {
    "rsa": "one raw RSA-2048 verification",
    "verifier": "`TokenVerifier.verify_sync`",
    "verifier_async": "`TokenVerifier.verify`",
    "pyjwt": "plain PyJWT",
}


def _profile(results: Json) -> Iterator[str]:
    if "profile" not in results:
        return
    found = results["profile"]["found"]
    yield "## Where the time of a refresh goes\n"
    yield f"One loaded worker, {found['samples']:,} samples of py-spy.\n"
    yield "| of all samples | the function itself | | of all samples | with what it calls |"
    yield "|---|---|---|---|---|"
    for (own, a), (whole, b) in zip(found["own"][:25], found["inclusive"][:25], strict=False):
        yield f"| {a:.1%} | {own} | | {b:.1%} | {whole} |"
    yield ""


def _percent(share: float) -> str:
    return f"{share:.0%}" if share < 0.995 else f"{share:.1%}"
