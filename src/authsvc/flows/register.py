"""Register an account."""

from __future__ import annotations

from collections.abc import Container

from authsvc.flows.login import Attempt
from authsvc.keys.passwords import PasswordHasher
from authsvc.protocol.audit import AuditEvent
from authsvc.protocol.errors import EmailTaken, TooManyAttempts
from authsvc.protocol.password_policy import check_password
from authsvc.protocol.throttle import Limits
from authsvc.store import audit, throttle_buckets, users
from authsvc.store.database import Database, uninterrupted
from authsvc.store.tables import User
from authsvc.store.throttle_buckets import Counted, bucket_key


async def register(
    db: Database,
    hasher: PasswordHasher,
    *,
    attempt: Attempt,
    blocked: Container[str],
    limits: Limits | None,
) -> User:
    """
    Create an account.

    Args:
        blocked: The commonest passwords.
        limits: None: not throttled, for load tests.

    Raises:
        WeakPassword: The password is on the block list or holds the account's own words.
        ValidationFailed: The password is too short or too long.
        TooManyAttempts: The network registered too many accounts; nothing was hashed.
        EmailTaken: There is an account with this address.
        Overloaded: Nothing was tried.
    """
    check_password(attempt.password, email=attempt.email, blocked=blocked)
    if limits is not None:
        async with db.autocommit() as connection:
            wait = await throttle_buckets.take(
                connection,
                bucket_key(Counted.REGISTRATIONS, attempt.network),
                limits.registrations,
            )
        if wait is not None:
            raise TooManyAttempts("registrations", retry_after=wait)
    password_hash = await hasher.hash(attempt.password)
    return await _create(db, attempt, password_hash)


@uninterrupted
async def _create(db: Database, attempt: Attempt, password_hash: str) -> User:
    async with db.transaction() as session:
        user = await users.create(session, email=attempt.email, password_hash=password_hash)
        if user is None:
            raise EmailTaken
        await audit.record(
            session,
            AuditEvent.USER_REGISTERED,
            user_id=user.id,
            caller=attempt.caller,
        )
    return user
