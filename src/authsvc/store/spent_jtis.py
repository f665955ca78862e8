"""`jti`s that work no more, the same for all replicas and over restarts (RFC 7523 §3, RFC 7009)."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cache

from sqlalchemy import (
    LargeBinary,
    Text,
    bindparam,
    cast,
    delete,
    func,
    literal_column,
    select,
    tuple_,
)
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.sql.dml import ReturningInsert
from sqlmodel.ext.asyncio.session import AsyncSession

from authsvc.protocol.audit import AuditEvent, Caller
from authsvc.store.audit import audit_from
from authsvc.store.hot_statement import TIMESTAMPTZ, HotConnection, HotStatement
from authsvc.store.revocations import token_announced
from authsvc.store.tables import audit_records, spent_jtis

# `expires_at` follows the process's clock and pruning the database's: they may differ by so much.
PRUNE_AFTER = timedelta(hours=1)

s = spent_jtis.c


class Kind(StrEnum):
    """What the `jti` belongs to."""

    CLIENT_ASSERTION = "client_assertion"
    ACCESS_TOKEN = "access_token"  # noqa: S105 - a kind, not a token


async def consume_assertion(
    connection: HotConnection, *, client_id: str, jti: str, expires_at: datetime
) -> bool:
    """
    Use up the `jti` of an assertion.

    Returns:
        False if it was used before, by whatever replica, at whatever endpoint.
    """
    row = await _consume().fetchrow(
        connection,
        kind=Kind.CLIENT_ASSERTION,
        client=client_id,
        jti_digest=_digest(jti),
        until=expires_at,
    )
    return row is not None


async def revoke_access_token(
    connection: HotConnection,
    *,
    client_id: str,
    jti: str,
    expires_at: datetime,
    caller: Caller,
    now: datetime | None = None,
) -> bool:
    """
    Revoke one access token of a client, announce it and audit it.

    Args:
        now: Only tests pass one; None is the database's clock.

    Returns:
        False if it was revoked already.
    """
    row = await _revoke().fetchrow(
        connection,
        kind=Kind.ACCESS_TOKEN,
        client=client_id,
        jti_digest=_digest(jti),
        until=expires_at,
        caller_ip=caller.ip,
        caller_agent=caller.user_agent,
        request_id=caller.request_id,
        details=json.dumps({"client_id": client_id, "jti": jti}),
        now=now,
    )
    return row is not None


async def is_revoked(connection: HotConnection, *, client_id: str, jti: str) -> bool:
    """Whether this access token of a client was revoked."""
    row = await _find().fetchrow(
        connection, kind=Kind.ACCESS_TOKEN, client=client_id, jti_digest=_digest(jti)
    )
    return row is not None


async def prune(session: AsyncSession, *, batch: int, now: datetime | None = None) -> int:
    """Forget what is refused for its age by now; at most `batch`."""
    moment = select(func.coalesce(now, func.clock_timestamp())).scalar_subquery()
    key = (s.kind, s.client_id, s.digest)
    dead = (
        select(*key)
        .where(s.expires_at < moment - PRUNE_AFTER)
        .limit(batch)
        .with_for_update(skip_locked=True)
    )
    statement = delete(spent_jtis).where(tuple_(*key).in_(dead))
    return (await session.exec(statement)).rowcount


def _digest(jti: str) -> bytes:
    """Of fixed length, whatever a client takes for its ids."""
    return hashlib.sha256(jti.encode("utf-8", "surrogatepass")).digest()


def _insert() -> ReturningInsert[tuple[bytes]]:
    row = select(
        bindparam("kind", type_=Text),
        bindparam("client", type_=Text),
        bindparam("jti_digest", type_=LargeBinary),
        bindparam("until", type_=TIMESTAMPTZ),
    )
    return (
        insert(spent_jtis)
        .from_select(["kind", "client_id", "digest", "expires_at"], row, include_defaults=False)
        .on_conflict_do_nothing()
        .returning(s.digest)
    )


@cache
def _consume() -> HotStatement:
    return HotStatement(_insert())


@cache
def _revoke() -> HotStatement:
    revoked = _insert().cte("revoked")
    return HotStatement(
        audit_from(
            select(
                literal_column(f"'{AuditEvent.CLIENT_TOKEN_REVOKED}'", Text),
                literal_column("NULL::uuid"),
                literal_column("NULL::uuid"),
                bindparam("caller_ip", type_=Text),
                bindparam("caller_agent", type_=Text),
                bindparam("request_id", type_=Text),
                cast(bindparam("details", type_=Text), JSONB),
            ).select_from(revoked)
        )
        .returning(audit_records.c.id)
        .add_cte(token_announced(revoked))
    )


@cache
def _find() -> HotStatement:
    return HotStatement(
        select(s.client_id).where(
            s.kind == bindparam("kind", type_=Text),
            s.client_id == bindparam("client", type_=Text),
            s.digest == bindparam("jti_digest", type_=LargeBinary),
        )
    )
