"""Delete rows in small batches, without getting in the way of another process that does."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Table, delete, func, literal_column, select
from sqlmodel.ext.asyncio.session import AsyncSession


async def delete_some(
    session: AsyncSession, table: Table, condition: ColumnElement[bool], *, batch: int
) -> int:
    """
    Delete at most `batch` of the rows for which the condition holds; returns how many.

    Rows that another transaction has locked are skipped, not waited for.
    """
    place: ColumnElement[Any] = literal_column(f"{table.name}.ctid")
    rows = select(place).select_from(table).where(condition).limit(batch)
    found = func.array(rows.with_for_update(skip_locked=True).scalar_subquery())
    return (await session.exec(delete(table).where(place == func.any(found)))).rowcount
