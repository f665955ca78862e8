"""Register an account."""

from __future__ import annotations

from collections.abc import Container
from datetime import datetime

from authsvc.flows.login import Attempt
from authsvc.keys.passwords import PasswordHasher
from authsvc.protocol.audit import AuditEvent
from authsvc.protocol.errors import EmailTaken, TooManyAttempts
from authsvc.protocol.password_policy import check_password
from authsvc.protocol.throttle import REGISTRATION_WINDOW
from authsvc.store import audit, throttle_counters, users
from authsvc.store.database import Database, uninterrupted
from authsvc.store.tables import User


async def register(
    db: Database,
    hasher: PasswordHasher,
    *,
    attempt: Attempt,
    blocked: Container[str],
    per_minute: int | None,
    database_now: datetime | None = None,
) -> User:
    """
    Create an account.

    Args:
        blocked: The commonest passwords.
        per_minute: Registrations that one network may make; None = unlimited.

    Raises:
        WeakPassword: The password is on the block list or holds the account's own words.
        ValidationFailed: The password is too short or too long.
        TooManyAttempts: The network registered too many accounts; nothing was hashed.
        EmailTaken: There is an account with this address.
        Overloaded: Nothing was tried.
    """
    check_password(attempt.password, email=attempt.email, blocked=blocked)
    if per_minute is not None:
        async with db.autocommit() as connection:
            count, wait = await throttle_counters.count_within(
                connection,
                throttle_counters.registration_key(attempt.network),
                window=REGISTRATION_WINDOW,
                now=database_now,
            )
        if count > per_minute:
            raise TooManyAttempts("registrations", retry_after=wait)
    password_hash = await hasher.hash(attempt.password)
    return await _create(db, attempt, password_hash, database_now)


@uninterrupted
async def _create(
    db: Database, attempt: Attempt, password_hash: str, database_now: datetime | None
) -> User:
    async with db.transaction() as session:
        user = await users.create(
            session, email=attempt.email, password_hash=password_hash, now=database_now
        )
        if user is None:
            raise EmailTaken
        await audit.record(
            session,
            AuditEvent.USER_REGISTERED,
            user_id=user.id,
            caller=attempt.caller,
            now=database_now,
        )
    return user
