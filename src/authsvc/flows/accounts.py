"""
What an administrator does to accounts, one transaction each, all of it audited.

Whatever must leave no session behind writes the user's row first and ends the sessions in a
later statement, so that a login in flight is either refused or ended as well.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from uuid import UUID

from authsvc.flows.register import store_account
from authsvc.keys.passwords import PasswordHasher
from authsvc.protocol.audit import AuditEvent, Caller, RevokeReason
from authsvc.protocol.email_address import normal_form
from authsvc.protocol.errors import NotFound
from authsvc.protocol.password_policy import check_password
from authsvc.protocol.roles import check_roles
from authsvc.store import audit, endings, sessions, users
from authsvc.store.database import Database, Session, in_transaction
from authsvc.store.rows import existing
from authsvc.store.tables import User
from authsvc_client.tokens.secret import Secret


@dataclass(frozen=True, slots=True)
class Changed:
    """
    What a change of an account came to.

    Args:
        changed: False if it was so already.
        ended: How many sessions it ended; `endings.AT_ONCE` means so many or more.
    """

    changed: bool
    ended: int = 0


async def find_account(db: Database, identifier: str) -> User:
    """
    The account of an id or an e-mail address, in any of its spellings.

    Raises:
        NotFound: There is none.
        ValidationFailed: It is neither an id nor an address.
    """
    user_id = _uuid(identifier)
    email = None if user_id else normal_form(identifier)
    async with db.transaction() as session:
        if user_id is not None:
            return await existing(session, User, user_id, name="user")
        user = await users.find_by_email(session, email or "")
    if user is None:
        raise NotFound("user")
    return user


async def list_accounts(db: Database, *, limit: int, after: str = "") -> Sequence[User]:
    """A page of accounts in the order of their addresses; `after` is the last one seen."""
    async with db.transaction() as session:
        return await users.list_all(session, limit=limit, after=after)


async def create_account(
    db: Database,
    hasher: PasswordHasher,
    *,
    email: str,
    password: Secret,
    blocked: Container[str],
    roles: Sequence[str] = (),
    caller: Caller | None = None,
) -> User:
    """
    Create an account as an administrator, whether or not registration is open.

    Args:
        email: In any spelling.
        blocked: The commonest passwords.
        caller: None for the command line.

    Raises:
        ValidationFailed, WeakPassword: The address, a role or the password will not do.
        EmailTaken: There is an account with this address.
    """
    address = normal_form(email)
    check_roles(roles)
    check_password(password, email=address, blocked=blocked)
    return await store_account(
        db,
        AuditEvent.USER_CREATED,
        email=address,
        password_hash=await hasher.hash(password),
        roles=roles,
        caller=caller,
        details={"roles": sorted(set(roles))},
    )


@in_transaction
async def disable_account(
    session: Session,
    user_id: UUID,
    *,
    caller: Caller | None = None,
) -> Changed:
    """
    End every session of an account and let none begin until it is enabled again.

    Raises:
        NotFound: There is no such account.
    """
    changed = await users.set_disabled(session, user_id, disabled=True)
    if not changed:
        await existing(session, User, user_id, name="user")
    ended = await sessions.revoke_many(
        session, reason=RevokeReason.USER_DISABLED, caller=caller, user_id=user_id
    )
    if changed:
        await audit.record(session, AuditEvent.USER_DISABLED, user_id=user_id, caller=caller)
    return Changed(changed, ended)


@in_transaction
async def enable_account(
    session: Session,
    user_id: UUID,
    *,
    caller: Caller | None = None,
) -> Changed:
    """
    Let a disabled account log in again; its old sessions stay dead.

    Raises:
        NotFound: There is no such account.
    """
    changed = await users.set_disabled(session, user_id, disabled=False)
    if not changed:
        await existing(session, User, user_id, name="user")
    else:
        await audit.record(session, AuditEvent.USER_ENABLED, user_id=user_id, caller=caller)
    return Changed(changed)


@in_transaction
async def delete_account(
    session: Session,
    user_id: UUID,
    *,
    caller: Caller | None = None,
) -> Changed:
    """
    Delete an account with its sessions; what the audit trail says of its id stays.

    Raises:
        NotFound: There is no such account.
    """
    await existing(session, User, user_id, name="user", lock=True)
    ended = await sessions.revoke_many(
        session, reason=RevokeReason.USER_DELETED, caller=caller, user_id=user_id
    )
    await users.remove(session, user_id)
    await endings.forget_user(session, user_id)
    await audit.record(session, AuditEvent.USER_DELETED, user_id=user_id, caller=caller)
    return Changed(changed=True, ended=ended)


@in_transaction
async def set_account_roles(
    session: Session,
    user_id: UUID,
    roles: Sequence[str],
    *,
    caller: Caller | None = None,
) -> Changed:
    """
    Replace the roles of an account; access tokens carry them from the next refresh on.

    Verifiers that follow the revocation feed ask for that refresh at once.

    Raises:
        NotFound: There is no such account.
        ValidationFailed: A name is not one of a role.
    """
    check_roles(roles)
    wanted = sorted(set(roles))
    before = (await existing(session, User, user_id, name="user", lock=True)).roles
    if before == wanted:
        return Changed(changed=False)
    await users.set_roles(session, user_id, wanted)
    await audit.record(
        session,
        AuditEvent.ROLES_CHANGED,
        user_id=user_id,
        caller=caller,
        details={"before": before, "after": wanted},
    )
    return Changed(changed=True)


async def set_account_password(
    db: Database,
    hasher: PasswordHasher,
    user: User,
    *,
    password: Secret,
    blocked: Container[str],
    caller: Caller | None = None,
) -> Changed:
    """
    Give an account another password and end every session of it.

    Raises:
        ValidationFailed, WeakPassword: The password will not do.
        NotFound: The account is gone.
    """
    check_password(password, email=user.email, blocked=blocked)
    new_hash = await hasher.hash(password)
    return await _store_password(db, user.id, new_hash, caller)


@in_transaction
async def _store_password(
    session: Session,
    user_id: UUID,
    new_hash: str,
    caller: Caller | None,
) -> Changed:
    if not await users.set_password(session, user_id, new_hash=new_hash):
        raise NotFound("user")
    ended = await sessions.revoke_many(
        session, reason=RevokeReason.PASSWORD_CHANGED, caller=caller, user_id=user_id
    )
    await audit.record(session, AuditEvent.PASSWORD_CHANGED, user_id=user_id, caller=caller)
    return Changed(changed=True, ended=ended)


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
