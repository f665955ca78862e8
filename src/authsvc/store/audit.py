"""The audit log: written by the statement, or in the transaction, that it tells about."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import Insert, Select, insert, literal, tuple_
from sqlmodel import col
from sqlmodel import select as model_select
from sqlmodel.ext.asyncio.session import AsyncSession

from authsvc.protocol.audit import AuditEvent, AuditFilter, Caller
from authsvc.store import session_clock
from authsvc.store.tables import AuditRecord, audit_records

COLUMNS = ("event", "user_id", "family_id", "ip", "user_agent", "request_id", "details")


def audit_from(rows: Select[*tuple[object, ...]]) -> Insert:
    """
    An INSERT of one audit record per row, for use inside a larger statement.

    Args:
        rows: Selects event, user_id, family_id, ip, user_agent, request_id, details.
    """
    # `id` and `at` are the database's.
    return insert(audit_records).from_select(COLUMNS, rows, include_defaults=False)


async def record(
    session: AsyncSession,
    event: AuditEvent,
    *,
    user_id: UUID | None,
    caller: Caller | None,
    details: dict[str, object] | None = None,
) -> None:
    """
    Add one record to the session's transaction.

    Args:
        caller: None for the command line.
    """
    values: dict[str, object] = {
        "event": event,
        "user_id": user_id,
        "ip": caller.ip if caller else None,
        "user_agent": caller.user_agent if caller else None,
        "request_id": caller.request_id if caller else None,
        "details": details or {},
    }
    await session.exec(insert(audit_records).values(**values, **_at(session)))


async def record_many(
    session: AsyncSession,
    event: AuditEvent,
    *,
    user_ids: Sequence[UUID],
    caller: Caller | None,
    details: dict[str, object],
) -> None:
    """Add one and the same record for each of many users (at least one)."""
    rows = [
        {
            "event": event,
            "user_id": user_id,
            "ip": caller.ip if caller else None,
            "user_agent": caller.user_agent if caller else None,
            "request_id": caller.request_id if caller else None,
            "details": details,
            **_at(session),
        }
        for user_id in user_ids
    ]
    await session.exec(insert(audit_records), params=rows)


def _at(session: AsyncSession) -> dict[str, datetime]:
    moment = session_clock.moved(session)
    return {} if moment is None else {"at": moment}


async def find(session: AsyncSession, record_id: UUID) -> AuditRecord | None:
    """The record of this id, if it has not been pruned."""
    return await session.get(AuditRecord, record_id)


async def list_page(
    session: AsyncSession,
    *,
    wanted: AuditFilter,
    limit: int,
    after: AuditRecord | None = None,
    newest_first: bool,
) -> Sequence[AuditRecord]:
    """
    A page of the trail by keyset: `at`, and the id where two have the same.

    Args:
        after: The last one seen.
    """
    at, id_ = col(AuditRecord.at), col(AuditRecord.id)
    statement = model_select(AuditRecord).limit(limit)
    statement = statement.order_by(*((at.desc(), id_.desc()) if newest_first else (at, id_)))
    if wanted.user_id is not None:
        statement = statement.where(AuditRecord.user_id == wanted.user_id)
    if wanted.session_id is not None:
        statement = statement.where(AuditRecord.family_id == wanted.session_id)
    if wanted.events:
        statement = statement.where(col(AuditRecord.event).in_(wanted.events))
    if wanted.since is not None:
        statement = statement.where(at >= wanted.since)
    if wanted.until is not None:
        statement = statement.where(at < wanted.until)
    if after is not None:
        here, seen = tuple_(at, id_), tuple_(literal(after.at), literal(after.id))
        statement = statement.where(here < seen if newest_first else here > seen)
    return (await session.exec(statement)).all()
