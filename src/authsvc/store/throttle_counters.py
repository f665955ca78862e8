"""Counters of failures and registrations; shared by all replicas, kept over restarts."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime, timedelta
from functools import cache
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    Integer,
    Interval,
    LargeBinary,
    Text,
    Uuid,
    bindparam,
    case,
    cast,
    func,
    literal_column,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB, insert

from authsvc.protocol.audit import AuditEvent, Caller
from authsvc.protocol.throttle import Counter
from authsvc.store.audit import audit_from
from authsvc.store.hot_statement import TIMESTAMPTZ, HotConnection, HotStatement, clock
from authsvc.store.tables import throttle_counters

c = throttle_counters.c
ONE = literal_column("1", Integer)


def account_key(email: str) -> bytes:
    """
    The counter of an account, known or not.

    Args:
        email: In its normal form, so that no other spelling has a counter of its own.
    """
    return _key("account", email)


def network_key(network: str) -> bytes:
    """The counter of a client network: an IPv4 address or an IPv6 /64."""
    return _key("network", network)


def device_key(user_id: UUID, nonce: str) -> bytes:
    """The counter of a known device."""
    return _key("device", f"{user_id} {nonce}")


def registration_key(network: str) -> bytes:
    """The registrations from a client network."""
    return _key("registration", network)


def client_key(client_id: str, network: str) -> bytes:
    """The counter of a client's name as it is used from one network."""
    return _key("client", f"{network} {client_id}")


def client_network_key(network: str) -> bytes:
    """The failures of clients from a network; apart from those of users."""
    return _key("client_network", network)


def token_revocation_key(client_id: str) -> bytes:
    """The revocations of a client's own tokens, from wherever it asks."""
    return _key("token_revocation", client_id)


async def count_failure(
    connection: HotConnection,
    keys: list[bytes],
    *,
    forget_after: timedelta,
    event: AuditEvent,
    user_id: UUID | None,
    cause: str,
    caller: Caller,
    client_id: str | None = None,
    now: datetime | None = None,
) -> None:
    """
    Count a failed attempt on every key and audit it, in one statement.

    Args:
        client_id: What a client called itself.
        forget_after: A counter whose last attempt is older starts anew.
    """
    await _count_failure().fetchrow(
        connection,
        keys=sorted(keys),  # one order everywhere: two statements cannot deadlock
        forget_after=forget_after,
        event=event,
        owner=user_id,
        caller_ip=caller.ip,
        caller_agent=caller.user_agent,
        request_id=caller.request_id,
        details=json.dumps(
            {"cause": cause} if client_id is None else {"cause": cause, "client_id": client_id}
        ),
        now=now,
    )


async def claim(
    connection: HotConnection, key: bytes, seen: Counter, *, now: datetime | None = None
) -> Counter | None:
    """
    Take the one attempt that a throttled counter allows at a time.

    Without it, a burst of parallel guesses would all pass the check before the first is counted.

    Args:
        seen: The counter as it was when the attempt was found to be due.

    Returns:
        The counter as it is now; None if another caller was quicker.
    """
    row = await _move().fetchrow(
        connection,
        counter_key=key,
        seen_count=seen.count,
        seen_at=seen.last_at,
        moved_to=None,
        now=now,
    )
    return Counter(count=seen.count, last_at=row["last_at"]) if row else None


async def give_back(
    connection: HotConnection, key: bytes, *, seen: Counter, claimed: Counter
) -> None:
    """Undo a claim whose attempt was not made, or was right; a later failure stays counted."""
    await _move().fetchrow(
        connection,
        counter_key=key,
        seen_count=claimed.count,
        seen_at=claimed.last_at,
        moved_to=seen.last_at,
        now=None,
    )


async def count_within(
    connection: HotConnection, key: bytes, *, window: timedelta, now: datetime | None = None
) -> tuple[int, timedelta]:
    """
    Count one more event in a fixed window that starts with its first event.

    Returns:
        The events in this window, this one included, and the time until it ends.
    """
    row = await _count_within().fetchrow(connection, counter_key=key, span=window, now=now)
    if row is None:  # unreachable: an upsert always returns its row
        raise AssertionError
    return row["count"], row["last_at"] + window - row["now"]


def _key(kind: str, subject: str) -> bytes:
    return hashlib.sha256(f"{kind}\0{subject}".encode()).digest()


@cache
def _count_failure() -> HotStatement:
    now = clock().c.now
    keys = func.unnest(bindparam("keys", type_=ARRAY(LargeBinary))).column_valued("key")
    counting = insert(throttle_counters).from_select(
        ["key", "count", "last_at"], select(keys, ONE, now), include_defaults=False
    )
    counted = (
        counting.on_conflict_do_update(
            index_elements=[c.key],
            set_={
                "count": case(
                    (
                        c.last_at
                        < counting.excluded.last_at - bindparam("forget_after", type_=Interval),
                        ONE,
                    ),
                    else_=c.count + ONE,
                ),
                "last_at": counting.excluded.last_at,
            },
        )
        .returning(c.key)
        .cte("counted")
    )
    return HotStatement(
        audit_from(
            select(
                bindparam("event", type_=Text),
                bindparam("owner", type_=Uuid),
                literal_column("NULL::uuid"),
                bindparam("caller_ip", type_=Text),
                bindparam("caller_agent", type_=Text),
                bindparam("request_id", type_=Text),
                cast(bindparam("details", type_=Text), JSONB),
            )
        ).add_cte(counted)
    )


@cache
def _move() -> HotStatement:
    now = clock().c.now
    return HotStatement(
        update(throttle_counters)
        .values(last_at=func.coalesce(bindparam("moved_to", type_=TIMESTAMPTZ), now))
        .where(
            c.key == bindparam("counter_key", type_=LargeBinary),
            c.count == bindparam("seen_count", type_=Integer),
            c.last_at == bindparam("seen_at", type_=TIMESTAMPTZ),
        )
        .returning(c.last_at)
    )


@cache
def _count_within() -> HotStatement:
    now = clock().c.now
    counting = insert(throttle_counters).from_select(
        ["key", "count", "last_at"],
        select(bindparam("counter_key", type_=LargeBinary), ONE, now),
        include_defaults=False,
    )
    over = c.last_at + bindparam("span", type_=Interval) <= counting.excluded.last_at
    return HotStatement(
        counting.on_conflict_do_update(
            index_elements=[c.key],
            set_={
                "count": case((over, ONE), else_=c.count + ONE),
                # Here `last_at` is the start of the window.
                "last_at": case((over, counting.excluded.last_at), else_=c.last_at),
            },
        ).returning(c.count, c.last_at, select(now).scalar_subquery().label("now"))
    )
