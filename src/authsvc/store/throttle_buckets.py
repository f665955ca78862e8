"""
Rate limits (leaky buckets) in PostgreSQL: shared by all replicas, kept over restarts.

`admission` says how a login takes from them.
"""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from enum import StrEnum
from functools import cache
from uuid import UUID

from sqlalchemy import func, literal_column, text
from sqlmodel.ext.asyncio.session import AsyncSession

from authsvc.protocol.audit import AuditEvent, Caller
from authsvc.protocol.errors import TooManyAttempts
from authsvc.protocol.throttle import COUNTED_FOR, KNOWN_NETWORK_LIFE, STRANGERS_WINDOW, Bucket
from authsvc.store import session_clock
from authsvc.store.audit import caller_binds
from authsvc.store.hot_statement import TIMESTAMPTZ, HotConnection, HotStatement
from authsvc.store.pruning import delete_some
from authsvc.store.tables import (
    known_networks,
    stranger_failures,
    throttle_buckets,
    throttle_counters,
)

NEVER = literal_column("'-infinity'", TIMESTAMPTZ)


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


async def take(connection: HotConnection, key: bytes, bucket: Bucket, *, refusal: str) -> None:
    """
    Take one from a bucket.

    Args:
        refusal: What there was too much of, for the log.

    Raises:
        TooManyAttempts: There is no room; nothing was taken.
    """
    [row] = await _take().fetch(connection, key=key, leak=bucket.leak, burst=bucket.burst)
    if not row["taken"]:
        wait: timedelta | None = row["wait"]  # of the snapshot: others may have been quicker
        shown = wait if wait is not None and wait > timedelta(0) else bucket.leak
        raise TooManyAttempts(refusal, retry_after=shown)


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
        **caller_binds(caller),
        details=json.dumps(details),
    )


async def prune(session: AsyncSession, *, batch: int) -> int:
    """
    Delete what no rule asks about any more; at most `batch` of each table.

    Returns:
        The most that was deleted from one table.
    """
    now = session_clock.once(session)
    b, failed_at = throttle_buckets.c, stranger_failures.c.failed_at
    newest = failed_at[func.cardinality(failed_at)]
    forgotten = {
        throttle_buckets: func.greatest(b.empty_at, b.failed_at + COUNTED_FOR) < now,
        stranger_failures: func.coalesce(newest, NEVER) < now - STRANGERS_WINDOW,
        known_networks: known_networks.c.signed_in_at < now - KNOWN_NETWORK_LIFE,
        # What the version before this one writes during a rollout, it asks about for an hour.
        throttle_counters: throttle_counters.c.last_at < now - timedelta(hours=1),
    }
    return max(
        [
            await delete_some(session, table, condition, batch=batch)
            for table, condition in forgotten.items()
        ]
    )


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
        VALUES (CAST(:event AS text), CAST(:owner AS uuid), CAST(:caller_ip AS text),
            CAST(:caller_agent AS text), CAST(:request_id AS text),
            CAST(CAST(:details AS text) AS jsonb))
        """)
    )
