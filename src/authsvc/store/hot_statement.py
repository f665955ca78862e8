"""
Statements that are built from the tables, compiled to text once, and run on asyncpg directly.

An ORM session spends more time on a refresh than PostgreSQL does (docs/architecture.md); the
text is still made from `tables.py`, so that a renamed column cannot be missed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol, TypeVar

from sqlalchemy import CTE, ColumnElement, Text, bindparam, func, literal_column, select
from sqlalchemy.dialects.postgresql import TIMESTAMP
from sqlalchemy.dialects.postgresql.asyncpg import dialect
from sqlalchemy.sql.elements import ClauseElement

Row = Mapping[str, Any]
T = TypeVar("T")

TIMESTAMPTZ = TIMESTAMP(timezone=True)


class Fetching(Protocol):
    """The part of an asyncpg connection that hot statements use."""

    def fetchrow(self, query: str, *args: object) -> Awaitable[Row | None]:
        """Run one statement and return its first row."""

    def fetch(self, query: str, *args: object) -> Awaitable[Sequence[Row]]:
        """Run one statement and return its rows."""


class HotConnection(Fetching, Protocol):
    """A connection that also knows what its statements take for now."""

    @property
    def now(self) -> datetime | None:
        """The moment of a test's clock; None is the database's clock (see `Database.open`)."""


class HotStatement:
    """
    One statement with named binds.

    Raises:
        ValueError: The statement holds a literal that became a parameter; write it as
            `literal_column` or as a bind.
    """

    def __init__(self, statement: ClauseElement) -> None:
        compiled = statement.compile(dialect=dialect())  # type: ignore[no-untyped-call]
        stray = {name: value for name, value in compiled.params.items() if value is not None}
        if stray:
            raise ValueError(f"literals became parameters: {stray}")
        self.text = str(compiled)
        self._names: tuple[str, ...] = tuple(getattr(compiled, "positiontup", None) or ())

    async def fetchrow(self, connection: HotConnection, **binds: object) -> Row | None:
        """The first row, or None: one round trip."""
        return await connection.fetchrow(self.text, *self._values(connection, binds))

    async def fetch(self, connection: HotConnection, **binds: object) -> Sequence[Row]:
        """All rows: one round trip."""
        return await connection.fetch(self.text, *self._values(connection, binds))

    def _values(self, connection: HotConnection, binds: dict[str, object]) -> list[object]:
        binds["now"] = connection.now
        return [binds[name] for name in self._names]


def read(kind: type[T], row: Row, **given: object) -> T:
    """
    A value of the columns that are named as the fields of its dataclass are.

    Args:
        given: Fields that the row has not, or not in their form.
    """
    return kind(**{name: row[name] for name in names(kind) if name not in given}, **given)


def names(kind: type[Any]) -> tuple[str, ...]:
    """The fields of a dataclass, in their order."""
    return tuple(kind.__match_args__)


def constant(value: str) -> ColumnElement[str]:
    """A text of ours, such as an event or a kind, as a part of the statement."""
    return literal_column(f"'{value}'", Text)


def clock() -> CTE:
    """
    A one-row table `clock(now)`: the bind `now`, or the database's clock where that is NULL.

    It is read once per statement: `clock_timestamp()` is volatile, so the planner keeps the CTE.
    """
    now = func.coalesce(bindparam("now", type_=TIMESTAMPTZ), func.clock_timestamp())
    return select(now.label("now")).cte("clock")
