"""Of several hosts the primary is found, whatever the others do."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import asyncpg
import pytest

from authsvc.cli.refusals import unreachable
from authsvc.embedded_postgres import start_temporary
from authsvc.protocol.errors import DatabaseUnavailable
from authsvc.store import connections, migrate
from authsvc.store.connections import connector, normalise
from authsvc.store.database import Database
from tests.support.live import free_port
from tests.support.waiting import HANGS, eventually_true
from tests.support.web import certificate_for


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Of a primary that listens on TCP."""
    port = free_port()
    with start_temporary(options={"listen_addresses": "127.0.0.1", "port": str(port)}):
        yield port


@pytest.fixture
def silent() -> Iterator[int]:
    """Of a host that takes connections and says nothing, as one that hangs."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.fixture
async def closing() -> AsyncIterator[int]:
    """Of a host that hangs up at once."""
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


TCP = "postgresql://postgres@127.0.0.1:{}/authsvc"


def url(*ports: int, user: str = "postgres") -> str:
    hosts = "&".join(f"host=127.0.0.1:{port}" for port in ports)
    return f"postgresql://{user}@/authsvc?{hosts}"


async def one(url: str) -> object:
    connection = await connector(normalise(url))()
    try:
        return await connection.fetchval("SELECT 1")
    finally:
        await connection.close()


async def test_a_host_that_is_silent_does_not_keep_us_from_the_primary(
    port: int, silent: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F04: asyncpg alone asks the first until the time is up, and never the second."""
    monkeypatch.setattr(connections, "CONNECT_TIMEOUT", 10 * HANGS)

    async with asyncio.timeout(HANGS):
        assert 1 == await one(url(silent, port))


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["last", "first"])
async def test_a_host_that_hangs_up_does_not_either(
    port: int, closing: int, order: tuple[int, int]
) -> None:
    ports = (closing, port)

    assert 1 == await one(url(*(ports[number] for number in order)))


async def test_what_a_server_says_is_told_rather_than_silence(port: int, silent: int) -> None:
    with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError):
        await one(url(silent, port, user="nobody_of_that_name"))


async def test_when_none_answers_all_were_asked_at_once() -> None:
    """So that the time is that of one."""
    asked: set[asyncio.StreamReader] = set()
    at_once = 0

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal at_once
        asked.add(reader)
        at_once = max(at_once, len(asked))
        await reader.read()  # until it hangs up
        asked.remove(reader)
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(TimeoutError):
            await one(url(port, port))

    assert 2 == at_once


async def test_connections_that_were_not_chosen_are_closed(port: int) -> None:
    connection = await connector(normalise(url(port, port, port)))()
    try:
        await eventually_true(
            lambda: connection.fetchval(
                "SELECT count(*) = 1 FROM pg_stat_activity WHERE datname = current_database()"
            )
        )
    finally:
        await connection.close()


async def test_migrations_find_the_primary_too(port: int, silent: int) -> None:
    await migrate.upgrade(url(silent, port))
    await migrate.check(url(silent, port))


@pytest.mark.finding("P36")
async def test_options_are_honoured_and_what_libpq_knows_disturbs_nobody(port: int) -> None:
    query = "options=-c%20work_mem%3D5MB&channel_binding=prefer&connect_timeout=9"
    connection = await connector(
        normalise(f"postgresql://postgres@127.0.0.1:{port}/authsvc?{query}")
    )()
    try:
        assert "5MB" == await connection.fetchval("SHOW work_mem")
    finally:
        await connection.close()


@pytest.mark.finding("P16", "N12")
@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("sslmode=require", "offers no TLS"),
        ("sslmode=verify-full&sslrootcert=/absent/ca.pem", "/absent/ca.pem"),
        ("sslmode=verify-full", "root.crt"),
        ("sslmode=verify-full&sslrootcert=system", "offers no TLS"),
    ],
)
async def test_a_failure_of_tls_names_its_cause(
    port: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, query: str, named: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("PGSSLROOTCERT", raising=False)
    db = await Database.open(f"postgresql://postgres@127.0.0.1:{port}/authsvc?{query}")

    with pytest.raises(DatabaseUnavailable, match=named):
        async with db.autocommit():
            pass

    await db.close()


@asynccontextmanager
async def offering_tls(context: ssl.SSLContext) -> AsyncIterator[int]:
    """A server that takes PostgreSQL's request for TLS, and shows its certificate."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(8)  # SSLRequest
        writer.write(b"S")
        with suppress(OSError):
            await writer.start_tls(context)
            await reader.read()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.finding("P16")
@pytest.mark.parametrize(
    ("host", "advice"),
    [
        ("localhost", "not valid for 'localhost'; connect to a host name that the certificate has"),
        ("127.0.0.1", "not valid for '127.0.0.1'; connect to a host name that the certificate has"),
    ],
)
async def test_a_certificate_of_another_host_names_ours_and_what_to_do(
    tmp_path: Path, host: str, advice: str
) -> None:
    server, _ = certificate_for("db.internal", tmp_path)
    query = f"sslmode=verify-full&sslrootcert={tmp_path / 'server.pem'}"

    async with offering_tls(server) as port:
        db = await Database.open(f"postgresql://postgres@{host}:{port}/authsvc?{query}")
        with pytest.raises(DatabaseUnavailable, match=re.escape(advice)):
            async with db.autocommit():
                pass
        await db.close()


@pytest.mark.finding("P16")
async def test_a_certificate_of_an_unknown_authority_names_the_setting(tmp_path: Path) -> None:
    server, _ = certificate_for("localhost", tmp_path)
    (tmp_path / "other").mkdir()
    certificate_for("localhost", tmp_path / "other")
    query = f"sslmode=verify-ca&sslrootcert={tmp_path / 'other' / 'server.pem'}"

    async with offering_tls(server) as port:
        db = await Database.open(f"postgresql://postgres@localhost:{port}/authsvc?{query}")
        with pytest.raises(DatabaseUnavailable, match="sslrootcert"):
            async with db.autocommit():
                pass
        await db.close()


@pytest.mark.finding("P36")
@pytest.mark.parametrize("root", ["", "&sslrootcert=system"])
async def test_the_least_version_of_tls_is_kept_to(tmp_path: Path, root: str) -> None:
    server, _ = certificate_for("localhost", tmp_path)
    server.maximum_version = ssl.TLSVersion.TLSv1_2
    query = f"sslmode=require&ssl_min_protocol_version=TLSv1.3{root}"

    async with offering_tls(server) as port:
        db = await Database.open(f"postgresql://postgres@localhost:{port}/authsvc?{query}")
        with pytest.raises(DatabaseUnavailable, match=r"ConnectionReset|VERSION"):
            async with db.autocommit():
                pass
        await db.close()


@pytest.mark.finding("P25")
async def test_what_the_driver_cannot_read_in_the_environment_is_no_defect_of_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PGPORT", "abc")
    db = await Database.open("postgresql://postgres@127.0.0.1/authsvc")

    with pytest.raises(DatabaseUnavailable, match="PG… variable"):
        async with db.autocommit():
            pass

    await db.close()


@pytest.mark.finding("P16")
async def test_a_file_without_a_certificate_is_no_mere_sslerror(port: int, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    query = f"sslmode=verify-ca&sslrootcert={tmp_path / 'ca.pem'}"
    db = await Database.open(f"postgresql://postgres@127.0.0.1:{port}/authsvc?{query}")

    with pytest.raises(DatabaseUnavailable, match="TLS failed: NO_CERTIFICATE"):
        async with db.autocommit():
            pass

    await db.close()


@pytest.mark.finding("P16")
@pytest.mark.parametrize(
    "query",
    ["sslcert=/absent/it", "sslcert=/dev/null&sslkey=/absent/it", "sslcrl=/absent/it",
     "sslrootcert=system&sslcrl=/absent/it"],
)  # fmt: skip
async def test_a_file_of_tls_that_is_missing_is_named_and_not_taken_for_a_socket(
    port: int, query: str
) -> None:
    name = query.rpartition("&")[2].partition("=")[0]
    db = await Database.open(f"{TCP.format(port)}?sslmode=require&{query}")

    with pytest.raises(DatabaseUnavailable, match=rf'"/absent/it" \({name}') as refused:
        async with db.autocommit():
            pass

    assert "socket" not in unreachable(refused.value)
    await db.close()


@pytest.mark.finding("N12")
async def test_the_host_that_nobody_knows_is_named() -> None:
    db = await Database.open("postgresql://u:secret@nowhere.invalid/x")

    with pytest.raises(DatabaseUnavailable, match=r"unknown: nowhere\.invalid") as refused:
        async with db.autocommit():
            pass

    assert "secret" not in refused.value.detail
    await db.close()


async def test_no_two_processes_name_their_statements_alike(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind a pooler one would run the other's, on values of its own."""
    connection = await connector(normalise(url(port)))()
    ours = (await connection.prepare("SELECT 1")).get_name()
    monkeypatch.setattr(os, "getpid", lambda: 7)
    forked = (await connection.prepare("SELECT 2")).get_name()
    monkeypatch.undo()
    await connection.close()

    assert not re.fullmatch(r"__asyncpg_stmt_[0-9a-f]+__", ours)
    assert forked.rpartition("__")[2].partition("_")[0] == "7"
    assert ours.rpartition("__")[2] != forked.rpartition("__")[2]
    assert max(len(ours), len(forked)) < 64  # PostgreSQL's NAMEDATALEN
