"""A real PgBouncer in transaction mode, as docs/deployment.md says to use it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from proof.checker.afterwards import check_afterwards
from proof.checker.check import check
from proof.experiment import stage
from proof.history import Operation, Recorder, read_history
from proof.replica import Replica
from proof.workload import workload
from tests.support.fault_proxy import FaultProxy
from tests.support.live import free_port

# Debian keeps servers where only root's PATH leads.
PGBOUNCER = shutil.which(
    "pgbouncer", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
)
SERVER_CONNECTIONS = 4  # fewer than the clients that want one at a time
RETRY_WINDOW = 10  # seconds, the default
pytestmark = pytest.mark.skipif(PGBOUNCER is None, reason="needs pgbouncer: apt-get install it")


async def test_behind_a_transaction_pooler_every_promise_is_kept(tmp_path: Path) -> None:
    operations, violations, _ = await work(tmp_path, "?prepared_statement_cache_size=0")

    assert [] == violations
    assert not [each for each in operations if each.outcome == "info"]
    assert [each for each in operations if each.operation == "refresh" and each.outcome == "ok"]


async def test_a_pooler_that_the_url_does_not_tell_of_is_named_in_the_log(tmp_path: Path) -> None:
    """A prepared statement is not on the connection that the pooler has chosen: no 500."""
    operations, violations, logs = await work(tmp_path, "")

    assert [] == violations
    statuses = {each.result.get("status") for each in operations if each.outcome != "ok"}
    assert 503 in statuses
    assert 500 not in statuses
    assert "behind a transaction pooler add ?prepared_statement_cache_size=0" in logs


async def work(directory: Path, query: str) -> tuple[list[Operation], list[str], str]:
    """The mixed workload through PgBouncer: what was done, what was broken, what was logged."""
    random = Random(20261123)  # noqa: S311 - reproducible
    history = directory / "workload.jsonl"
    async with stage(directory) as on, on.database() as url:
        server = Path(unquote(parse_qs(urlsplit(url).query)["host"][0])) / ".s.PGSQL.5432"
        database = urlsplit(url).path.removeprefix("/")
        # PgBouncer may not enter the directory of the socket: it comes by TCP.
        async with FaultProxy(server, random=random) as link:
            with (
                on.place() as place,
                pooled(link.port, database) as pooled_url,
                history.open("a") as file,
            ):
                replicas = [Replica(pooled_url + query, place) for _ in range(2)]
                try:
                    for replica in replicas:
                        replica.start()
                    for replica in replicas:
                        await replica.ready()
                    await workload(
                        Recorder(file),
                        [replica.port for replica in replicas],
                        database_url=url,
                        clients=8,
                        operations=400,
                        random=random,
                    )
                finally:
                    for replica in replicas:
                        replica.stop()
                logs = "".join(replica.log_path.read_text() for replica in replicas)
        operations = list(read_history(history))
        violations = check(operations, retry_window=RETRY_WINDOW)
        return operations, violations + await check_afterwards(operations, url), logs


@contextmanager
def pooled(port: int, database: str) -> Iterator[str]:
    """PgBouncer before the server at that port, and the URL that leads through it."""
    assert PGBOUNCER is not None
    own = free_port()
    with TemporaryDirectory(prefix="pgbouncer-") as directory:
        Path(directory).chmod(0o755)
        settings = Path(directory) / "pgbouncer.ini"
        settings.write_text(
            f"[databases]\n{database} = host=127.0.0.1 port={port} user=postgres\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {own}\nunix_socket_dir =\n"
            f"auth_type = any\npool_mode = transaction\ndefault_pool_size = {SERVER_CONNECTIONS}\n"
        )
        # It refuses to run as root.
        account = ["setpriv", "--reuid=nobody", "--clear-groups"] if os.geteuid() == 0 else []
        process = subprocess.Popen([*account, PGBOUNCER, "--quiet", str(settings)])
        try:
            yield f"postgresql://postgres@127.0.0.1:{own}/{database}"
        finally:
            process.terminate()
            process.wait()
