"""
The end of all sessions of a user, in a time that does not depend on their number (decision 0017).

A family lives while its epoch is its user's. So raising that number ends all of them, and what
their rows say is tidied behind: nothing asks for it but listings.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import delete, exists, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlmodel import select as model_select
from sqlmodel.ext.asyncio.session import AsyncSession

from authsvc.protocol.audit import AuditEvent, Caller, RevokeReason
from authsvc.store import audit, session_clock
from authsvc.store.pruning import delete_some
from authsvc.store.revocations import raise_ver
from authsvc.store.tables import (
    UnfinishedEnding,
    refresh_families,
    unfinished_endings,
    users,
)

# Rows that the transaction itself ends, each with its audit record and its entry in the feed.
# More than an account has by default, so that the rest is a rare case.
AT_ONCE = 200

f, u, e = refresh_families.c, users.c, unfinished_endings.c


async def raise_epoch(
    session: AsyncSession, user_id: UUID, *, keep: Sequence[UUID] = ()
) -> int | None:
    """
    End every family of a user but some; their rows are as they were.

    Args:
        keep: They move along, if they are of the epoch that ends.

    Returns:
        The new epoch; None if there is no such user.
    """
    raised = (
        update(users)
        .values(session_epoch=u.session_epoch + 1)
        .where(u.id == user_id)
        .returning(u.session_epoch)
    )
    epoch = (await session.exec(raised)).scalar_one_or_none()
    if epoch is not None and keep:
        await session.exec(
            update(refresh_families)
            .values(epoch=epoch)
            .where(
                f.id.in_(keep), f.user_id == user_id, f.epoch == epoch - 1, f.revoked_at.is_(None)
            )
        )
    return epoch


async def leave_rest(
    session: AsyncSession,
    user_id: UUID,
    *,
    epoch: int,
    reason: str,
    caller: Caller | None,
) -> None:
    """
    Announce and audit in one entry each that all families behind the epoch have ended.

    Tokens with the `ver` of before are stale, those of a family that lives on included: it gets
    another one by its next refresh.
    """
    await raise_ver(session, user_id)
    details = {"reason": reason, "below_epoch": epoch}
    await audit.record(
        session, AuditEvent.SESSION_REVOKED, user_id=user_id, caller=caller, details=details
    )
    await _remember(session, user_id, epoch=epoch, reason=reason, deleted=False)


async def forget_user(session: AsyncSession, user_id: UUID) -> None:
    """Delete the rows of a user who is gone: some now, the rest behind."""
    if await _delete_rows(session, user_id, AT_ONCE) == AT_ONCE:
        await _remember(session, user_id, epoch=0, reason=RevokeReason.USER_DELETED, deleted=True)


async def finish(session: AsyncSession, *, batch: int) -> int:
    """
    Make rows say what has been true for a while; at most `batch`. Returns how many.

    It takes what nobody else is busy with, and waits for no row that a request holds.
    """
    done = 0
    unfinished = model_select(UnfinishedEnding).limit(1).with_for_update(skip_locked=True)
    while done < batch:
        ending = (await session.exec(unfinished)).first()
        if ending is None:
            break
        wanted = batch - done
        if ending.deleted:
            found = await _delete_rows(session, ending.user_id, wanted)
        else:
            found = await _end_rows(session, ending, wanted)
        done += found
        if found == wanted:
            break
        left = f.user_id == ending.user_id
        if not ending.deleted:
            left &= (f.epoch < ending.epoch) & f.revoked_at.is_(None)
        if (await session.exec(model_select(exists().where(left)))).one():
            break  # somebody holds them: the next visit
        await session.exec(delete(unfinished_endings).where(e.user_id == ending.user_id))
        session.expunge(ending)
    return done


async def _remember(
    session: AsyncSession,
    user_id: UUID,
    *,
    epoch: int,
    reason: str,
    deleted: bool,
) -> None:
    values = {
        "epoch": epoch,
        "reason": reason,
        "ended_at": session_clock.now(session),
        "deleted": deleted,
    }
    await session.exec(
        upsert(unfinished_endings)
        .values(user_id=user_id, **values)
        .on_conflict_do_update(index_elements=["user_id"], set_=values)
    )


async def _end_rows(session: AsyncSession, ending: UnfinishedEnding, limit: int) -> int:
    behind = (
        select(f.id)
        .where(
            f.user_id == ending.user_id,
            f.epoch < ending.epoch,
            f.revoked_at.is_(None),
        )
        .order_by(f.epoch, f.created_at)  # of the index; else the planner may read all that is dead
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    ended = (
        update(refresh_families)
        .values(revoked_at=ending.ended_at, revoke_reason=ending.reason)
        .where(f.id.in_(behind))
    )
    return (await session.exec(ended)).rowcount


async def _delete_rows(session: AsyncSession, user_id: UUID, limit: int) -> int:
    return await delete_some(session, refresh_families, f.user_id == user_id, batch=limit)
