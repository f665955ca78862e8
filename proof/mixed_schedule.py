"""
The mixed schedule: one workload, and every few seconds something else goes wrong.

Two replicas of two workers each, the real `authsvc serve`, behind proxies that lose answers and
hang up; each with a link of its own to a PostgreSQL that is killed now and then. Afterwards the
whole history is checked, and the database against it.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from tempfile import mkdtemp

import asyncpg

from bench.load import processes_below
from proof.checker.afterwards import check_afterwards
from proof.checker.check import check
from proof.experiment import Findings, Stage
from proof.history import Recorder, read_history
from proof.replica import Replica
from proof.workload import after_the_dust, workload
from tests.support.fault_proxy import FaultProxy
from tests.support.live import is_ready
from tests.support.own_postgres import OwnPostgres, own_postgres

SERVE = [sys.executable, "-m", "authsvc", "serve"]
PLANTED = [sys.executable, "-m", "proof.planted"]
REPLICAS, WORKERS = 2, 2
CLIENTS = 12
RETRY_WINDOW = 1  # second, the shortest there is: cookie sessions rotate, too
BETWEEN = (0.5, 2.0)  # seconds from the end of one fault to the next
OUTAGE = (0.05, 2.0)  # seconds that a fault lasts, where it lasts
RECOVERY = 5.0  # seconds
ACTIONS = {"refresh": 150}  # more of them than in the short workload
OPERATIONS_FOR_A_REFRESH = 2.0  # more than enough, so that a batch is whole


@dataclass
class Deployment:
    """What faults can be done to."""

    postgres: OwnPostgres
    replicas: list[Replica]
    clients: list[FaultProxy]
    links: list[FaultProxy]
    random: Random

    def replica(self) -> Replica:
        return self.random.choice(self.replicas)

    async def last(self) -> None:
        """Let the fault last for a while: the workload is what time is measured in here."""
        await asyncio.sleep(self.random.uniform(*OUTAGE))


async def kill_a_replica(on: Deployment) -> None:
    replica = on.replica()
    replica.kill()
    replica.start()


async def kill_a_worker(on: Deployment) -> None:
    process = on.replica().process
    assert process is not None
    workers = processes_below(process.pid)[1:]
    if workers:
        with suppress(ProcessLookupError):
            os.kill(on.random.choice(workers), signal.SIGKILL)


async def restart_a_replica(on: Deployment) -> None:
    replica = on.replica()
    await asyncio.to_thread(replica.stop)
    replica.start()


async def kill_postgres(on: Deployment) -> None:
    on.postgres.signal(on.random.choice([signal.SIGKILL, signal.SIGQUIT]))
    await on.postgres.start()


async def terminate_backends(on: Deployment) -> None:
    connection = await asyncpg.connect(on.postgres.url)
    try:
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'authsvc' AND random() < 0.7"
        )
    finally:
        await connection.close()


async def hang_up_on_clients(on: Deployment) -> None:
    on.random.choice(on.clients).cut()


async def lose_answers(on: Deployment) -> None:
    proxy = on.random.choice(on.clients)
    for _ in range(on.random.randint(1, 10)):
        proxy.lose_answer(after=on.random.choice([0, 0, 10, 200]))
        await asyncio.sleep(0.02)


async def slow_clients(on: Deployment) -> None:
    proxy = on.random.choice(on.clients)
    proxy.slow(delay=0.05, jitter=0.05)
    await on.last()
    proxy.heal()


async def cut_a_link(on: Deployment) -> None:
    link = on.random.choice(on.links)
    link.refuse()
    link.cut()
    await on.last()
    link.heal()


async def blackhole_a_link(on: Deployment) -> None:
    link = on.random.choice(on.links)
    direction = on.random.choice([(), (link.to_server,), (link.to_client,)])
    link.blackhole(*direction)
    await on.last()
    link.heal()


async def lose_replies_of_the_database(on: Deployment) -> None:
    link = on.random.choice(on.links)
    for _ in range(on.random.randint(1, 5)):
        link.lose_answer(then_down=on.random.random() < 0.2)
        await asyncio.sleep(0.05)
    link.heal()


FAULTS: tuple[Callable[[Deployment], Awaitable[None]], ...] = (
    kill_a_replica,
    kill_a_worker,
    restart_a_replica,
    kill_postgres,
    terminate_backends,
    hang_up_on_clients,
    lose_answers,
    slow_clients,
    cut_a_link,
    blackhole_a_link,
    lose_replies_of_the_database,
)


class MixedSchedule:
    """See the module."""

    name = "mixed-schedule"
    promise = (
        "Logins, refreshes, retries, thefts, tabs, logouts of each scope, disabling and password "
        "changes over two replicas of two workers, while processes, PostgreSQL and links are "
        "killed, cut, slowed and blackholed in random order: the history is linearizable by the "
        "refresh rules, the database and the audit trail agree with it, no honest session is "
        "lost, and everything works again within 5 s of each fault."
    )
    unit = "refreshes"
    goal = 1_000_000
    batch = 4_000

    async def run(self, stage: Stage, *, units: int, random: Random) -> Findings:
        """One deployment, until so many refreshes are recorded."""
        return await _batch(stage, units=units, random=random)

    async def control(self, stage: Stage, *, random: Random) -> Findings:
        """Revocations that live in memory only, under the same schedule."""
        return await _batch(stage, units=600, random=random, bug="restart_forgets")


EXPERIMENTS = (MixedSchedule(),)


async def _batch(stage: Stage, *, units: int, random: Random, bug: str | None = None) -> Findings:
    findings = Findings()
    path = stage.directory / f"mixed-{random.getrandbits(32):08x}.jsonl"
    async with _deployment(stage, random, bug) as on:
        with path.open("w") as file:
            recorder = Recorder(file)
            ports = [proxy.port for proxy in on.clients]
            stop = asyncio.Event()
            faults = asyncio.create_task(_faults(on, findings, stop))
            sessions = await workload(
                recorder,
                ports,
                database_url=on.postgres.url,
                clients=CLIENTS,
                operations=round(units * OPERATIONS_FOR_A_REFRESH),
                random=random,
                actions=ACTIONS,
            )
            stop.set()
            await faults
            await _all_ready(on, findings, "the last fault")
            for answer in await after_the_dust(recorder, ports, sessions):
                if answer.outcome == "info":
                    findings.violations.append(f"still no answer after the dust: {answer}")
        operations = list(read_history(path))
        # A client that gave up has waited 6 s; nothing of the service runs longer than 5.
        findings.violations += check(operations, retry_window=RETRY_WINDOW, late=6.0)
        findings.violations += await check_afterwards(operations, on.postgres.url)
    for operation in operations:
        kind = operation.operation
        findings.counted[f"operations {operation.outcome}"] += 1
        if kind == "refresh":
            findings.done += 1
            how = operation.result.get("how") or operation.outcome
            findings.counted[f"refreshes {how}"] += 1
        if operation.result.get("status") == 500:
            findings.violations.append(f"a 500: {operation}")
        findings.at_most("answer_seconds", operation.returned - operation.invoked)
    findings.counted["logins"] = sum(o.operation == "login" for o in operations)
    if findings.violations:
        kept = Path(mkdtemp(prefix="proof-history-")) / path.name
        shutil.copy(path, kept)
        findings.violations.append(f"the history is kept at {kept}")
    path.unlink()
    return findings


async def _faults(on: Deployment, findings: Findings, stop: asyncio.Event) -> None:
    while not stop.is_set():
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), on.random.uniform(*BETWEEN))
            return
        fault = on.random.choice(FAULTS)
        await fault(on)
        name = fault.__name__.replace("_", " ")
        findings.counted[f"fault: {name}"] += 1
        await _all_ready(on, findings, name)


async def _all_ready(on: Deployment, findings: Findings, fault: str) -> None:
    """Every replica answers again; how long the slowest took from the end of the fault."""
    began = time.monotonic()
    for replica in on.replicas:
        while not await asyncio.to_thread(is_ready, replica.port):
            if time.monotonic() - began > 60:
                raise RuntimeError(f"no recovery after {fault}: {replica.log_path}")
            await asyncio.sleep(0.02)
    seconds = time.monotonic() - began
    # A replica that was started anew has its start beside the recovery: imports, on busy cores.
    started = fault in {"kill a replica", "restart a replica"}
    findings.at_most("start_seconds" if started else "recovery_seconds", seconds)
    if seconds > RECOVERY and not started:
        findings.violations.append(f"recovery from {fault!r} took {seconds:.1f} s")


@asynccontextmanager
async def _deployment(stage: Stage, random: Random, bug: str | None) -> AsyncIterator[Deployment]:
    async with AsyncExitStack() as stack:
        postgres = await stack.enter_async_context(own_postgres())
        place = stack.enter_context(stage.place())
        replicas, clients, links = [], [], []
        for _ in range(REPLICAS):
            # Short: a Unix socket lies in it.
            directory = Path(mkdtemp(prefix="link-"))
            stack.callback(shutil.rmtree, directory, ignore_errors=True)
            link, url = FaultProxy.of_database(postgres.url, directory, random=random)
            links.append(await stack.enter_async_context(link))
            replica = Replica(
                url,
                place,
                workers=1 if bug else WORKERS,
                settings={"REFRESH_RETRY_WINDOW": str(RETRY_WINDOW)},
                command=SERVE if bug is None else [*PLANTED, bug],
            )
            stack.callback(replica.kill)
            replica.start()
            replicas.append(replica)
        for replica in replicas:
            await replica.ready()
            proxy = FaultProxy(replica.port, random=random)
            clients.append(await stack.enter_async_context(proxy))
        yield Deployment(postgres, replicas, clients, links, random)
