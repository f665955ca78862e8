"""Users and their sessions, made by the service's own statements, without HTTP and argon2."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

from authsvc.flows import administer_sessions
from authsvc.protocol.refresh import Delivery
from authsvc.store import logins, users
from authsvc.store.admission import Place
from authsvc.store.database import Database
from authsvc.store.logins import NewSession, PasswordVerified
from authsvc.store.refresh_families import Family
from authsvc.store.tables import User
from tests.conftest import CALLER, LIFETIMES

HASH = "old"  # of no password


async def add_user(db: Database, email: str = "alice@example.com") -> UUID:
    """An account whose password hash is `HASH`."""
    async with db.transaction() as session:
        user = await users.create(session, email=email, password_hash=HASH)
    assert user is not None
    return user.id


def login(
    user_id: UUID,
    *,
    max_sessions: int = 100_000,
    verified_hash: str = HASH,
    delivery: Delivery = Delivery.NATIVE,
    remember: bool = True,
    **changes: Any,
) -> dict[str, Any]:
    """
    The arguments of a login's second statement, for a password that was verified.

    Args:
        most: How many sessions the account may have.
    """
    return {
        "new": NewSession(PasswordVerified(user_id, verified_hash), delivery, remember=remember),
        "mac_key_id": b"k" * 8,
        "lifetimes": replace(LIFETIMES, max_sessions=max_sessions),
        "place": Place("a@example.com", "203.0.113.7/32", None),
        "caller": CALLER,
        **changes,
    }


async def try_log_in(db: Database, user_id: UUID, **changes: Any) -> Family | None:
    """A session, unless the account has changed since its password was verified."""
    async with db.autocommit() as connection:
        return await logins.create_family(connection, **login(user_id, **changes))


async def log_in(db: Database, user_id: UUID, **changes: Any) -> Family:
    """A session."""
    family = await try_log_in(db, user_id, **changes)
    assert family is not None
    return family


async def log_in_as_read(db: Database, user: User) -> UUID | None:
    """A session of an account, if that still is what it was when it was read."""
    family = await try_log_in(db, user.id, verified_hash=user.password_hash)
    return None if family is None else family.id


async def live_sessions(db: Database) -> set[UUID]:
    """Of all users."""
    page = await administer_sessions.list_all_sessions(db, limit=1000)
    return {family.id for family, _ in page}
