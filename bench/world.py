"""What is measured: a real PostgreSQL with fsync on, and the service as it is deployed."""

from __future__ import annotations

import io
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import asyncpg

from authsvc.embedded_postgres import EmbeddedPostgres
from authsvc.keys.directory import KeyDirectory
from bench import families, load
from proof.client import Account, Client
from proof.experiment import Stage, stage
from proof.history import Recorder
from proof.replica import Replica
from tests.support.live import is_ready

# The defaults that a measurement must not make cheaper, and the load test's switch.
AS_DEPLOYED = {
    "ARGON2_MEMORY_KIB": "19456",
    "ARGON2_TIME": "2",
    "LOG_LEVEL": "info",
    "MAX_SESSIONS": "100",
    "THROTTLE": "off",
}


@dataclass(frozen=True)
class Serving:
    """A running service."""

    port: int
    processes: list[int]
    seconds_to_first_answer: float


@dataclass
class World:
    """A database with families, and the keys that their tokens are made with."""

    stage: Stage
    url: str
    place: Path
    keys: KeyDirectory
    families: int
    _chosen: int = 0

    @property
    def postgres(self) -> EmbeddedPostgres:
        return self.stage.postgres

    async def tokens(self, users: int, *, each: int = 1) -> list[str]:
        """
        Lines for the generator: for every user the newest tokens of `each` families.

        They are others than those of the load before: its last requests may still be under way.
        """
        number = users * each
        after = self._chosen if self._chosen + number <= self.families else 0
        self._chosen = after + number
        found = await families.tokens(self.url, number, after=after, keys=self.keys)
        return [",".join(found[n * each : (n + 1) * each]) for n in range(users)]

    async def rotations(self) -> int:
        """How often all families together have rotated."""
        connection = await asyncpg.connect(self.url)
        try:
            found: int = await connection.fetchval("SELECT sum(generation) FROM refresh_families")
        finally:
            await connection.close()
        return found

    async def lost_chains(self, run: load.Load) -> int:
        """Users whose newest token is not what the database holds: the last answer may be one."""
        lost = 0
        connection = await asyncpg.connect(self.url)
        try:
            for token in ",".join(run.last).split(","):
                newest = self.keys.open_refresh_token(token, now=datetime.now(UTC))
                row = await connection.fetchrow(
                    "SELECT generation, revoked_at FROM refresh_families WHERE id = $1",
                    newest.family_id,
                )
                # When the generator stops, a request may be on its way.
                ahead = row["generation"] - newest.generation
                lost += row["revoked_at"] is not None or ahead not in {0, 1}
        finally:
            await connection.close()
        return lost

    @contextmanager
    def serving(
        self,
        *,
        workers: int,
        settings: dict[str, str] | None = None,
        environment: dict[str, str] | None = None,
    ) -> Iterator[Serving]:
        """Run the service."""
        replica = Replica(
            self.url,
            self.place,
            workers=workers,
            settings=AS_DEPLOYED | (settings or {}),
            environment=environment,
        )
        began = time.perf_counter()
        replica.start()
        assert replica.process is not None
        try:
            while not is_ready(replica.port):
                if replica.process.poll() is not None:
                    raise RuntimeError(replica.log_path.read_text()[-2000:])
                time.sleep(0.005)
            seconds = time.perf_counter() - began
            yield Serving(replica.port, load.processes_below(replica.process.pid), seconds)
        finally:
            replica.stop()
            replica.log_path.unlink()

    async def accounts(self, port: int, number: int) -> list[tuple[str, str]]:
        """Registered users: for each a login body and an access token."""
        client = Client("bench", Recorder(io.StringIO()), [port])
        found = []
        for n in range(number):
            account = await client.register(f"bench{time.time_ns()}.{n}@example.com")
            session = await client.login(account)
            assert session is not None
            found.append((login_body(account), session.access_token))
        await client.close()
        return found


def login_body(account: Account, *, wrong: bool = False) -> str:
    """What is posted to /auth/login."""
    secret = "wrong " * wrong + account.secret(0)
    return json.dumps({"email": account.email, "password": secret, "delivery": "native"})


@asynccontextmanager
async def world(directory: Path, number: int) -> AsyncIterator[World]:
    """A world with that many families, on a PostgreSQL of its own."""
    async with stage(directory) as on, populated(on, number) as made:
        yield made


@asynccontextmanager
async def populated(on: Stage, number: int) -> AsyncIterator[World]:
    """A database with that many families."""
    async with on.database() as url:
        with on.place() as place:
            keys = KeyDirectory(
                place / "keys",
                passphrase=None,
                strict_modes=False,
            )
            keys.load(datetime.now(UTC))
            await families.fill(url, number, keys=keys)
            yield World(on, url, place, keys, number)


def proportional_set_size(pids: list[int]) -> float:
    """Memory in MB, shared pages divided among those who share them."""
    kilobytes = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                kilobytes += int(line.split()[1])
    return kilobytes * 1024 / 1e6
