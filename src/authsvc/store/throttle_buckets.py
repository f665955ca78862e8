"""
Rate limits (leaky buckets) in PostgreSQL: shared by all replicas, kept over restarts.

Taken before the password is hashed, so that a parallel burst cannot pass, and paid back if it
was right. Every statement locks a way's bucket first and the account's budget after it: two of
them cannot deadlock.
"""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from enum import StrEnum
from functools import cache
from uuid import UUID

from sqlalchemy import TextClause, text
from sqlmodel.ext.asyncio.session import AsyncSession

from authsvc.protocol.audit import AuditEvent, Caller
from authsvc.protocol.throttle import Bucket
from authsvc.store import session_clock
from authsvc.store.hot_statement import HotConnection, HotStatement


class Counted(StrEnum):
    """What a bucket counts, and by what; `email` is in its normal form, one for all spellings."""

    ACCOUNT = "account"  # email
    NETWORK = "network"  # IPv4 address or IPv6 /64
    DEVICE = "device"  # user id, nonce
    KNOWN_NETWORK = "known_network"  # network, email
    STRANGER = "stranger"  # network, email
    LOGINS = "logins"  # email
    REGISTRATIONS = "registration"  # network
    CLIENT_FAILURES = "client_failures"  # network
    REVOCATIONS = "revocation"  # client_id


def bucket_key(counted: Counted, *by: object) -> bytes:
    """The key of a bucket: a digest, so that the table does not tell which account failed."""
    return hashlib.sha256(f"{counted}\0{' '.join(map(str, by))}".encode()).digest()


async def take(connection: HotConnection, key: bytes, bucket: Bucket) -> timedelta | None:
    """
    Take one from a bucket.

    Returns:
        None, or how long it takes until there is room; then nothing was taken.
    """
    [row] = await _take().fetch(connection, key=key, leak=bucket.leak, burst=bucket.burst)
    if row["taken"]:
        return None
    wait: timedelta | None = row["wait"]  # of the snapshot: others may have been quicker
    return wait if wait is not None and wait > timedelta(0) else bucket.leak


async def record_failure(
    connection: HotConnection,
    own_key: bytes | None,
    *,
    event: AuditEvent,
    user_id: UUID | None,
    cause: str,
    caller: Caller,
    client_id: str | None = None,
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
    )


async def prune(session: AsyncSession, *, batch: int) -> int:
    """
    Delete what no rule asks about any more; at most `batch` of each table.

    Returns:
        The most that was deleted from one table.
    """
    connection = await session.connection()
    deleted = [
        (
            await connection.execute(
                statement, {"batch": batch, "now": session_clock.moved(session)}
            )
        ).rowcount
        for statement in _PRUNE
    ]
    return max(deleted)


def taken(source: str) -> str:
    """
    The upsert that takes one, if there is room, for use inside a larger statement.

    Args:
        source: A CTE of at most one row: key, leak, burst, now, network.
    """
    return f"""
        INSERT INTO throttle_buckets AS b (key, empty_at, network)
        SELECT key, now + leak, network FROM {source}
        ON CONFLICT (key) DO UPDATE
        SET empty_at = GREATEST(b.empty_at + (SELECT leak FROM {source}), excluded.empty_at)
        WHERE b.empty_at <= (SELECT now + burst - leak FROM {source})
        RETURNING key, empty_at
    """  # noqa: S608 - of names in our statements


@cache
def _take() -> HotStatement:
    return HotStatement(
        text(f"""
        WITH given AS MATERIALIZED (
            SELECT COALESCE(CAST(:now AS timestamptz), clock_timestamp()) AS now,
                CAST(:key AS bytea) AS key,
                CAST(:leak AS interval) AS leak,
                CAST(:burst AS interval) AS burst,
                CAST(NULL AS bytea) AS network
        ), taken AS ({taken("given")})
        SELECT EXISTS (SELECT FROM taken) AS taken, b.empty_at + leak - burst - now AS wait
        FROM given LEFT JOIN throttle_buckets b USING (key)
        """)  # noqa: S608 - of the fragment above
    )


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
