"""How a connection is opened: of several hosts, to the one that is the primary."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Protocol

import asyncpg
from sqlalchemy import URL, make_url
from sqlalchemy.dialects.postgresql.asyncpg import dialect

CONNECT_TIMEOUT = 1.5  # seconds
# What asyncpg raises when the server or the way to it fails; the third is "no primary here".
DRIVER_ERRORS = (
    OSError,
    TimeoutError,
    asyncpg.InternalClientError,
    asyncpg.InterfaceError,
    asyncpg.PostgresError,
)


class Connect(Protocol):
    """Opens connections to one database."""

    async def __call__(self, settings: Mapping[str, str] | None = None) -> asyncpg.Connection:
        """
        Open one.

        A transaction pooler refuses settings it does not know (PgBouncer: 08P01); then they are
        left out.

        Raises:
            DRIVER_ERRORS: None could be opened.
        """


def normalise(url: str) -> URL:
    """
    Any common spelling of a PostgreSQL URL as SQLAlchemy's asyncpg URL.

    libpq's `sslmode` becomes asyncpg's `ssl`.
    """
    if url.startswith("postgres://"):
        url = "postgresql://" + url.removeprefix("postgres://")
    parsed = make_url(url).set(drivername="postgresql+asyncpg")
    mode = parsed.query.get("sslmode")
    if mode is not None:
        parsed = parsed.difference_update_query(["sslmode"])
        parsed = parsed.update_query_dict({"ssl": mode})
    return parsed


def connector(url: URL, **options: object) -> Connect:
    """
    What opens connections to a database.

    Args:
        url: As `normalise` returns it; also with several hosts or a Unix socket.
        options: Further arguments of `asyncpg.connect`.
    """
    _, arguments = dialect().create_connect_args(url)  # type: ignore[no-untyped-call]
    # Behind a transaction pooler (PgBouncer) a prepared statement belongs to another
    # client's connection: `?prepared_statement_cache_size=0` switches the caches off.
    cache = arguments.pop("prepared_statement_cache_size", None)
    if cache is not None:
        arguments["statement_cache_size"] = cache
    hosts = [arguments]
    if isinstance(arguments.get("host"), list):
        # A standby knows nothing of the latest revocations.
        arguments.setdefault("target_session_attrs", "primary")
        pairs = zip(arguments["host"], arguments["port"], strict=True)
        hosts = [arguments | {"host": host, "port": port} for host, port in pairs]
    return partial(_open, [host | options for host in hosts])


async def _open(
    hosts: Sequence[dict[str, Any]], settings: Mapping[str, str] | None = None
) -> asyncpg.Connection:
    try:
        return await _first(hosts, server_settings=settings)
    except asyncpg.ProtocolViolationError:
        return await _first(hosts)


async def _first(hosts: Sequence[dict[str, Any]], **options: object) -> asyncpg.Connection:
    """
    The first host that lets us in.

    All are asked at once: asyncpg asks one after the other, and a primary whose machine is gone,
    so that nothing answers, would use up the time of the one that was promoted in its place.
    """
    asked = [
        asyncio.ensure_future(asyncpg.connect(timeout=CONNECT_TIMEOUT, **host, **options))
        for host in hosts
    ]
    chosen = None
    failures: list[Exception] = []

    def hang_up(other: asyncio.Future[asyncpg.Connection]) -> None:
        if not other.cancelled() and not other.exception() and other.result() is not chosen:
            other.result().terminate()

    try:
        for answer in asyncio.as_completed(asked):
            try:
                chosen = await answer
            except DRIVER_ERRORS as exc:
                failures.append(exc)
            else:
                return chosen
    finally:
        for other in asked:
            other.cancel()  # one that had its connection in that very moment may still return it
            other.add_done_callback(hang_up)
    # What a server said says more than silence.
    raise next((said for said in failures if isinstance(said, asyncpg.PostgresError)), failures[0])
