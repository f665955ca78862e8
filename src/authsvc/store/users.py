"""Users: their row, and the session check that every authenticated request makes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from uuid import UUID, uuid4

from sqlalchemy import Text, Uuid, bindparam, select
from sqlalchemy import update as sql_update
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, delete, update
from sqlmodel import select as model_select
from sqlmodel.ext.asyncio.session import AsyncSession

from authsvc.store import session_clock
from authsvc.store.hot_statement import HotConnection, HotStatement, clock, read
from authsvc.store.refresh_families import is_alive
from authsvc.store.revocations import raise_ver
from authsvc.store.tables import User, refresh_families, users


@dataclass(frozen=True, slots=True)
class Account:
    """The user behind a live session."""

    id: UUID
    email: str
    roles: tuple[str, ...]
    created_at: datetime
    password_hash: str
    session_id: UUID
    session_created_at: datetime


async def find_by_session(
    connection: HotConnection, *, user_id: UUID, session_id: UUID
) -> Account | None:
    """The account, if this session of it is alive and it is not disabled; one round trip."""
    row = await _find_by_session().fetchrow(connection, user=user_id, session=session_id)
    if row is None:
        return None
    return read(Account, row, roles=tuple(row["roles"]), session_id=session_id)


async def replace_hash(
    connection: HotConnection, user_id: UUID, *, verified_hash: str, new_hash: str
) -> bool:
    """
    Store the same password under newer parameters, unless the password changed meanwhile.

    Returns:
        Whether it was stored.
    """
    row = await _replace_hash().fetchrow(
        connection, user=user_id, verified_hash=verified_hash, new_hash=new_hash
    )
    return row is not None


async def create(
    session: AsyncSession,
    *,
    email: str,
    password_hash: str,
    roles: Sequence[str] = (),
) -> User | None:
    """
    Add a user.

    Args:
        email: In its normal form.

    Returns:
        The user; None if the address is taken.
    """
    values: dict[str, object] = {
        "email": email,
        "password_hash": password_hash,
        "roles": sorted(set(roles)),
    }
    if (now := session_clock.moved(session)) is not None:
        values |= {"created_at": now, "password_changed_at": now}
    statement = (
        insert(User).values(**values).on_conflict_do_nothing(index_elements=["email"])
    ).returning(User)
    return (await session.exec(statement)).scalar_one_or_none()


async def find_by_email(session: AsyncSession, email: str) -> User | None:
    """The user with this address, in its normal form."""
    return (await session.exec(model_select(User).where(User.email == email))).one_or_none()


async def list_all(session: AsyncSession, *, limit: int, after: str = "") -> Sequence[User]:
    """A page of users in the order of their addresses; `after` is the last one seen."""
    statement = model_select(User).where(User.email > after).order_by(col(User.email)).limit(limit)
    return (await session.exec(statement)).all()


async def set_password(
    session: AsyncSession,
    user_id: UUID,
    *,
    new_hash: str,
    verified_hash: str | None = None,
) -> bool:
    """
    Change a password.

    Args:
        verified_hash: The hash the current password was verified against; None for an
            administrator, who need not know it.

    Returns:
        Whether it was changed; False if the user is gone or another change was quicker.
    """
    statement = (
        update(User)
        .where(col(User.id) == user_id)
        .values(password_hash=new_hash, password_changed_at=session_clock.now(session))
    )
    if verified_hash is not None:
        statement = statement.where(col(User.password_hash) == verified_hash)
    return bool((await session.exec(statement)).rowcount)


async def set_disabled(session: AsyncSession, user_id: UUID, *, disabled: bool) -> bool:
    """Disable or enable; returns whether that changed anything."""
    statement = (
        update(User)
        .where(col(User.id) == user_id, col(User.disabled_at).is_(None) == disabled)
        .values(disabled_at=session_clock.now(session) if disabled else None)
    )
    return bool((await session.exec(statement)).rowcount)


async def set_roles(session: AsyncSession, user_id: UUID, roles: Sequence[str]) -> None:
    """Replace the roles, and announce that tokens with the old ones are stale."""
    await raise_ver(session, user_id, roles=sorted(set(roles)))


async def remove(session: AsyncSession, user_id: UUID) -> None:
    """Delete the user, and so what its sessions live by; the audit trail stays."""
    await session.exec(delete(User).where(col(User.id) == user_id))


@dataclass(frozen=True, slots=True)
class NewUser:
    """
    An account made elsewhere.

    Args:
        email: In its normal form.
        created_at: None = now.
    """

    email: str
    password_hash: str
    roles: tuple[str, ...] = ()
    created_at: datetime | None = None
    disabled: bool = False


async def create_many(session: AsyncSession, accounts: Sequence[NewUser]) -> dict[str, UUID]:
    """Add users with different addresses; returns the ids of those whose address was not taken."""
    moment = (await session.exec(model_select(session_clock.now(session)))).one()
    rows = [
        {
            "id": uuid4(),
            "email": account.email,
            "password_hash": account.password_hash,
            "roles": sorted(set(account.roles)),
            "created_at": account.created_at or moment,
            "password_changed_at": account.created_at or moment,
            "disabled_at": moment if account.disabled else None,
        }
        for account in accounts
    ]
    statement = (
        insert(users)
        .on_conflict_do_nothing(index_elements=["email"])
        .returning(users.c.id, users.c.email)
    )
    return {row.email: row.id for row in await session.exec(statement, params=rows)}


@cache
def _find_by_session() -> HotStatement:
    now = clock().c.now
    u, f = users.c, refresh_families.c
    return HotStatement(
        select(
            u.id,
            u.email,
            u.roles,
            u.created_at,
            u.password_hash,
            f.created_at.label("session_created_at"),
        ).where(
            f.id == bindparam("session", type_=Uuid),
            f.user_id == bindparam("user", type_=Uuid),
            *is_alive(now),
            u.disabled_at.is_(None),
        )
    )


@cache
def _replace_hash() -> HotStatement:
    return HotStatement(
        sql_update(users)
        .values(password_hash=bindparam("new_hash", type_=Text))
        .where(
            users.c.id == bindparam("user", type_=Uuid),
            users.c.password_hash == bindparam("verified_hash", type_=Text),
        )
        .returning(users.c.id)
    )
