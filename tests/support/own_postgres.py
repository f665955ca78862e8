"""A PostgreSQL of an experiment's own: it may be killed, and starts again on the same data."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import time
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from tempfile import mkdtemp

from authsvc import embedded_postgres
from authsvc.embedded_postgres import EmbeddedPostgres, EmbeddedPostgresError
from authsvc.store import migrate

# A stale backend holds the shared memory until it has noticed that its postmaster is gone.
START_SECONDS = 20.0
POLL = 0.02  # seconds


class OwnPostgres:
    """
    The server of one data directory; `url` stays the same over restarts.

    A thread of its own starts it, since a server ends with the thread that started it and the
    clients must go on meanwhile.
    """

    def __init__(self, data_dir: Path, options: Mapping[str, str] | None = None) -> None:
        self.data_dir = data_dir
        self.options = dict(options or {})
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._server: EmbeddedPostgres | None = None

    @property
    def server(self) -> EmbeddedPostgres:
        """The one that was started last."""
        assert self._server is not None
        return self._server

    @property
    def url(self) -> str:
        """Of the database `authsvc`."""
        return self.server.url

    async def start(self) -> None:
        """Start it, or start it again; returns when it takes connections."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._start)

    def signal(self, signum: signal.Signals) -> None:
        """To the postmaster: SIGKILL, or SIGQUIT for an immediate stop."""
        with suppress(ProcessLookupError):
            os.kill(self.server.pid, signum)

    def children(self, title: str) -> list[int]:
        """The processes of the server whose title has these words, such as `authsvc [local]`."""
        found = []
        for pid in _children(self.server.pid):
            with suppress(OSError):
                if title.encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                    found.append(pid)
        return found

    def stop(self) -> None:
        """Stop it for good."""
        if self._server is not None:
            self._thread.submit(self._server.stop).result()
        self._thread.shutdown()

    def _start(self) -> None:
        if self._server is not None:
            self._server.stop()  # it is gone already; the lock is let go
            self._server = None
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                self._server = embedded_postgres.start(self.data_dir, options=self.options)
            except EmbeddedPostgresError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(POLL)
            else:
                return


@asynccontextmanager
async def own_postgres(
    options: Mapping[str, str] | None = None, *, data_dir: Path | None = None
) -> AsyncIterator[OwnPostgres]:
    """A migrated one; its data is removed at the end, unless the caller names the place."""
    # Short: the socket lies in it.
    place = data_dir or Path(mkdtemp(prefix="authsvc-"))
    postgres = OwnPostgres(place, options)
    try:
        await postgres.start()
        await migrate.upgrade(postgres.url)
        yield postgres
    finally:
        postgres.stop()
        if data_dir is None:
            shutil.rmtree(place, ignore_errors=True)


def _children(pid: int) -> list[int]:
    with suppress(OSError):
        return [int(c) for c in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []
