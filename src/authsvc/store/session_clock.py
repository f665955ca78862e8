"""Now, in the statements of a session: the database's clock, or the one that a test moves."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement, ScalarSelect, func, literal, select
from sqlmodel.ext.asyncio.session import AsyncSession

from authsvc.store.hot_statement import TIMESTAMPTZ


def moved(session: AsyncSession) -> datetime | None:
    """The moment of a test's clock; None is the database's clock (see `Database.open`)."""
    clock = session.info["clock"]
    moment: datetime | None = clock() if clock else None
    return moment


def now(session: AsyncSession) -> ColumnElement[datetime]:
    """The moment, as an expression."""
    moment = moved(session)
    if moment is None:
        return func.clock_timestamp(type_=TIMESTAMPTZ)
    return literal(moment, TIMESTAMPTZ)


def once(session: AsyncSession) -> ScalarSelect[datetime]:
    """
    The moment, as a subquery that is evaluated once.

    Compared with a volatile function, an index could not be used.
    """
    return select(now(session)).scalar_subquery()
