"""A user's own sessions: list them, end one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from authsvc.protocol.audit import Caller, RevokeReason
from authsvc.protocol.errors import NotFound, ValidationFailed
from authsvc.store import refresh_families, sessions
from authsvc.store.database import Database
from authsvc.store.tables import RefreshFamily
from authsvc.store.users import Account
from authsvc_client.tokens import base64url

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
MOMENT_BYTES = 8


async def list_sessions(
    db: Database,
    *,
    account: Account,
    cursor: str | None = None,
) -> tuple[Sequence[RefreshFamily], str | None]:
    """
    A page of the live sessions, the one used last first, and the cursor of the next page.

    Raises:
        ValidationFailed: The cursor is none of ours.
    """
    after = None if cursor is None else _seen(cursor)
    async with db.transaction() as session:
        found = await sessions.list_live(session, account.id, limit=sessions.PAGE + 1, after=after)
    page = found[: sessions.PAGE]
    return page, _cursor(page[-1]) if len(found) > len(page) else None


def _cursor(last: RefreshFamily) -> str:
    """The cursor of a page: its last session. A forged one lists own sessions, too."""
    micros = (last.rotated_at - EPOCH) // MICROSECOND
    return base64url.encode(micros.to_bytes(MOMENT_BYTES) + last.id.bytes)


def _seen(cursor: str) -> tuple[datetime, UUID]:
    try:
        found = base64url.decode(cursor)
        moment = EPOCH + int.from_bytes(found[:MOMENT_BYTES]) * MICROSECOND
        return moment, UUID(bytes=found[MOMENT_BYTES:])
    except (ValueError, OverflowError):
        raise ValidationFailed.of(
            "query", "cursor", msg="Use `next` of the page before.", type="cursor", detail="cursor"
        ) from None


async def end_session(
    db: Database,
    *,
    account: Account,
    session_id: UUID,
    caller: Caller,
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
        )
    if not ended:
        raise NotFound("session")
