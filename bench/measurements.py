"""The measurements, one function each; every one returns what stands in the results file."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from authsvc.settings import usable_cores
from bench import limits, load
from bench.world import Serving, World, login_body, proportional_set_size
from proof.client import Account
from proof.replica import Replica
from tests.support.live import is_ready

Json = dict[str, Any]

SWEEP = (1, 2, 4, 8, 16, 32, 64, 128)
BUSY = (16, 64)  # users; the sweep reaches its highest rate at the second
MEMORY_KIB, ROUNDS = 19456, 2  # the service's defaults
MICRO = 1e6


def measure_limits(world: World, *, seconds: float) -> Json:
    """What the parts cost alone."""
    key_id = world.keys.refresh.all[-1].key_id
    statements = [
        asdict(
            limits.refresh_statement(
                world.postgres,
                world.url,
                key_id=key_id,
                clients=n,
                seconds=seconds,
                directory=world.place,
            )
        )
        for n in (1, 4, 16, 32)
    ]
    return {
        "cores": usable_cores(),
        "rsa_2048_signatures": limits.rsa_signatures(seconds),
        "argon2id_verifications": limits.argon2_verifications(
            seconds, memory_kib=MEMORY_KIB, rounds=ROUNDS
        ),
        "rsa_2048_signatures_on_all_cores": limits.on_all_cores(
            f"rsa_signatures({seconds})", usable_cores()
        ),
        "python": limits.python(seconds),
        "python_on_all_cores": limits.on_all_cores(f"python({seconds})", usable_cores()),
        "refresh_statement": statements,
        "bare_uvicorn": _without_tokens(limits.bare_uvicorn(seconds, users=16)),
    }


def measure_start(world: World) -> Json:
    """From `authsvc serve` to the first answer, and the memory of one idle worker."""
    starts = []
    for _ in range(3):
        with world.serving(workers=1) as serving:
            starts.append(serving.seconds_to_first_answer)
            idle = proportional_set_size(serving.processes)
    with world.serving(workers=2) as serving:
        two = proportional_set_size(serving.processes)
    return {
        "first_answer_seconds": min(starts),
        "first_answer_seconds_each": starts,
        "pss_mb_one_idle_worker": idle,
        "pss_mb_two_idle_workers": two,
    }


async def measure_refresh(
    world: World, *, seconds: float, workers: Sequence[int] = (1, 2), sweep: Sequence[int] = SWEEP
) -> list[Json]:
    """The sweep: every user rotates a chain of its own."""
    runs = []
    for number in workers:
        with world.serving(workers=number) as serving:
            await refresh_load(world, serving, users=4, seconds=min(seconds, 2))  # warm up
            for users in sweep:
                run = await refresh_load(world, serving, users=users, seconds=seconds)
                run["pss_mb"] = proportional_set_size(serving.processes)
                runs.append({"workers": number, **run})
    return runs


async def measure_headroom(
    world: World, *, seconds: float, rounds: int = 5, users: Sequence[int] = BUSY
) -> list[Json]:
    """
    Refresh and login beside their limits, part by part in turns, with two workers.

    A machine that is shared with others is faster in one minute than in the next. What was
    measured within seconds is compared, and of several rounds the median.
    """
    key_id = world.keys.refresh.all[-1].key_id
    found = []
    with world.serving(workers=2) as serving:
        accounts = await world.accounts(serving.port, 8)
        for _ in range(rounds):
            statement = limits.refresh_statement(
                world.postgres,
                world.url,
                key_id=key_id,
                clients=16,
                seconds=2,
                directory=world.place,
            )
            raw: Json = {
                "cores": usable_cores(),
                "rsa_2048_signatures": limits.rsa_signatures(1),
                "refresh_statement": [asdict(statement)],
            }
            runs = [
                await refresh_load(world, serving, users=number, seconds=seconds)
                for number in users
            ]
            hashing = f"argon2_verifications(2, memory_kib={MEMORY_KIB}, rounds={ROUNDS})"
            hashes = limits.argon2_verifications(2, memory_kib=MEMORY_KIB, rounds=ROUNDS)
            signatures = limits.on_all_cores("rsa_signatures(2)", usable_cores())
            reachable = raw | {"rsa_2048_signatures": signatures}
            logins = _run("login", world, serving, [body for body, _ in accounts], seconds)
            found.append(
                {
                    "refresh": [
                        run
                        | {
                            "combined_limit": combined_limit(raw, run["generator_cpu"]),
                            "combined_limit_on_all_cores": combined_limit(
                                reachable, run["generator_cpu"]
                            ),
                        }
                        for run in runs
                    ],
                    "signatures_on_all_cores": signatures,
                    "limits": raw,
                    "login": _without_tokens(logins),
                    "argon2id_verifications": hashes,
                    "argon2id_on_all_cores": limits.on_all_cores(hashing, usable_cores()),
                }
            )
    return found


async def refresh_load(
    world: World, serving: Serving, *, users: int, seconds: float, each: int = 1
) -> Json:
    """One refresh load, with its chains checked in the database afterwards."""
    lines = await world.tokens(users, each=each)
    run = _run("refresh", world, serving, lines, seconds)
    return {**_without_tokens(run), "lost_chains": await world.lost_chains(run)}


async def measure_others(
    world: World, *, seconds: float, users: int = 16, workers: Sequence[int] = (1, 2)
) -> Json:
    """Login, the key set, the account, and a mix of all."""
    found: Json = {}
    for number in workers:
        with world.serving(workers=number) as serving:
            accounts = await world.accounts(serving.port, users)
            bodies, bearers = [a[0] for a in accounts], [a[1] for a in accounts]
            etag = load.header_of(serving.port, "/.well-known/jwks.json", "etag")
            mixed = [
                f"{tokens} {bearer} {body}"
                for tokens, (body, bearer) in zip(await world.tokens(users), accounts, strict=True)
            ]
            found[str(number)] = {
                kind: _without_tokens(_run(kind, world, serving, lines, seconds))
                for kind, lines in {
                    # One for each core: more would only wait for their turn to be hashed.
                    "login": bodies[: 2 * number],
                    "jwks": ["-"] * users,
                    "jwks304": [etag] * users,
                    "me": bearers,
                    "mixed": mixed,
                }.items()
            }
    return found


async def measure_login_with_avx2(world: World, *, seconds: float, overlay: Path) -> Json:
    """Login with the build of argon2 that the container image has, and that build's own limit."""
    environment = {"PYTHONPATH": os.pathsep.join([str(overlay), *sys.path])}
    code = (
        "from bench.limits import argon2_verifications as run;"
        f"print(run({seconds}, memory_kib={MEMORY_KIB}, rounds={ROUNDS}))"
    )
    raw = subprocess.check_output(
        [sys.executable, "-c", code], env={**os.environ, **environment}, text=True
    )
    with world.serving(workers=2, environment=environment) as serving:
        accounts = await world.accounts(serving.port, 4)
        run = _run("login", world, serving, [body for body, _ in accounts], seconds)
    return {"argon2id_verifications": float(raw), "login": _without_tokens(run)}


async def measure_orm(
    world: World, *, seconds: float, users: Sequence[int] = BUSY, rounds: int = 3
) -> list[dict[str, Json]]:
    """The same refresh through an ORM session and by ours, in turns; two workers each."""
    command = [
        sys.executable,
        "-m",
        "uvicorn",
        "bench.orm_control:app",
        "--workers",
        "2",
        "--loop",
        "uvloop",
        "--http",
        "httptools",
        "--no-access-log",
        "--log-level",
        "error",
        "--port",
    ]
    control = Replica(world.url, world.place, command=command)
    control._command.append(str(control.port))
    control.start()
    assert control.process is not None
    try:
        while not is_ready(control.port):
            time.sleep(0.01)
        orm = Serving(control.port, load.processes_below(control.process.pid), 0)
        with world.serving(workers=2) as ours:
            for each in (orm, ours):
                await refresh_load(world, each, users=4, seconds=min(seconds, 2))
            return [
                {
                    "orm": await refresh_load(world, orm, users=number, seconds=seconds),
                    "ours": await refresh_load(world, ours, users=number, seconds=seconds),
                }
                for _ in range(rounds)
                for number in users
            ]
    finally:
        control.stop()


async def measure_isolation(
    world: World, *, seconds: float, users: Sequence[int] = (4, 16)
) -> Json:
    """Refresh while wrong logins come at ten times what two cores can hash."""
    per_second = 10 * 2 * limits.argon2_verifications(2, memory_kib=MEMORY_KIB, rounds=ROUNDS)
    with world.serving(workers=2) as serving:
        await refresh_load(world, serving, users=4, seconds=2)
        accounts = await world.accounts(serving.port, 4)
        logins = _run("login", world, serving, [body for body, _ in accounts], seconds)
        loads = [
            await _beside_a_flood(world, serving, per_second, users=number, seconds=seconds)
            for number in users
        ]
    return {
        "asked_per_second": per_second,
        "loads": loads,
        "login_alone": _without_tokens(logins),
    }


async def _beside_a_flood(
    world: World, serving: Serving, per_second: float, *, users: int, seconds: float
) -> Json:
    """A refresh load alone, and again while wrong logins come at that rate."""
    alone = await refresh_load(world, serving, users=users, seconds=seconds)
    wrong = login_body(Account("nobody@example.com"), wrong=True)
    lines = await world.tokens(users)
    flooders = 64
    with ThreadPoolExecutor() as pool:
        flood = pool.submit(
            load.run,
            "flood",
            serving.port,
            [wrong] * flooders,
            seconds=seconds + 2,
            more=[f"{1000 * flooders / per_second:.3f}"],
        )
        time.sleep(1)  # the flood is under way before anything is measured
        flooded = _run("refresh", world, serving, lines, seconds)
        under = flood.result()
    return {
        "alone": alone,
        "flooded": {**_without_tokens(flooded), "lost_chains": await world.lost_chains(flooded)},
        "logins_hashed": _without_tokens(under),
    }


def _run(
    kind: str, world: World, serving: Serving, lines: Sequence[str], seconds: float
) -> load.Load:
    return load.run(
        kind,
        serving.port,
        lines,
        seconds=seconds,
        service=serving.processes,
        database=world.postgres.pid,
    )


def _without_tokens(run: load.Load) -> Json:
    return {name: value for name, value in asdict(run).items() if name != "last"}


def combined_limit(measured: Json, generator_cpu: float) -> float:
    """
    Refreshes per second that no service on these cores could exceed.

    cores / (one raw RSA signature + one statement of pgbench + the generator's CPU)
    """
    cores = measured["cores"]
    best = max(run["rate"] for run in measured["refresh_statement"])
    seconds = 1 / measured["rsa_2048_signatures"] + cores / best + generator_cpu / MICRO
    return float(cores / seconds)
