"""Register an account."""

from __future__ import annotations

from collections.abc import Sequence

from authsvc.flows.login import Attempt
from authsvc.flows.runtime import Runtime
from authsvc.protocol.audit import AuditEvent, Caller
from authsvc.protocol.errors import EmailTaken
from authsvc.protocol.password_policy import check_password
from authsvc.store import audit, throttle_buckets, users
from authsvc.store.database import Session, in_transaction
from authsvc.store.tables import KnownNetwork, User
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
        key = bucket_key(Counted.REGISTRATIONS, attempt.network)
        async with runtime.db.autocommit() as connection:
            await throttle_buckets.take(
                connection, key, runtime.limits.registrations, refusal="registrations"
            )
    return await store_account(
        runtime.db,
        AuditEvent.USER_REGISTERED,
        email=attempt.email,
        password_hash=await runtime.hasher.hash(attempt.password, network=attempt.network),
        network=attempt.network,
        caller=attempt.caller,
    )


@in_transaction
async def store_account(
    session: Session,
    event: AuditEvent,
    *,
    email: str,
    password_hash: str,
    roles: Sequence[str] = (),
    network: str | None = None,
    caller: Caller | None,
    details: dict[str, object] | None = None,
) -> User:
    """
    Add an account and audit it, in one transaction.

    Args:
        network: Known from now on (CONTRACT §6a.1), or strangers could keep its owner from the
            first login; None for an account that was made for somebody.

    Raises:
        EmailTaken: There is an account with this address.
    """
    user = await users.create(session, email=email, password_hash=password_hash, roles=roles)
    if user is None:
        raise EmailTaken
    if network is not None:
        key = bucket_key(Counted.NETWORK, network)
        session.add(KnownNetwork(user_id=user.id, network=key, signed_in_at=user.created_at))
    await audit.record(session, event, user_id=user.id, caller=caller, details=details)
    return user
