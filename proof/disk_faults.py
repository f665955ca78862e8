"""
F18, F19: the disk is full, or fails.

The data directory of PostgreSQL, or the log of the service, lies on a tmpfs of a fixed size that
the experiment fills; strace makes the writes and syncs of PostgreSQL fail with EIO.
"""

from __future__ import annotations

import asyncio
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from random import Random
from tempfile import mkdtemp
from typing import Any

import asyncpg

from proof.experiment import Findings, Stage
from proof.honest_load import Load, cross_check, honest_load
from proof.kill_postgres import BACKEND, checkpoint, replicas
from proof.strace import is_dead, traced
from proof.zygote import Zygote
from tests.support.live import free_port
from tests.support.own_postgres import OwnPostgres, own_postgres

DATA_SIZE = "176m"  # a fresh cluster has 40 MiB and a few segments of the log, of 16 MiB each
LOG_SIZE = "64k"
PAGE = 4096  # bytes
CONTROLS = 10  # tries
BACK = 60.0  # seconds
ABANDONED = 5.0  # seconds without an answer and without a process that recovers
NOTICED = 10.0  # seconds; by then the load has met the fault
POLL = 0.01  # seconds
# Nothing is acknowledged late and nothing is written for us: commits may be lost, and must be.
HASTY = {"synchronous_commit": "off", "wal_writer_delay": "2s"}
SYNC_FAULTS = ("fdatasync", "pwrite64", "fdatasync,pwrite64")


class FullDataDisk:
    """The disk of PostgreSQL is full, for data and its log, and empty again."""

    name = "F18-disk-full-postgres"
    promise = (
        "The disk of PostgreSQL is full under load: every answer is right or 503, nothing "
        "acknowledged is lost, and when there is space again the service goes on within 5 s."
    )
    unit = "full disks"
    goal = 100
    batch = 5

    async def run(self, stage: Stage, *, units: int, random: Random) -> Findings:
        """Fill it, until clients have noticed or PostgreSQL has ended."""
        return await self._run(stage, units, random, {})

    async def control(self, stage: Stage, *, random: Random) -> Findings:
        """With commits that do not wait for the disk; chance decides whether one is lost."""
        findings = Findings()
        for _ in range(CONTROLS):
            findings = await self._run(stage, 2, random, HASTY)
            if findings.violations:
                break
        return findings

    async def _run(
        self, stage: Stage, units: int, random: Random, options: dict[str, str]
    ) -> Findings:
        with _small_disk(DATA_SIZE) as disk:
            async with _played(stage, random, options, data_dir=disk / "d") as (postgres, load):
                for _ in range(units):
                    await load.progress(random.randint(5, 40))
                    with _full(disk):
                        await _use_up_the_log(postgres)
                        noticed = await _noticed(load)
                        load.findings.counted["noticed by a 503"] += noticed
                    await _answers(postgres, load.findings)
                    await load.recovered(time.monotonic(), "full disk")
                    load.findings.done += 1
            return load.findings


class FailingDisk:
    """A write or sync of the log fails once, in a backend or the WAL writer."""

    name = "F19-disk-error-postgres"
    promise = (
        "A write or a sync of PostgreSQL's log fails with EIO: it panics and recovers, nothing "
        "acknowledged is lost, and the service goes on within 5 s."
    )
    unit = "failed writes"
    goal = 100
    batch = 6

    async def run(self, stage: Stage, *, units: int, random: Random) -> Findings:
        """Each of the calls in turn."""
        return await self._run(stage, units, random, {})

    async def control(self, stage: Stage, *, random: Random) -> Findings:
        """With commits that do not wait for the disk."""
        return await self._run(stage, 2, random, HASTY)

    async def _run(
        self, stage: Stage, units: int, random: Random, options: dict[str, str]
    ) -> Findings:
        async with _played(stage, random, options) as (postgres, load):
            for number in range(units):
                await load.progress(random.randint(5, 40))
                calls = SYNC_FAULTS[number % len(SYNC_FAULTS)]
                writers = postgres.children(BACKEND) + postgres.children("walwriter")
                nth = 1 if options else random.randint(1, 3)
                inject = [f"{calls}:error=EIO:when={nth}"]
                async with traced(writers, inject=inject, trace=calls) as trace:
                    injected = await _until(lambda: b"(INJECTED)" in trace.path.read_bytes())
                if injected:
                    load.findings.done += 1
                    load.findings.counted[f"EIO of {calls}"] += 1
                await _answers(postgres, load.findings)
                await load.recovered(time.monotonic(), f"EIO of {calls}")
        return load.findings


class FullLogDisk:
    """The standard output of the service can take nothing more."""

    name = "F18-disk-full-service-log"
    promise = "The service cannot write its log: requests go on, and it recovers by itself."
    unit = "full disks"
    goal = 100
    batch = 10

    async def run(self, stage: Stage, *, units: int, random: Random) -> Findings:
        """Every request has a line in the log."""
        return await self._run(stage, units, random, None)

    async def control(self, stage: Stage, *, random: Random) -> Findings:
        """A build that writes to its output as if that could not fail."""
        return await self._run(stage, 1, random, "proof.disk_faults:print_every_refresh")

    async def _run(self, stage: Stage, units: int, random: Random, plant: str | None) -> Findings:
        findings = Findings()
        settings = {"LOG_LEVEL": "info"}
        with _small_disk(LOG_SIZE) as disk, stage.place() as place:
            async with stage.database() as url:
                with Zygote(place, plant=plant) as zygote:
                    service = zygote.spawn(free_port(), url, settings, output=disk / "log")
                    await service.ready()
                    ports = [service.port]
                    async with honest_load(
                        findings, stage.recorder, ports, random=random, clients=3
                    ) as load:
                        for _ in range(units):
                            await load.progress(random.randint(5, 40))
                            with _full(disk):
                                size = (disk / "log").stat().st_size
                                await load.progress(40)
                                grown = (disk / "log").stat().st_size - size
                                # What its last page had left; 40 lines are more than a page.
                                assert grown < PAGE, "the disk was not full"
                            (disk / "log").write_bytes(b"")
                            await load.recovered(time.monotonic(), "full log")
                            findings.done += 1
                    await cross_check(load, url)
                    if service.has_ended():
                        findings.violations.append("the service has ended")
        return findings


EXPERIMENTS = (FullDataDisk(), FailingDisk(), FullLogDisk())


@asynccontextmanager
async def _played(
    stage: Stage, random: Random, options: dict[str, str], data_dir: Path | None = None
) -> AsyncIterator[tuple[OwnPostgres, Load]]:
    """A PostgreSQL, two replicas and their clients; checked at the end."""
    findings = Findings()
    settings = {"max_wal_size": "32MB", "min_wal_size": "32MB", **options}
    async with (
        own_postgres(settings, data_dir=data_dir) as postgres,
        replicas(stage, postgres.url) as ports,
    ):
        async with honest_load(findings, stage.recorder, ports, random=random) as load:
            await checkpoint(postgres.url)
            yield postgres, load
        await cross_check(load, postgres.url)


@contextmanager
def _small_disk(size: str) -> Iterator[Path]:
    """A tmpfs; mounting one needs CAP_SYS_ADMIN."""
    path = Path(mkdtemp(prefix="authsvc-"))
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0711", "proof", str(path)], check=True
    )
    try:
        yield path
    finally:
        # Lazily: a process that is about to end may still stand in it.
        subprocess.run(["umount", "--lazy", str(path)], check=True)
        path.rmdir()


@contextmanager
def _full(disk: Path) -> Iterator[None]:
    """Take what is left of the space, to the last byte."""
    filler = disk / "filler"
    try:
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            for size in (1 << 20, 1 << 12):
                with suppress(OSError):
                    while file.write(bytes(size)) == size:
                        pass
        yield
    finally:
        filler.unlink()


async def _use_up_the_log(postgres: OwnPostgres) -> None:
    """Begin new segments of the write-ahead log until there is none; clients may be quicker."""
    with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        connection = await asyncpg.connect(postgres.url)
        try:
            for _ in range(8):
                await connection.execute(
                    "SELECT pg_logical_emit_message(false, 'proof', repeat('x', 100)), "
                    "pg_switch_wal()"
                )
        finally:
            await connection.close(timeout=1)


async def _noticed(load: Load) -> bool:
    before = load.findings.counted["503"]
    return await _until(lambda: load.findings.counted["503"] > before)


async def _until(condition: Any) -> bool:
    deadline = time.monotonic() + NOTICED
    while not condition():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(POLL)
    return True


async def _answers(postgres: OwnPostgres, findings: Findings) -> None:
    """
    Until PostgreSQL is back, the fault lasts; its operator starts it again if it gave up.

    PostgreSQL 18.4 can also give up without ending: a startup process that ends in the moment
    it reports that the replay has begun leaves a server that waits for it without end.
    """
    begun = seen = time.monotonic()
    while True:
        if is_dead(postgres.server.pid):
            await postgres.start()
        if postgres.children("startup"):
            seen = time.monotonic()
        if time.monotonic() > seen + ABANDONED:
            findings.counted["PostgreSQL restarted, as it waited for no one"] += 1
            postgres.signal(signal.SIGQUIT)
            await postgres.start()
            seen = time.monotonic()
        try:
            connection = await asyncpg.connect(postgres.url, timeout=BACK)
            try:
                await connection.execute("SELECT pg_logical_emit_message(true, 'proof', '')")
            finally:
                await connection.close(timeout=1)
        except (OSError, asyncpg.PostgresError):
            if time.monotonic() > begun + BACK:
                raise
            await asyncio.sleep(POLL)
        else:
            return


def print_every_refresh() -> None:
    """A planted bug: a refusal of the disk becomes one of the request."""
    from authsvc.store import rotation  # noqa: PLC0415 - in the child only
    from proof.race_plants import nobody_goes_together  # noqa: PLC0415 - as above

    genuine = rotation.rotate

    async def rotate(*args: Any, **kwargs: Any) -> Any:
        family = await genuine(*args, **kwargs)
        try:
            print("rotated", flush=True)
        except OSError as exc:
            raise RuntimeError("the log is full") from exc
        return family

    rotation.rotate = rotate
    nobody_goes_together()
