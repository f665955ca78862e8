"""A user's own sessions: list them, end one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from authsvc.protocol.audit import Caller, RevokeReason
from authsvc.protocol.errors import NotFound
from authsvc.store import refresh_families, sessions
from authsvc.store.database import Database
from authsvc.store.tables import RefreshFamily
from authsvc.store.users import Account


async def list_sessions(
    db: Database, *, account: Account, database_now: datetime | None = None
) -> Sequence[RefreshFamily]:
    """The live sessions, the one used last first."""
    async with db.transaction() as session:
        return await sessions.list_live(session, account.id, now=database_now)


async def end_session(
    db: Database,
    *,
    account: Account,
    session_id: UUID,
    caller: Caller,
    database_now: datetime | None = None,
) -> None:
    """
    End one of the account's own sessions.

    Raises:
        NotFound: There is no such live session, or it is somebody else's.
    """
    async with db.autocommit() as connection:
        ended = await refresh_families.revoke_family(
            connection,
            session_id,
            reason=RevokeReason.SESSION_ENDED,
            caller=caller,
            user_id=account.id,
            now=database_now,
        )
    if not ended:
        raise NotFound("session")
