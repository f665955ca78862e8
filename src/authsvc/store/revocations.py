"""
Revocations as other statements write them: an entry is there exactly when the change is.

Nothing here revokes. What revokes adds one of these to its own statement.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import (
    CTE,
    ColumnElement,
    Insert,
    Integer,
    Interval,
    LargeBinary,
    Select,
    Text,
    cast,
    delete,
    func,
    insert,
    literal_column,
    select,
    true,
)
from sqlmodel.ext.asyncio.session import AsyncSession

from authsvc.protocol.revocation_feed import CLIENT_VER
from authsvc.protocol.revocations import DIGEST_BYTES, LIFE, Kind, digest
from authsvc.store.hot_statement import clock
from authsvc.store.tables import revocations

COLUMNS = ("kind", "digest", "least_ver", "revoked_at")
# No longer than an entry lives, and a while for replicas that look at it later.
PRUNE_AFTER = LIFE + timedelta(hours=1)

NO_VER = literal_column("NULL::integer", Integer)
NO_DIGEST = literal_column("NULL::bytea", LargeBinary)
SECONDS = int(LIFE.total_seconds())


def digest_of(identifier: ColumnElement[object]) -> ColumnElement[bytes]:
    """`protocol.revocations.digest` of an identifier's text, in SQL."""
    text = func.convert_to(cast(identifier, Text), literal_column("'UTF8'"))
    return _truncated(func.sha256(text))


def entries_from(rows: Select[*tuple[object, ...]]) -> Insert:
    """
    An INSERT of one entry per row, for use inside or around the statement that revokes.

    Args:
        rows: Selects kind, digest, least_ver, revoked_at.
    """
    # `seq` and `xid` are the database's.
    return insert(revocations).from_select(COLUMNS, rows, include_defaults=False)


def sessions_announced(ended: CTE) -> CTE:
    """
    One `sid` entry for each family that ended and may have tokens alive.

    Args:
        ended: Returns id, revoked_at and idle_expires_at of each.
    """
    return entries_from(_sessions_of(ended)).cte("announced")


def few_announced(ended: CTE, *, fewer_than: int) -> CTE:
    """As `sessions_announced`, unless so many ended that one entry of their user speaks for all."""
    counted = select(func.count()).select_from(ended).scalar_subquery()
    few = counted < literal_column(str(fewer_than), Integer)
    return entries_from(_sessions_of(ended).where(few)).cte("announced")


def everybody_announced(ended: CTE) -> CTE:
    """
    One `issued_before` entry for all families that ended, if any did.

    Args:
        ended: Returns revoked_at of each.
    """
    return entries_from(
        select(kind(Kind.ISSUED_BEFORE), NO_DIGEST, NO_VER, func.max(ended.c.revoked_at)).having(
            func.count() > literal_column("0")
        )
    ).cte("announced")


def token_announced(spent: CTE) -> CTE:
    """
    One `jti` entry for each access token that was revoked by itself.

    Args:
        spent: Returns the whole SHA-256 of the `jti` as digest.
    """
    one_row = clock()
    return entries_from(
        select(kind(Kind.JTI), _truncated(spent.c.digest), NO_VER, one_row.c.now).select_from(
            spent.join(one_row, true())
        )
    ).cte("announced")


def client_announced(coalesced: CTE, client: ColumnElement[bytes], one_row: CTE) -> CTE:
    """
    One entry for all tokens that a client has so far.

    It is written as a version that none of them has, which a replica of the release before
    understands too; `revocation_log` reads it as what it is.

    Args:
        coalesced: Returns a row if there is to be one.
        client: The digest of its `client_id`.
        one_row: The `clock` of the statement.
    """
    version = literal_column(str(CLIENT_VER), Integer)
    return entries_from(
        select(kind(Kind.VER), client, version, one_row.c.now).select_from(
            coalesced.join(one_row, true())
        )
    ).cte("announced")


def kind(value: Kind) -> ColumnElement[str]:
    """A kind as a constant of a statement."""
    return literal_column(f"'{value}'", Text)


def life() -> ColumnElement[timedelta]:
    """How long an entry lives."""
    return literal_column(f"interval '{SECONDS} seconds'", Interval)


async def announce_key(session: AsyncSession, kid: str, *, now: datetime | None = None) -> None:
    """Add the entry of a signing key that is being revoked."""
    await session.exec(
        insert(revocations).values(
            kind=Kind.KID,
            digest=digest(kid),
            revoked_at=func.coalesce(now, func.clock_timestamp()),
        )
    )


async def prune(session: AsyncSession, *, batch: int, now: datetime | None = None) -> int:
    """
    Delete entries that concern no token any more; at most `batch`.

    The newest stays for ever, so that a process which starts knows how far the numbers are.
    """
    r = revocations.c
    moment = select(func.coalesce(now, func.clock_timestamp())).scalar_subquery()
    newest = select(func.max(r.seq)).scalar_subquery()
    dead = (
        select(r.seq)
        .where(r.revoked_at < moment - PRUNE_AFTER, r.seq < newest)
        .order_by(r.seq)
        .limit(batch)
        .with_for_update(skip_locked=True)
    )
    return (await session.exec(delete(revocations).where(r.seq.in_(dead)))).rowcount


def _sessions_of(ended: CTE) -> Select[*tuple[object, ...]]:
    return select(kind(Kind.SID), digest_of(ended.c.id), NO_VER, ended.c.revoked_at).where(
        # It could not be refreshed after that, and its last token has expired since.
        ended.c.idle_expires_at > ended.c.revoked_at - life()
    )


def _truncated(whole: ColumnElement[bytes]) -> ColumnElement[bytes]:
    return func.substring(
        whole, literal_column("1", Integer), literal_column(str(DIGEST_BYTES), Integer)
    )
