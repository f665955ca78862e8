"""
Revocations as other statements write them: an entry is there exactly when the change is.

Nothing here revokes. What revokes adds one of these to its own statement.

All users share the log, so each has a part of it: beyond `MAX_LIVE` entries, one entry of the
user's `ver` replaces them. It makes the access tokens that the user has so far stale, so those of
sessions that live on are refreshed early, once in so many revocations.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import (
    CTE,
    BigInteger,
    ColumnElement,
    CompoundSelect,
    Insert,
    Integer,
    Interval,
    LargeBinary,
    Select,
    Subquery,
    Text,
    cast,
    delete,
    func,
    insert,
    literal_column,
    or_,
    select,
    true,
    union_all,
    update,
)
from sqlmodel.ext.asyncio.session import AsyncSession

from authsvc.protocol.revocation_feed import CLIENT_VER
from authsvc.store import session_clock
from authsvc.store.hot_statement import clock, constant
from authsvc.store.tables import revocations, users
from authsvc_client.tokens.revocations import DIGEST_BYTES, LIFE, Kind, digest

COLUMNS = ("kind", "digest", "least_ver", "revoked_at", "owner", "replaces")
# Live entries of one user; beyond it one speaks for them all.
MAX_LIVE = 100
# No longer than an entry lives, and a while for replicas that look at it later.
PRUNE_AFTER = LIFE + timedelta(hours=1)
# A replaced entry is in the documents up to the step after the one that replaces it.
PRUNE_REPLACED_AFTER = timedelta(minutes=1)

NO_VER = literal_column("NULL::integer", Integer)
NO_DIGEST = literal_column("NULL::bytea", LargeBinary)
NO_NUMBER = literal_column("NULL::bigint", BigInteger)
SECONDS = int(LIFE.total_seconds())


def digest_of(identifier: ColumnElement[object]) -> ColumnElement[bytes]:
    """`protocol.revocations.digest` of an identifier's text, in SQL."""
    text = func.convert_to(cast(identifier, Text), literal_column("'UTF8'"))
    return _truncated(func.sha256(text))


def entries_from(
    rows: Select[*tuple[object, ...]] | CompoundSelect[*tuple[object, ...]],
) -> Insert:
    """
    An INSERT of one entry per row, for use inside or around the statement that revokes.

    Args:
        rows: Selects `COLUMNS`.
    """
    # `seq` and `xid` are the database's.
    return insert(revocations).from_select(COLUMNS, rows, include_defaults=False)


def entries_coalesced(ended: CTE) -> CTE:
    """
    Raise the `ver` of each user who would have more than `MAX_LIVE` entries.

    Args:
        ended: As for `sessions_announced`.

    Returns:
        id, ver and revoked_at of each. Revocations at once count without one another, so there
        may be as many more entries as are in flight.
    """
    r, u = revocations.c, users.c
    of_user = (
        select(
            ended.c.user_id,
            digest_of(ended.c.user_id).label("owner"),
            func.count().label("more"),
            func.max(ended.c.revoked_at).label("revoked_at"),
        )
        .where(_may_have_tokens(ended))
        .group_by(ended.c.user_id)
        .cte("of_user")
    )
    other = revocations.alias("other").c
    contained_below = (
        select(func.coalesce(func.max(other.replaces), literal_column("0")))
        .where(other.owner == of_user.c.owner)
        .correlate(of_user)
        .scalar_subquery()
    )
    live = (
        select(r.seq)
        .where(
            r.owner == of_user.c.owner,
            r.xid >= contained_below,
            r.revoked_at > of_user.c.revoked_at - life(),
        )
        .limit(literal_column(str(MAX_LIVE)))
        .correlate(of_user)
        .subquery("live")
    )
    so_far = select(func.count()).select_from(live).correlate(of_user).scalar_subquery()
    # Nobody is waited for: two statements that hold a family each and want the row of its user
    # could deadlock. Where another has it, this revocation is an entry more, and the next tries.
    crowded = (
        select(u.id, of_user.c.revoked_at)
        .join(of_user, of_user.c.user_id == u.id)
        .where(so_far + of_user.c.more > literal_column(str(MAX_LIVE)))
        .with_for_update(of=users, key_share=True, skip_locked=True)
        .cte("crowded")
    )
    return (
        update(users)
        .values(ver=u.ver + literal_column("1"))
        .where(u.id == crowded.c.id)
        .returning(u.id, u.ver, crowded.c.revoked_at)
        .cte("coalesced_entries")
    )


def sessions_announced(ended: CTE, coalesced: CTE | None = None) -> CTE:
    """
    One `sid` entry for each family that ended and may have tokens alive.

    Args:
        ended: Returns id, user_id, revoked_at and idle_expires_at of each.
        coalesced: `entries_coalesced`, if the statement asks it for more; of these users there
            is one entry instead.
    """
    if coalesced is None:
        coalesced = entries_coalesced(ended)
    sessions = _entry(
        Kind.SID, digest_of(ended.c.id), ended.c.revoked_at, owner=digest_of(ended.c.user_id)
    ).where(_may_have_tokens(ended), ended.c.user_id.not_in(select(coalesced.c.id)))
    versions = of_versions(coalesced, coalesced.c.revoked_at)
    return entries_from(union_all(sessions, versions)).cte("announced")


def few_announced(ended: CTE, *, fewer_than: int) -> CTE:
    """As `sessions_announced`, unless so many ended that the one entry of all sessions speaks."""
    counted = select(func.count()).select_from(ended).scalar_subquery()
    few = (
        select(ended.c.id, ended.c.user_id, ended.c.revoked_at, ended.c.idle_expires_at)
        .where(counted < literal_column(str(fewer_than), Integer))
        .cte("few")
    )
    return sessions_announced(few)


def _may_have_tokens(ended: CTE) -> ColumnElement[bool]:
    # Otherwise it could not be refreshed after that, and its last token has expired since.
    return ended.c.idle_expires_at > ended.c.revoked_at - life()


def of_versions(changed: CTE, revoked_at: ColumnElement[datetime]) -> Select[*tuple[object, ...]]:
    """
    The rows of `ver` entries, each of which makes all that a user has so far stale.

    So it contains every entry of this user that was committed before the snapshot of this
    statement: no token of those sessions has the new `ver`, since they had ended before it.

    Args:
        changed: Returns id and ver of each user whose `ver` was raised.
    """
    sub = digest_of(changed.c.id)
    return _entry(Kind.VER, sub, revoked_at, ver=changed.c.ver, owner=sub, replaces=horizon())


def everybody_announced(ended: CTE) -> CTE:
    """
    One `issued_before` entry for all families that ended, if any did.

    Args:
        ended: Returns revoked_at of each.
    """
    moment = func.max(ended.c.revoked_at)
    one = _entry(Kind.ISSUED_BEFORE, NO_DIGEST, moment).having(func.count() > literal_column("0"))
    return entries_from(one).cte("announced")


def token_announced(spent: CTE) -> CTE:
    """
    One `jti` entry for each access token that was revoked by itself.

    Args:
        spent: Returns the whole SHA-256 of the `jti` as digest.
    """
    one_row = clock()
    entry = _entry(Kind.JTI, _truncated(spent.c.digest), one_row.c.now)
    return entries_from(entry.select_from(spent.join(one_row, true()))).cte("announced")


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
    entry = _entry(Kind.VER, client, one_row.c.now, ver=version)
    return entries_from(entry.select_from(coalesced.join(one_row, true()))).cte("announced")


def _entry(
    kind: Kind,
    digest: ColumnElement[bytes],
    revoked_at: ColumnElement[datetime],
    *,
    ver: ColumnElement[int] = NO_VER,
    owner: ColumnElement[bytes] = NO_DIGEST,
    replaces: ColumnElement[int] = NO_NUMBER,
) -> Select[*tuple[object, ...]]:
    """The row of one entry: `COLUMNS`."""
    return select(constant(kind), digest, ver, revoked_at, owner, replaces)


def life() -> ColumnElement[timedelta]:
    """How long an entry lives."""
    return literal_column(f"interval '{SECONDS} seconds'", Interval)


def horizon() -> ColumnElement[int]:
    """All transactions below it had ended before the snapshot of the statement."""
    snapshot = func.pg_snapshot_xmin(func.pg_current_snapshot())
    return cast(cast(snapshot, Text), BigInteger)


def containing(moment: ColumnElement[datetime]) -> Subquery:
    """Of each owner: what the entries from before a moment contain, for `is_contained`."""
    r = revocations.c
    return (
        select(r.owner, func.max(r.replaces).label("xid"), func.max(r.least_ver).label("ver"))
        .where(r.replaces.is_not(None), r.revoked_at < moment)
        .group_by(r.owner)
        .subquery("containing")
    )


def is_contained(by: Subquery) -> ColumnElement[bool]:
    """
    Whether an entry, outer joined with `containing` by its owner, says nothing more.

    A lower `ver` never does. Were it by `xid` alone, a long transaction beside would keep them all.
    """
    r = revocations.c
    contained = or_(r.xid < by.c.xid, r.least_ver < by.c.ver)
    return func.coalesce(contained, literal_column("FALSE"))


async def raise_ver(session: AsyncSession, user_id: UUID, **values: object) -> None:
    """
    Announce that the tokens which a user has so far are stale.

    Args:
        values: What changes in the user's row besides.
    """
    u = users.c
    changed = (
        update(users)
        .values(ver=u.ver + 1, **values)
        .where(u.id == user_id)
        .returning(u.id, u.ver)
        .cte("changed")
    )
    await session.exec(entries_from(of_versions(changed, session_clock.now(session))))


async def announce_key(session: AsyncSession, kid: str) -> None:
    """Add the entry of a signing key that is being revoked."""
    await session.exec(
        insert(revocations).values(
            kind=Kind.KID,
            digest=digest(kid),
            revoked_at=session_clock.now(session),
        )
    )


async def prune(session: AsyncSession, *, batch: int) -> int:
    """
    Delete entries that concern no token any more, or that another contains; at most `batch`.

    The newest stays for ever, so that a process which starts knows how far the numbers are.
    """
    r = revocations.c
    moment = session_clock.once(session)
    newest = select(func.max(r.seq)).scalar_subquery()
    by = containing(moment - PRUNE_REPLACED_AFTER)
    dead = (
        select(r.seq)
        .outerjoin(by, by.c.owner == r.owner)
        .where(or_(r.revoked_at < moment - PRUNE_AFTER, is_contained(by)), r.seq < newest)
        .order_by(r.seq)
        .limit(batch)
        .with_for_update(of=revocations, skip_locked=True)
    )
    return (await session.exec(delete(revocations).where(r.seq.in_(dead)))).rowcount


def _truncated(whole: ColumnElement[bytes]) -> ColumnElement[bytes]:
    return func.substring(
        whole, literal_column("1", Integer), literal_column(str(DIGEST_BYTES), Integer)
    )
