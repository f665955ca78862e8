"""Change one's own password; every other session ends."""

from __future__ import annotations

from dataclasses import replace

from authsvc.flows.login import TRIES, Attempt, verify_password
from authsvc.flows.runtime import Runtime
from authsvc.flows.session import pay_back
from authsvc.protocol.audit import AuditEvent, RevokeReason
from authsvc.protocol.errors import CurrentPasswordWrong, InvalidCredentials, Unauthenticated
from authsvc.protocol.password_policy import check_password
from authsvc.store import audit, sessions, users
from authsvc.store.database import Session, in_transaction
from authsvc.store.users import Account
from authsvc_client.tokens.secret import Secret


async def change_password(
    runtime: Runtime,
    *,
    account: Account,
    attempt: Attempt,
    new_password: Secret,
) -> None:
    """
    Verify the current password under the login's throttling rules and store the new one.

    Args:
        attempt: The account's address with the current password.

    Raises:
        CurrentPasswordWrong: The failure is counted and committed; nothing else changed.
        WeakPassword, ValidationFailed: The new password will not do; nothing was verified.
        Unauthenticated: The session ended meanwhile; nothing changed.
        TooManyAttempts, Overloaded, DatabaseUnavailable: As `login`.
    """
    blocked, loc = runtime.blocked_passwords, ("body", "new_password")
    check_password(new_password, email=account.email, blocked=blocked, loc=loc)
    for _ in range(TRIES):
        try:
            proof, admission = await verify_password(
                runtime, attempt=replace(attempt, email=account.email)
            )
        except InvalidCredentials as exc:
            raise CurrentPasswordWrong(exc.detail) from exc
        await pay_back(runtime.db, admission)
        new_hash = await runtime.hasher.hash(new_password, network=attempt.network)
        if await _store(runtime.db, account, attempt, proof.password_hash, new_hash):
            return
    raise CurrentPasswordWrong("changed_meanwhile")


@in_transaction
async def _store(
    session: Session,
    account: Account,
    attempt: Attempt,
    verified_hash: str,
    new_hash: str,
) -> bool:
    """Store it and end the other sessions; False if the hash is another one by now."""
    # The user's row first, the families in a later statement: a login in flight with the
    # old password is either refused or revoked.
    changed = await users.set_password(
        session,
        account.id,
        new_hash=new_hash,
        verified_hash=verified_hash,
    )
    if not changed:
        return False
    if not await sessions.stands(session, account.session_id):
        # It was ended while we were hashing: whoever ended it must have the last word.
        raise Unauthenticated("session_ended")
    await sessions.revoke_many(
        session,
        reason=RevokeReason.PASSWORD_CHANGED,
        caller=attempt.caller,
        user_id=account.id,
        keep=(account.session_id,),
    )
    await audit.record(
        session,
        AuditEvent.PASSWORD_CHANGED,
        user_id=account.id,
        caller=attempt.caller,
    )
    return True
