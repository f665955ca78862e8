"""
Read the revocations as they come: everything once, then what the last look cannot have seen.

Numbers are drawn before they commit, so "all above the highest" would miss the late ones. Each
entry has the id of its transaction, and a snapshot says which transactions it cannot have seen:
all that are not below its `xmin`. That is exact, whatever the duration of a transaction.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import (
    CTE,
    BigInteger,
    ColumnElement,
    Integer,
    and_,
    bindparam,
    func,
    literal_column,
    select,
    true,
    union_all,
)

from authsvc.protocol.errors import DatabaseUnavailable
from authsvc.protocol.revocation_feed import CLIENT_VER
from authsvc.store.database import RETRY_AFTER
from authsvc.store.hot_statement import HotConnection, HotStatement, Row, clock, constant, read
from authsvc.store.revocations import containing, horizon, is_contained
from authsvc.store.tables import revocations
from authsvc_client.tokens import base64url
from authsvc_client.tokens.revocation_feed import STEP
from authsvc_client.tokens.revocations import LIFE, Entry, Kind, everything_before, of_client_before

EPOCH_BYTES = 12
STEP_SECONDS = literal_column(str(int(STEP.total_seconds())), Integer)


@dataclass(frozen=True, slots=True)
class Logged:
    """
    An entry, with its number and when it was written.

    Args:
        xid: Of the transaction that wrote it.
        owner: The digest of the user whose tokens it concerns; None if that is not counted.
        replaces: All of the owner with a lower `xid` are contained in it.
    """

    seq: int
    revoked_at: datetime
    entry: Entry
    xid: int = 0
    owner: bytes | None = None
    replaces: int | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """
    What one look at the log has shown.

    Args:
        epoch: Names the history that the numbers are of. It is another one after a failover, a
            restart, and whenever the table was written anew, as by a restore.
        now: The database's clock.
        horizon: For the next look.
        logged: In the order of their numbers; some may have been shown before.
    """

    epoch: str
    now: datetime
    horizon: int
    logged: tuple[Logged, ...]


async def look(connection: HotConnection, horizon: int) -> Look:
    """
    Everything that the look which gave this horizon cannot have seen.

    Raises:
        DatabaseUnavailable: It is a standby, which does not know the latest.
    """
    return _look(await _since().fetch(connection, horizon=horizon))


async def newest(connection: HotConnection, *, limit: int) -> Look:
    """
    The first look: the newest entries of tokens in this step's document, at most so many, and
    all others.

    Those that another entry in this document contains are left out: they would push out the
    entries of others.

    Raises:
        DatabaseUnavailable: As `look`.
    """
    return _look(await _newest().fetch(connection, limit=limit))


def _look(rows: Sequence[Row]) -> Look:
    first = rows[0]  # of the clock: it is there whatever else is
    if first["standby"]:
        raise DatabaseUnavailable("a standby", retry_after=RETRY_AFTER)
    found = [_logged(row) for row in rows if row["seq"] is not None]
    name = f"{first['started_at'].timestamp()} {first['filenode']}"
    return Look(
        epoch=base64url.encode(hashlib.sha256(name.encode()).digest()[:EPOCH_BYTES]),
        now=first["now"],
        horizon=first["horizon"],
        logged=tuple(sorted(found, key=lambda logged: logged.seq)),
    )


def _logged(row: Row) -> Logged:
    revoked_at = row["revoked_at"]
    until = revoked_at + LIFE
    kind = Kind(row["kind"])
    if kind is Kind.ISSUED_BEFORE:
        entry = everything_before(revoked_at, until=until)
    elif kind is Kind.VER and row["least_ver"] == CLIENT_VER:
        entry = of_client_before(row["digest"], revoked_at, until=until)
    else:
        entry = Entry(kind, until, row["digest"], row["least_ver"])
    return read(Logged, row, entry=entry)


r = revocations.c
ENTRY = (r.seq, r.kind, r.digest, r.least_ver, r.revoked_at, r.xid, r.owner, r.replaces)


@cache
def _since() -> HotStatement:
    one_row = clock()
    later = r.xid >= bindparam("horizon", type_=BigInteger)
    return HotStatement(
        select(*_about(one_row), *ENTRY).select_from(one_row.outerjoin(revocations, later))
    )


@cache
def _newest() -> HotStatement:
    one_row = clock()
    # As `Revocations` counts: what was revoked since the step began is in no document yet.
    seconds = func.floor(func.extract("epoch", one_row.c.now) / STEP_SECONDS) * STEP_SECONDS
    begun = select(func.to_timestamp(seconds)).scalar_subquery()
    by = containing(begun)
    counted = and_(
        r.kind.in_([constant(kind) for kind in Kind if kind.of_tokens]),
        r.least_ver.is_distinct_from(literal_column(str(CLIENT_VER))),
        r.revoked_at < begun,
    )
    found = (
        select(*ENTRY)
        .outerjoin(by, by.c.owner == r.owner)
        .where(counted, ~is_contained(by))
        .order_by(r.seq.desc())
        .limit(bindparam("limit", type_=BigInteger))
    )
    others = select(*ENTRY).where(~counted)
    entries = union_all(select(found.subquery("newest")), others).subquery("entries")
    return HotStatement(
        select(*_about(one_row), *entries.c).select_from(one_row.outerjoin(entries, true()))
    )


def _about(one_row: CTE) -> tuple[ColumnElement[Any], ...]:
    """What a look says beside entries; an ordinary role may ask for all of it."""
    return (
        one_row.c.now,
        func.pg_is_in_recovery().label("standby"),
        func.pg_postmaster_start_time().label("started_at"),
        func.pg_relation_filenode(literal_column("'revocations'::regclass")).label("filenode"),
        horizon().label("horizon"),
    )
