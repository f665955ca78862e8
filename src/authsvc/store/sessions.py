"""The sessions of a user, seen from outside: list them, end many at once, prune the dead."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

from sqlalchemy import (
    CTE,
    ColumnElement,
    Text,
    bindparam,
    func,
    literal,
    select,
    tuple_,
)
from sqlmodel import col
from sqlmodel import select as model_select
from sqlmodel.ext.asyncio.session import AsyncSession

from authsvc.protocol.audit import AuditEvent, Caller
from authsvc.store import endings, session_clock
from authsvc.store.audit import audit_from, columns_of, json_object, record_of_each
from authsvc.store.hot_statement import constant
from authsvc.store.pruning import delete_some
from authsvc.store.refresh_families import ended, is_alive, of_epoch
from authsvc.store.revocations import (
    everybody_announced,
    few_announced,
    sessions_announced,
)
from authsvc.store.tables import (
    RefreshFamily,
    User,
    audit_records,
    refresh_families,
)

# A family's memory of reuse is kept until no token of it can come back, and a day longer.
PRUNE_AFTER = timedelta(days=1)
PAGE = 100  # sessions that an account sees at a time


async def list_live(
    session: AsyncSession,
    user_id: UUID,
    *,
    limit: int = PAGE,
    after: tuple[datetime, UUID] | None = None,
) -> Sequence[RefreshFamily]:
    """
    A page of the user's live families, the one used last first.

    Args:
        after: When the last one seen was used, and its id.
    """
    used, id_ = col(RefreshFamily.rotated_at), col(RefreshFamily.id)
    statement = (
        model_select(RefreshFamily)
        .where(RefreshFamily.user_id == user_id, *is_alive(session_clock.now(session)))
        .order_by(used.desc(), id_)
        .limit(limit)
    )
    if after is not None:
        statement = statement.where((used < after[0]) | ((used == after[0]) & (id_ > after[1])))
    return (await session.exec(statement)).all()


async def count_live(session: AsyncSession, user_id: UUID) -> int:
    """How many live families the user has."""
    statement = (
        model_select(func.count())
        .select_from(RefreshFamily)
        .where(RefreshFamily.user_id == user_id, *is_alive(session_clock.now(session)))
    )
    return (await session.exec(statement)).one()


async def revoke_many(
    session: AsyncSession,
    *,
    reason: str,
    caller: Caller | None,
    user_id: UUID,
    keep: Sequence[UUID] = (),
) -> int:
    """
    End every live family of a user; announce and audit each, or all beyond the first together.

    It writes the user's row first, and looks for families in later statements, so that it sees the
    family of a login that was in flight.

    Args:
        reason: A `RevokeReason`, or an administrator's own words.
        caller: None for the command line.
        keep: Families that live on.

    Returns:
        How many ended; `endings.AT_ONCE` means so many or more.
    """
    f = refresh_families.c
    epoch = await endings.raise_epoch(session, user_id, keep=keep)
    if epoch is None:
        return 0
    behind = (
        select(f.id)
        .where(f.user_id == user_id, f.epoch == epoch - 1, f.revoked_at.is_(None))
        .order_by(f.created_at)  # of the index; else the planner may read all that is dead
        .limit(endings.AT_ONCE)
    )
    ended = await _revoke(
        session,
        f.id.in_(behind),
        reason=reason,
        caller=caller,
        announced=partial(few_announced, fewer_than=endings.AT_ONCE),
    )
    if ended == endings.AT_ONCE:
        await endings.leave_rest(session, user_id, epoch=epoch, reason=reason, caller=caller)
    return ended


async def stands(session: AsyncSession, family_id: UUID) -> bool:
    """Whether neither a family nor its user has been ended."""
    f = refresh_families.c
    standing = model_select(f.id).where(f.id == family_id, f.revoked_at.is_(None), of_epoch())
    return (await session.exec(standing)).one_or_none() is not None


async def prune_families(session: AsyncSession, *, batch: int) -> int:
    """Delete families that are past their absolute expiry by a day; at most `batch`."""
    dead = refresh_families.c.absolute_expires_at < session_clock.once(session) - PRUNE_AFTER
    return await delete_some(session, refresh_families, dead, batch=batch)


async def prune_audit(session: AsyncSession, *, batch: int, older_than: timedelta) -> int:
    """Delete audit records past their retention; at most `batch`."""
    dead = audit_records.c.at < session_clock.once(session) - older_than
    return await delete_some(session, audit_records, dead, batch=batch)


async def list_page(
    session: AsyncSession,
    *,
    limit: int,
    user_id: UUID | None = None,
    after: RefreshFamily | None = None,
) -> Sequence[tuple[RefreshFamily, str]]:
    """
    A page of live families (of one user) with their users' addresses, the newest login first.

    Args:
        after: The last one seen.
    """
    # Nearly the order of the logins, and of all such orders the one that has an index.
    end, id_ = col(RefreshFamily.absolute_expires_at), col(RefreshFamily.id)
    statement = (
        model_select(RefreshFamily, User.email)
        .where(*is_alive(session_clock.now(session)))
        .order_by(end.desc(), id_.desc())
        .limit(limit)
    )
    if user_id is not None:
        statement = statement.where(RefreshFamily.user_id == user_id)
    if after is not None:
        seen = tuple_(literal(after.absolute_expires_at), literal(after.id))
        statement = statement.where(tuple_(end, id_) < seen)
    return (await session.exec(statement)).all()


async def revoke_one(
    session: AsyncSession,
    family_id: UUID,
    *,
    reason: str,
    caller: Caller | None,
) -> bool:
    """End a family of any user; returns whether it was alive."""
    condition = (refresh_families.c.id == family_id) & of_epoch()
    return bool(await _revoke(session, condition, reason=reason, caller=caller))


async def revoke_next(
    session: AsyncSession,
    *,
    batch: int,
    after: UUID | None,
    reason: str,
    caller: Caller | None,
) -> tuple[int, UUID | None]:
    """
    End the next families of all users, in the order of their ids; at most `batch`.

    One statement for all would run into its timeout where there are many. What is announced is
    a moment: tokens that were issued before it are refused, whosever they are.

    Args:
        after: Where the last batch ended.

    Returns:
        How many ended, and where this batch ends; None = it was the last.
    """
    f = refresh_families.c
    following = (
        model_select(RefreshFamily.id)
        .where(col(RefreshFamily.revoked_at).is_(None))
        .order_by(col(RefreshFamily.id))
        .limit(batch)
    )
    if after is not None:
        following = following.where(RefreshFamily.id > after)
    ids = (await session.exec(following)).all()
    if not ids:
        return 0, None
    ended = await _revoke(
        session,
        f.id.in_(ids),
        reason=reason,
        caller=caller,
        announced=everybody_announced,
    )
    return ended, ids[-1]


async def _revoke(
    session: AsyncSession,
    condition: ColumnElement[bool],
    *,
    reason: str,
    caller: Caller | None,
    announced: Callable[[CTE], CTE] = sessions_announced,
) -> int:
    """End every live family for which the condition holds, announce and audit each; how many."""
    said = bindparam("reason", reason, type_=Text)
    revoked = ended(condition, now=session_clock.now(session), reason=said)
    details = json_object(
        reason=said,
        generation=revoked.c.generation,
        last_ip=revoked.c.last_ip,
        last_user_agent=revoked.c.last_user_agent,
    )
    by = [literal(value, Text) for value in columns_of(caller).values()]
    records = record_of_each(revoked, constant(AuditEvent.SESSION_REVOKED), details, caller=by)
    return (await session.exec(audit_from(records).add_cte(announced(revoked)))).rowcount
