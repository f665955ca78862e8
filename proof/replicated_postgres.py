"""A primary and a standby: one fails, the other is promoted, and a new standby is made."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from tempfile import mkdtemp

import asyncpg

from authsvc.embedded_postgres import binaries, cluster
from authsvc.store import migrate
from tests.support.live import free_port

SECONDS = 30.0  # for each step
POLL = 0.01  # seconds
OPTIONS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "100",
    "max_wal_senders": "4",
    "wal_receiver_status_interval": "1",
    "wal_retrieve_retry_interval": "100ms",
}


class Node:
    """One server and its data directory."""

    def __init__(
        self, place: Path, programs: binaries.Programs, starter: ThreadPoolExecutor
    ) -> None:
        self.place = place
        self.port = free_port()
        self._programs = programs
        self._starter = starter
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Of this server alone."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{cluster.DATABASE}"

    async def create(self) -> None:
        """An empty cluster."""
        self.place.mkdir(parents=True)
        self.place.chmod(0o711)
        await asyncio.to_thread(cluster.prepare, self.place, self._programs, sync=False)

    async def copy(self, primary: Node) -> None:
        """The cluster of a standby of that primary."""
        shutil.rmtree(self.place, ignore_errors=True)
        self.place.mkdir(parents=True)
        self.place.chmod(0o777)  # the server's account writes here
        source = f"host=127.0.0.1 port={primary.port} user=postgres"
        arguments = ["-D", str(cluster.cluster_dir(self.place)), "-R", "-X", "stream"]
        arguments += ["-c", "fast", "-N", "-d", source]
        copying = await self._start("pg_basebackup", arguments, self.place)
        assert await asyncio.to_thread(copying.wait) == 0, self.log()

    async def start(self) -> None:
        """Start it; returns when it takes connections."""
        directory = cluster.cluster_dir(self.place)
        arguments = ["-D", str(directory), *cluster.memory_options()]
        for name, value in {**OPTIONS, "port": str(self.port)}.items():
            arguments += ["-c", f"{name}={value}"]
        self._process = await self._start("postgres", arguments, directory)
        async with asyncio.timeout(SECONDS):
            while True:
                with suppress(OSError, asyncpg.PostgresError):
                    return await self.execute("SELECT 1")
                assert self._process.poll() is None, self.log()
                await asyncio.sleep(POLL)

    async def execute(self, statement: str) -> None:
        """Run a statement."""
        connection = await asyncpg.connect(self.url)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    async def value(self, query: str) -> object:
        """The first value of a query's first row."""
        connection = await asyncpg.connect(self.url)
        try:
            return await connection.fetchval(query)
        finally:
            await connection.close()

    async def until(self, query: str) -> None:
        """Wait until a query says true."""
        async with asyncio.timeout(SECONDS):
            while not await self.value(query):  # noqa: ASYNC110 - the server has no event for it
                await asyncio.sleep(POLL)

    def signal(self, signum: signal.Signals) -> None:
        """To all its processes, so that with SIGSTOP nothing of it answers."""
        assert self._process is not None
        for pid in (self._process.pid, *self._children()):
            with suppress(ProcessLookupError):
                os.kill(pid, signum)

    def stop(self) -> None:
        """End it at once, whatever state it is in."""
        if self._process is not None:
            self.signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def processes(self, title: str) -> list[int]:
        """Those whose title has these words, such as `walreceiver`."""
        found = []
        for pid in self._children():
            with suppress(OSError):
                if title.encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                    found.append(pid)
        return found

    def log(self) -> str:
        """The end of its log."""
        return (self.place.parent / f"{self.place.name}.log").read_text(errors="replace")[-2000:]

    def _children(self) -> list[int]:
        assert self._process is not None
        pid = self._process.pid
        with suppress(OSError):
            return [int(c) for c in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        return []

    async def _start(
        self, program: str, arguments: list[str], directory: Path
    ) -> subprocess.Popen[bytes]:
        def start() -> subprocess.Popen[bytes]:
            with (self.place.parent / f"{self.place.name}.log").open("ab") as log:
                return self._programs.start(program, arguments, cwd=directory, output=log)

        # On a thread that stays: what it starts ends with it.
        return await asyncio.get_running_loop().run_in_executor(self._starter, start)


class ReplicatedPostgres:
    """
    A primary with a standby.

    Args:
        synchronous: A commit waits until the standby has it on disk.
    """

    def __init__(self, primary: Node, standby: Node, *, synchronous: bool) -> None:
        self.primary = primary
        self.standby = standby
        self._synchronous = synchronous
        first, second = primary.port, standby.port
        self.url = (
            f"postgresql://postgres@/{cluster.DATABASE}?host=127.0.0.1:{first}"
            f"&host=127.0.0.1:{second}&target_session_attrs=primary"
        )
        """Of both, as a service is given it; the order stays when the roles change."""

    async def fail_over(self) -> None:
        """Promote the standby; the primary has failed already. From now on it has no standby."""
        await self.standby.execute("SELECT pg_promote()")
        await self._wait_for("")
        self.primary, self.standby = self.standby, self.primary

    async def attach(self) -> None:
        """Make the other one a standby, from nothing."""
        self.standby.stop()
        await self.standby.copy(self.primary)
        await self.standby.start()
        await self.primary.until(
            "SELECT EXISTS (SELECT FROM pg_stat_replication WHERE state = 'streaming')"
        )
        if self._synchronous:
            await self._wait_for("*")
            await self.primary.until(
                "SELECT EXISTS (SELECT FROM pg_stat_replication WHERE sync_state = 'sync')"
            )

    async def caught_up(self) -> None:
        """Wait until the standby has everything."""
        await self.primary.until(
            "SELECT pg_current_wal_flush_lsn() <= min(replay_lsn) FROM pg_stat_replication"
        )

    async def _wait_for(self, names: str) -> None:
        """Which standbys a commit waits for; without any it waits for none."""
        promoted = self.primary if names else self.standby
        await promoted.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{names}'")
        await promoted.execute("SELECT pg_reload_conf()")
        await promoted.until(f"SELECT current_setting('synchronous_standby_names') = '{names}'")


@asynccontextmanager
async def replicated_postgres(*, synchronous: bool) -> AsyncIterator[ReplicatedPostgres]:
    """A migrated pair; the data is removed at the end."""
    place = Path(mkdtemp(prefix="authsvc-"))
    place.chmod(0o777)
    programs = binaries.programs(binaries.account())
    starter = ThreadPoolExecutor(max_workers=1)
    nodes = [Node(place / name, programs, starter) for name in ("a", "b")]
    try:
        await nodes[0].create()
        await nodes[0].start()
        await migrate.upgrade(nodes[0].url)
        pair = ReplicatedPostgres(*nodes, synchronous=synchronous)
        await pair.attach()
        yield pair
    finally:
        for node in nodes:
            node.stop()
        starter.shutdown()
        shutil.rmtree(place, ignore_errors=True)
