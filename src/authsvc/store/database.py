"""
The connections: a pool of bare asyncpg for the hot statements, SQLModel sessions for the rest,
and one connection for what goes on in the background.

Every failure of the database leaves here as one of two refusals: `DatabaseUnavailable` when
nothing can have happened, `OutcomeUnknown` when the connection broke between a statement and
its reply.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from functools import partial, wraps
from types import TracebackType
from typing import Concatenate, ParamSpec, Self, TypeVar
from weakref import WeakSet

import asyncpg
from sqlalchemy.exc import DBAPIError, InterfaceError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker, create_async_engine
from sqlmodel.ext.asyncio.session import AsyncSession

from authsvc.protocol.errors import (
    DatabaseUnavailable,
    OutcomeUnknown,
    Refusal,
    SchemaMismatch,
)
from authsvc.store.connections import DRIVER_ERRORS, cause, connector, normalise
from authsvc.store.hot_pool import HotPool, PooledConnection
from authsvc.store.hot_statement import Row
from authsvc.store.refused_writes import TRIAL, RefusedWrites

P = ParamSpec("P")
T = TypeVar("T")
Clock = Callable[[], datetime | None]
Session = AsyncSession

# Seconds. With CONNECT_TIMEOUT their sum stays below the request deadline of 5 s.
ACQUIRE_TIMEOUT = 1.0
STATEMENT_TIMEOUT = 2.0
RETRY_AFTER = timedelta(seconds=1)

# The name of the connection that no request uses, for whoever looks at pg_stat_activity.
BACKGROUND = "authsvc-background"
SERVER_SETTINGS = {
    "application_name": "authsvc",
    "statement_timeout": "2000",
    "lock_timeout": "1000",
    "idle_in_transaction_session_timeout": "5000",
    # Under a stricter level a statement would not see what it has just waited for.
    "default_transaction_isolation": "read committed",
}
# Hot statements reach rows by their keys: one plan is right for all, also one that was made while
# a table was all but empty. Left alone, PostgreSQL plans those with arrays anew each time, which
# takes longer than running them.
HOT_SETTINGS = {"plan_cache_mode": "force_generic_plan", "enable_seqscan": "off"}

# SQLSTATE classes and codes that say: the database cannot do this now (not: you are wrong).
UNAVAILABLE_CLASSES = frozenset({"08", "28", "3D", "40", "53", "55", "57", "58", "F0", "XX"})
READ_ONLY = "25006"
# The server went away in the middle: it may have committed first (PostgreSQL, "terminating
# connection due to administrator command" while waiting for a synchronous standby).
UNKNOWN_CODES = frozenset({"40003", "57P01", "57P02", "57P05", "08003", "08006", "08007"})
# A statement that was prepared on another connection, or by another client on this one.
NOT_OURS_CODES = frozenset({"26000", "42P05"})
POOLED = "behind a transaction pooler add ?prepared_statement_cache_size=0 to the database URL"
SCHEMA = "the schema is not this version's: run `authsvc db upgrade`, then see /readyz"
# No such table, column, function or unique index; or one that is not granted to our role.
SCHEMA_CODES = dict.fromkeys(("42P01", "42703", "42883", "42P10"), SCHEMA) | {
    "42501": "our role lacks a privilege: /readyz and `authsvc doctor` (DB-007) say which"
}


class Database:
    """The pools. Opening makes no connection: the service also starts while PostgreSQL is down."""

    def __init__(
        self,
        *,
        hot: HotPool,
        background: HotPool,
        engine: AsyncEngine,
        opened: WeakSet[asyncpg.Connection],
        clock: Clock | None,
    ) -> None:
        self._hot = hot
        self._background = background
        self.engine = engine
        self._opened = opened
        self.refused_writes = RefusedWrites()
        self._clock = clock
        self._sessions = async_sessionmaker(
            engine, class_=AsyncSession, expire_on_commit=False, info={"clock": clock}
        )

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        hot_connections: int = 8,
        sessions: int = 5,
        now: Clock | None = None,
    ) -> Self:
        """
        Make the pools.

        Args:
            url: `postgresql://…`, also with several hosts or a Unix socket.
            hot_connections: The largest number of connections for hot statements.
            sessions: The largest number of connections for everything else.
            now: Only tests pass a clock, which statements then go by; None is the database's.
        """
        normalised = normalise(url)
        connect = connector(normalised, command_timeout=STATEMENT_TIMEOUT)
        connect_hot = partial(connect, SERVER_SETTINGS | HOT_SETTINGS)
        hot = HotPool(connect_hot, size=hot_connections, patience=ACQUIRE_TIMEOUT)
        connect_background = partial(connect, SERVER_SETTINGS | {"application_name": BACKGROUND})
        background = HotPool(connect_background, size=1, patience=ACQUIRE_TIMEOUT)
        opened = WeakSet[asyncpg.Connection]()

        async def open_for_sessions() -> asyncpg.Connection:
            connection = await connect(SERVER_SETTINGS)
            opened.add(connection)
            return connection

        engine = create_async_engine(
            normalised,
            pool_size=sessions,
            max_overflow=0,
            pool_timeout=ACQUIRE_TIMEOUT,
            pool_pre_ping=True,
            isolation_level="READ COMMITTED",
            async_creator=open_for_sessions,
        )
        return cls(hot=hot, background=background, engine=engine, opened=opened, clock=now)

    async def close(self) -> None:
        """Close all pools; hot statements that still run are cut off."""
        self._hot.close()
        self._background.close()
        await self.engine.dispose()

    def autocommit(self) -> HotLease:
        """
        A hot connection, for single statements that each commit by themselves.

        Raises:
            DatabaseUnavailable: No connection, or the statement was refused for now.
            OutcomeUnknown: The connection broke while a statement ran.
        """
        return HotLease(self._hot, self._refusal, self._clock)

    def background(self) -> HotLease:
        """
        The connection of what goes on beside requests; as `autocommit`, and takes none from them.

        Raises:
            DatabaseUnavailable, OutcomeUnknown: See `autocommit`.
        """
        return HotLease(self._background, self._refusal, self._clock)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """
        A SQLModel session in one transaction, committed at the end.

        Whatever changes something is an `in_transaction` function.

        Raises:
            DatabaseUnavailable: No connection, or the transaction was refused for now.
            OutcomeUnknown: The connection broke on the way.
        """
        try:
            async with self._sessions() as session, session.begin():
                yield session
        except PoolTimeout as exc:
            raise DatabaseUnavailable("no free connection", retry_after=RETRY_AFTER) from exc
        except (DBAPIError, *DRIVER_ERRORS) as exc:
            refusal = self._refusal(_cause(exc) if isinstance(exc, DBAPIError) else exc)
            if refusal is None:
                raise
            raise refusal from exc

    async def try_to_write(self) -> None:
        """Have the server write to its disk, unless that was a moment ago; see `refused_writes`."""
        if not self.refused_writes.begin_trial():
            return
        # Only the disk's refusal counts, and that has been noted; a busy pool is none.
        with suppress(DatabaseUnavailable):
            async with self.transaction() as session:
                connection = await session.connection()
                for statement in TRIAL:
                    await connection.exec_driver_sql(statement)

    def distrust_idle(self) -> None:
        """
        Close all idle connections, since one has broken or fallen silent.

        Its host may be gone and another one promoted, and then whoever took one of the others
        would wait in vain.
        """
        self._hot.discard_idle()
        self._background.discard_idle()
        for connection in list(self._opened):
            if not connection.is_closed() and not connection.is_in_transaction():
                connection.terminate()

    def _refusal(self, exc: BaseException) -> DatabaseUnavailable | None:
        """As `translate`; what this process learns from a failure is kept."""
        self.refused_writes.note(getattr(exc, "sqlstate", None) or "")
        refusal = translate(exc)
        if isinstance(refusal, OutcomeUnknown):
            self.distrust_idle()
        return refusal

    @property
    def hot_pool_size(self) -> tuple[int, int]:
        """Connections of the hot pool: (in use, open)."""
        return self._hot.in_use, self._hot.opened


class HotLease:
    """One use of a hot connection (`async with`); see `Database.autocommit`."""

    __slots__ = ("_clock", "_connection", "_pool", "_refusal")

    def __init__(
        self,
        pool: HotPool,
        refusal: Callable[[BaseException], DatabaseUnavailable | None],
        clock: Clock | None,
    ) -> None:
        self._pool = pool
        self._refusal = refusal
        self._clock = clock
        self._connection: PooledConnection

    @property
    def now(self) -> datetime | None:
        """See `HotConnection`."""
        return self._clock() if self._clock else None

    def fetchrow(self, query: str, *args: object) -> Awaitable[Row | None]:
        """See `HotConnection`."""
        return self._connection.fetchrow(query, *args)

    def fetch(self, query: str, *args: object) -> Awaitable[Sequence[Row]]:
        """See `HotConnection`."""
        return self._connection.fetch(query, *args)

    async def __aenter__(self) -> Self:
        """Take a connection."""
        try:
            self._connection = await self._pool.acquire()
        except DRIVER_ERRORS as exc:
            said = ": ".join(filter(None, [_describe(exc), cause(exc)]))
            raise DatabaseUnavailable(said, retry_after=RETRY_AFTER) from exc
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Give it back, or close it and say what the failure means."""
        if exc is None or isinstance(exc, Refusal):  # a refusal is ours, raised after a statement
            self._pool.release(self._connection)
            return
        self._pool.discard(self._connection)
        if isinstance(exc, DRIVER_ERRORS):
            refusal = self._refusal(exc)
            if refusal is not None:
                raise refusal from exc


def in_transaction(
    function: Callable[Concatenate[Session, P], Awaitable[T]],
) -> Callable[Concatenate[Database, P], Awaitable[T]]:
    """
    Run a function of a session in a transaction of its own, also when its request is cancelled.

    A cancellation in the middle would hand back a connection in an unknown state; a caller who
    went away must not be able to undo half of a revocation.
    """

    async def run(db: Database, *args: P.args, **kwargs: P.kwargs) -> T:
        async with db.transaction() as session:
            return await function(session, *args, **kwargs)

    @wraps(function)
    async def wrapper(db: Database, /, *args: P.args, **kwargs: P.kwargs) -> T:
        task = asyncio.ensure_future(run(db, *args, **kwargs))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            await asyncio.wait({task})
            raise

    return wrapper


def translate(exc: BaseException) -> DatabaseUnavailable | None:
    """The refusal that a driver's exception means; None when the defect is ours."""
    detail = _describe(exc)
    if isinstance(exc, asyncpg.PostgresError):
        code = exc.sqlstate or ""
        if code in UNKNOWN_CODES:
            return OutcomeUnknown(detail, retry_after=RETRY_AFTER)
        if code in NOT_OURS_CODES:
            return DatabaseUnavailable(f"{detail}: {POOLED}", retry_after=RETRY_AFTER)
        if code in SCHEMA_CODES:
            return SchemaMismatch(f"{detail}: {SCHEMA_CODES[code]}", retry_after=RETRY_AFTER)
        if code[:2] in UNAVAILABLE_CLASSES or code == READ_ONLY:
            return DatabaseUnavailable(detail, retry_after=RETRY_AFTER)
        return None
    if isinstance(exc, DRIVER_ERRORS):
        return OutcomeUnknown(detail, retry_after=RETRY_AFTER)
    return None


def _cause(exc: DBAPIError) -> BaseException:
    """The asyncpg exception inside SQLAlchemy's."""
    inner = exc.orig
    if inner is not None and inner.__cause__ is not None:
        return inner.__cause__
    return inner if inner is not None else InterfaceError("", {}, exc)


def _describe(exc: BaseException) -> str:
    """Class and SQLSTATE; a message may hold values, so it stays out of the log."""
    code = getattr(exc, "sqlstate", None)
    return f"{type(exc).__name__}{f' {code}' if code else ''}"
