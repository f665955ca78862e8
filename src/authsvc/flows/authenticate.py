"""Authenticate a request by its access token: the signature first, then the session's state."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from authsvc.keys.issuer import Issuer
from authsvc.protocol.errors import Unauthenticated
from authsvc.store import users
from authsvc.store.database import Database
from authsvc.store.users import Account


async def authenticate(
    db: Database,
    issuer: Issuer,
    *,
    access_token: str,
    now: datetime,
) -> Account:
    """
    The account behind a valid access token of a session that is alive; one round trip.

    Raises:
        Unauthenticated: Not valid, or the session, the user or the user's standing has ended.
        DatabaseUnavailable: That cannot be known now.
    """
    claims = issuer.verify(access_token, now=now)
    try:
        user_id = UUID(claims.sub)
    except ValueError:
        raise Unauthenticated("sub is not a user") from None
    if claims.sid is None:
        raise Unauthenticated("no session")
    async with db.autocommit() as connection:
        account = await users.find_by_session(connection, user_id=user_id, session_id=claims.sid)
    if account is None:
        raise Unauthenticated("session_ended")
    return account
