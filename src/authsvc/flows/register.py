"""Register an account."""

from __future__ import annotations

from authsvc.flows.login import Attempt
from authsvc.flows.runtime import Runtime
from authsvc.protocol.audit import AuditEvent
from authsvc.protocol.errors import EmailTaken, TooManyAttempts
from authsvc.protocol.password_policy import check_password
from authsvc.store import audit, throttle_buckets, users
from authsvc.store.database import Database, uninterrupted
from authsvc.store.tables import User
from authsvc.store.throttle_buckets import Counted, bucket_key


async def register(
    runtime: Runtime,
    *,
    attempt: Attempt,
) -> User:
    """
    Create an account.

    Raises:
        WeakPassword: The password is on the block list or holds the account's own words.
        ValidationFailed: The password is too short or too long.
        TooManyAttempts: The network registered too many accounts; nothing was hashed.
        EmailTaken: There is an account with this address.
        Overloaded: Nothing was tried.
    """
    check_password(attempt.password, email=attempt.email, blocked=runtime.blocked_passwords)
    if runtime.limits is not None:
        async with runtime.db.autocommit() as connection:
            wait = await throttle_buckets.take(
                connection,
                bucket_key(Counted.REGISTRATIONS, attempt.network),
                runtime.limits.registrations,
            )
        if wait is not None:
            raise TooManyAttempts("registrations", retry_after=wait)
    password_hash = await runtime.hasher.hash(attempt.password)
    return await _create(runtime.db, attempt, password_hash)


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
