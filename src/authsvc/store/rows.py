"""Rows by their keys."""

from __future__ import annotations

from typing import TypeVar

from sqlmodel import SQLModel
from sqlmodel.ext.asyncio.session import AsyncSession

from authsvc.protocol.errors import NotFound

T = TypeVar("T", bound=SQLModel)


async def existing(
    session: AsyncSession, table: type[T], key: object, *, name: str, lock: bool = False
) -> T:
    """
    The row of this key.

    Args:
        name: What it is, for the log.
        lock: Until the transaction ends.

    Raises:
        NotFound: There is none.
    """
    row = await session.get(table, key, with_for_update=lock)
    if row is None:
        raise NotFound(name)
    return row
