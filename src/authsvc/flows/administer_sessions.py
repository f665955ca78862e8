"""List and revoke the sessions of any user, as an administrator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from uuid import UUID

from authsvc.protocol.audit import Caller, RevokeReason
from authsvc.protocol.errors import ValidationFailed
from authsvc.store import sessions
from authsvc.store.database import Database, Session, in_transaction
from authsvc.store.rows import existing
from authsvc.store.tables import RefreshFamily, User

BATCH = 1000  # families a transaction: well within the statement timeout of 2 s
MAX_REASON = 200  # characters; it stands in every row that it ended


async def list_all_sessions(
    db: Database,
    *,
    limit: int,
    user_id: UUID | None = None,
    after: UUID | None = None,
) -> Sequence[tuple[RefreshFamily, str]]:
    """
    A page of live sessions with their users' addresses, the newest login first.

    Args:
        user_id: Only this user's.
        after: The last session seen.

    Raises:
        NotFound: There is no session `after` (any more).
    """
    async with db.transaction() as session:
        seen = await existing(session, RefreshFamily, after, name="session") if after else None
        return await sessions.list_page(session, limit=limit, user_id=user_id, after=seen)


async def count_sessions(db: Database, user_id: UUID) -> int:
    """How many live sessions a user has."""
    async with db.transaction() as session:
        return await sessions.count_live(session, user_id)


@in_transaction
async def revoke_session(
    session: Session,
    session_id: UUID,
    *,
    reason: str = RevokeReason.ADMINISTRATOR,
    caller: Caller | None = None,
) -> bool:
    """
    End one session; returns whether it was alive.

    Raises:
        NotFound: There is no such session.
        ValidationFailed: The reason.
    """
    check_reason(reason)
    if await sessions.revoke_one(session, session_id, reason=reason, caller=caller):
        return True
    await existing(session, RefreshFamily, session_id, name="session")
    return False


@in_transaction
async def revoke_user_sessions(
    session: Session,
    user_id: UUID,
    *,
    reason: str = RevokeReason.ADMINISTRATOR,
    caller: Caller | None = None,
) -> int:
    """
    End every session of a user; returns how many ended.

    Raises:
        NotFound: There is no such user.
        ValidationFailed: The reason.
    """
    check_reason(reason)
    await existing(session, User, user_id, name="user", lock=True)
    return await sessions.revoke_many(session, reason=reason, caller=caller, user_id=user_id)


async def revoke_everybody(
    db: Database,
    *,
    reason: str = RevokeReason.ADMINISTRATOR,
    caller: Caller | None = None,
    on_progress: Callable[[int], None] = lambda _: None,
) -> int:
    """
    End every session there is, in batches that each commit; returns how many ended.

    A session that begins meanwhile may stay: its login was not affected by what made this
    necessary. When it fails in between, what has ended has ended; call it again.

    Args:
        on_progress: Called after each batch with how many have ended so far.

    Raises:
        ValidationFailed: The reason.
    """
    check_reason(reason)
    revoke_next = in_transaction(sessions.revoke_next)
    ended, after = await revoke_next(db, batch=BATCH, after=None, reason=reason, caller=caller)
    while after is not None:
        on_progress(ended)
        more, after = await revoke_next(db, batch=BATCH, after=after, reason=reason, caller=caller)
        ended += more
    return ended


def check_reason(reason: str) -> None:
    """
    Refuse a reason that is empty, long, or would garble a log line.

    Raises:
        ValidationFailed: It is.
    """
    if not reason.strip() or len(reason) > MAX_REASON or not reason.isprintable():
        msg = f"Use 1 to {MAX_REASON} printable characters."
        raise ValidationFailed.of("body", "reason", msg=msg, type="reason", detail="reason")
