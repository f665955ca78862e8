"""The audit log: written by the statement, or in the transaction, that it tells about."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any
from uuid import UUID

from sqlalchemy import (
    CTE,
    ColumnElement,
    Insert,
    Select,
    Text,
    bindparam,
    func,
    insert,
    literal,
    select,
    tuple_,
)
from sqlmodel import col
from sqlmodel import select as model_select
from sqlmodel.ext.asyncio.session import AsyncSession

from authsvc.protocol.audit import AuditEvent, AuditFilter, Caller
from authsvc.store import session_clock
from authsvc.store.hot_statement import constant
from authsvc.store.tables import AuditRecord, audit_records

COLUMNS = ("event", "user_id", "family_id", "ip", "user_agent", "request_id", "details")
# The values are `caller_binds`.
CALLER = tuple(bindparam(name, type_=Text) for name in ("caller_ip", "caller_agent", "request_id"))


def audit_from(rows: Select[*tuple[object, ...]]) -> Insert:
    """
    An INSERT of one audit record per row, for use inside a larger statement.

    Args:
        rows: Selects event, user_id, family_id, ip, user_agent, request_id, details.
    """
    # `id` and `at` are the database's.
    return insert(audit_records).from_select(COLUMNS, rows, include_defaults=False)


def record_of_each(
    families: CTE,
    event: ColumnElement[str],
    details: ColumnElement[Any],
    *,
    caller: Sequence[ColumnElement[str]] = CALLER,
) -> Select[*tuple[object, ...]]:
    """
    The rows of `audit_from` for families that something came of.

    Args:
        families: Returns id and user_id of each.
    """
    return select(event, families.c.user_id, families.c.id, *caller, details)


def json_object(**members: ColumnElement[Any]) -> ColumnElement[Any]:
    """The details of a record, made of columns."""
    pairs = ((constant(name), value) for name, value in members.items())
    return func.jsonb_build_object(*chain.from_iterable(pairs))


def caller_binds(caller: Caller) -> dict[str, object]:
    """The values of CALLER."""
    return {
        "caller_ip": caller.ip,
        "caller_agent": caller.user_agent,
        "request_id": caller.request_id,
    }


def columns_of(caller: Caller | None) -> dict[str, str | None]:
    """What a record says of a caller; None is the command line."""
    return {
        "ip": caller.ip if caller else None,
        "user_agent": caller.user_agent if caller else None,
        "request_id": caller.request_id if caller else None,
    }


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
    await record_many(session, event, user_ids=(user_id,), caller=caller, details=details or {})


async def record_client(
    session: AsyncSession,
    event: AuditEvent,
    client_id: str,
    *,
    caller: Caller | None,
    **details: object,
) -> None:
    """As `record`, of a client."""
    details["client_id"] = client_id
    await record(session, event, user_id=None, caller=caller, details=details)


async def record_many(
    session: AsyncSession,
    event: AuditEvent,
    *,
    user_ids: Sequence[UUID | None],
    caller: Caller | None,
    details: dict[str, object],
) -> None:
    """Add one and the same record for each of many users (at least one)."""
    common: dict[str, object] = {"event": event, **columns_of(caller), "details": details}
    if (moment := session_clock.moved(session)) is not None:
        common["at"] = moment
    rows = [{"user_id": user_id, **common} for user_id in user_ids]
    await session.exec(insert(audit_records), params=rows)


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
