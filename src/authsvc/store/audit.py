"""The audit trail: written by the statement, or in the transaction, that it tells about."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import Insert, Select, insert
from sqlmodel.ext.asyncio.session import AsyncSession

from authsvc.protocol.audit import AuditEvent, Caller
from authsvc.store.tables import audit_records

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
    now: datetime | None = None,
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
    if now is not None:
        values["at"] = now
    await session.exec(insert(audit_records).values(**values))


async def record_many(
    session: AsyncSession,
    event: AuditEvent,
    *,
    user_ids: Sequence[UUID],
    caller: Caller | None,
    details: dict[str, object],
    now: datetime | None = None,
) -> None:
    """Add one and the same record for each of many users (at least one)."""
    moment = {} if now is None else {"at": now}
    rows = [
        {
            "event": event,
            "user_id": user_id,
            "ip": caller.ip if caller else None,
            "user_agent": caller.user_agent if caller else None,
            "request_id": caller.request_id if caller else None,
            "details": details,
            **moment,
        }
        for user_id in user_ids
    ]
    await session.exec(insert(audit_records), params=rows)
