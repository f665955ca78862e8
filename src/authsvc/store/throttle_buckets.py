"""
Leaking buckets in PostgreSQL; shared by all replicas, kept over restarts.

Taken before the password is hashed, so that a parallel burst cannot pass, and paid back if it
was right. Every statement locks a way's bucket first and the account's budget after it: two of
them cannot deadlock.
"""

from __future__ import annotations

import hashlib
import json
from datetime import datetime, timedelta
from functools import cache
from uuid import UUID

from sqlalchemy import (
    CTE,
    ColumnElement,
    Integer,
    Interval,
    LargeBinary,
    TextClause,
    bindparam,
    exists,
    func,
    literal_column,
    null,
    select,
    text,
    true,
    update,
)
from sqlmodel.ext.asyncio.session import AsyncSession

from authsvc.protocol.audit import AuditEvent, Caller
from authsvc.protocol.throttle import Bucket
from authsvc.store.hot_statement import HotConnection, HotStatement
from authsvc.store.tables import stranger_failures, throttle_buckets


def account_key(email: str) -> bytes:
    """
    An account, known or not.

    Args:
        email: In its normal form, so that no other spelling has a budget of its own.
    """
    return _key("account", email)


def network_key(network: str) -> bytes:
    """A client network: an IPv4 address or an IPv6 /64."""
    return _key("network", network)


def device_key(user_id: UUID, nonce: str) -> bytes:
    """A known device."""
    return _key("device", f"{user_id} {nonce}")


def known_network_key(email: str, network: str) -> bytes:
    """An account as it fails from a network that it has signed in from."""
    return _key("known_network", f"{network} {email}")


def stranger_key(email: str, network: str) -> bytes:
    """An account as it fails from any other network."""
    return _key("stranger", f"{network} {email}")


def logins_key(email: str) -> bytes:
    """The successful logins of an account."""
    return _key("logins", email)


def registration_key(network: str) -> bytes:
    """The registrations from a client network."""
    return _key("registration", network)


def client_failures_key(network: str) -> bytes:
    """The failures of OAuth clients from a network."""
    return _key("client_failures", network)


def token_revocation_key(client_id: str) -> bytes:
    """The revocations of a client's own tokens, from wherever it asks."""
    return _key("token_revocation", client_id)


async def take(
    connection: HotConnection, key: bytes, bucket: Bucket, *, now: datetime | None = None
) -> timedelta | None:
    """
    Take one from a bucket.

    Returns:
        None, or how long it takes until there is room; then nothing was taken.
    """
    row = await _take().fetchrow(connection, key=key, leak=bucket.leak, burst=bucket.burst, now=now)
    if row is None:  # unreachable: the statement always returns a row
        raise AssertionError
    if row["taken"]:
        return None
    wait: timedelta | None = row["wait"]  # of the snapshot: others may have been quicker
    return wait if wait is not None and wait > timedelta(0) else bucket.leak


async def pay_back(
    connection: HotConnection, *, own_key: bytes, own: timedelta, account_key: bytes, count: int
) -> None:
    """
    Pay back what a device or network has lost, and so many failures of the account's strangers.

    Args:
        own: How much earlier the own bucket will be empty.
    """
    await _pay_back().fetchrow(
        connection, own_key=own_key, own=own, account_key=account_key, count=count
    )


async def record_failure(
    connection: HotConnection,
    own_key: bytes | None,
    *,
    event: AuditEvent,
    user_id: UUID | None,
    cause: str,
    caller: Caller,
    client_id: str | None = None,
    now: datetime | None = None,
) -> None:
    """
    Audit a failure; one of a stranger counts for its network, which is marked in its bucket.

    Args:
        own_key: The bucket that it was taken from; None where nothing is throttled.
        client_id: What a client called itself.
    """
    details = {"cause": cause} if client_id is None else {"cause": cause, "client_id": client_id}
    await _record_failure().fetchrow(
        connection,
        own_key=own_key,
        event=event,
        owner=user_id,
        ip=caller.ip,
        agent=caller.user_agent,
        request_id=caller.request_id,
        details=json.dumps(details),
        now=now,
    )


async def prune(session: AsyncSession, *, batch: int, now: datetime | None = None) -> int:
    """
    Delete what no rule asks about any more; at most `batch` of each table.

    Returns:
        The most that was deleted from one table.
    """
    connection = await session.connection()
    deleted = [
        (await connection.execute(statement, {"batch": batch, "now": now})).rowcount
        for statement in _PRUNE
    ]
    return max(deleted)


def _key(kind: str, subject: str) -> bytes:
    return hashlib.sha256(f"{kind}\0{subject}".encode()).digest()


@cache
def _take() -> HotStatement:
    return HotStatement(
        text("""
        WITH given AS MATERIALIZED (
            SELECT COALESCE(CAST(:now AS timestamptz), clock_timestamp()) AS now,
                CAST(:key AS bytea) AS key,
                CAST(:leak AS interval) AS leak,
                CAST(:burst AS interval) AS burst
        ), taken AS (
            INSERT INTO throttle_buckets AS b (key, empty_at)
            SELECT key, now + leak FROM given
            ON CONFLICT (key) DO UPDATE
            SET empty_at = (SELECT GREATEST(b.empty_at, now) + leak FROM given)
            WHERE (SELECT GREATEST(b.empty_at, now) + leak <= now + burst FROM given)
            RETURNING key
        )
        SELECT EXISTS (SELECT FROM taken) AS taken,
            b.empty_at + leak - burst - now AS wait
        FROM given LEFT JOIN throttle_buckets b USING (key)
        """)
    )


def paid_back(condition: ColumnElement[bool]) -> tuple[CTE, CTE]:
    """
    The updates of `pay_back`, for use inside a larger statement.

    A stranger's failures are the newest in the account's budget, or as good as these.
    """
    b, f = throttle_buckets.c, stranger_failures.c
    count = bindparam("count", type_=Integer)
    own = (
        update(throttle_buckets)
        .values(empty_at=b.empty_at - bindparam("own", type_=Interval), failed_at=null())
        .where(b.key == bindparam("own_key", type_=LargeBinary), condition)
        .returning(b.key)
        .cte("own_paid")
    )
    account = (
        update(stranger_failures)
        .values(
            failed_at=func.trim_array(f.failed_at, func.least(count, func.cardinality(f.failed_at)))
        )
        .where(
            f.account == bindparam("account_key", type_=LargeBinary),
            count > literal_column("0"),
            exists(select(own.c.key)),
        )
        .cte("account_paid")
    )
    return own, account


@cache
def _pay_back() -> HotStatement:
    return HotStatement(select(literal_column("1")).add_cte(*paid_back(true())))


@cache
def _record_failure() -> HotStatement:
    return HotStatement(
        text("""
        WITH marked AS (
            UPDATE throttle_buckets
            SET failed_at = COALESCE(CAST(:now AS timestamptz), clock_timestamp())
            WHERE key = CAST(:own_key AS bytea) AND network IS NOT NULL
        )
        INSERT INTO audit_records (event, user_id, ip, user_agent, request_id, details)
        VALUES (CAST(:event AS text), CAST(:owner AS uuid), CAST(:ip AS text),
            CAST(:agent AS text), CAST(:request_id AS text), CAST(CAST(:details AS text) AS jsonb))
        """)
    )


def _prune(table: str, is_forgotten: str) -> TextClause:
    return text(
        f"""
        DELETE FROM {table} WHERE ctid = ANY (ARRAY(
            SELECT ctid FROM {table}, (
                SELECT COALESCE(CAST(:now AS timestamptz), clock_timestamp()) AS now
            ) AS given
            WHERE {is_forgotten} LIMIT :batch FOR UPDATE OF {table} SKIP LOCKED
        ))
        """  # noqa: S608 - of the constants below
    )


_PRUNE = (
    _prune("throttle_buckets", "GREATEST(empty_at, failed_at + interval '1 hour') < now"),
    _prune(
        "stranger_failures",
        "COALESCE(failed_at[cardinality(failed_at)], '-infinity') < now - interval '24 hours'",
    ),
    _prune("known_networks", "signed_in_at < now - interval '90 days'"),
    # What the version before this one writes during a rollout, it asks about for an hour.
    _prune("throttle_counters", "last_at < now - interval '1 hour'"),
)
