"""Entries as the database has them."""

from __future__ import annotations

from uuid import UUID

from sqlmodel import col, select

from authsvc.store.database import Database
from authsvc.store.tables import RefreshFamily, Revocation
from authsvc_client.tokens.revocations import Kind, digest


async def entries(db: Database) -> list[tuple[str, bytes | None, int | None]]:
    """Kind, digest and least version of each, in the order of their numbers."""
    async with db.transaction() as session:
        found = await session.exec(select(Revocation).order_by(col(Revocation.seq)))
        return [(entry.kind, entry.digest, entry.least_ver) for entry in found]


async def announced_sessions(db: Database) -> list[bytes]:
    """The digests of all `sid` entries, sorted."""
    return sorted(found or b"" for kind, found, _ in await entries(db) if kind == Kind.SID)


async def revoked_sessions(db: Database) -> list[bytes]:
    """What `announced_sessions` must be: of every family that has ended."""
    async with db.transaction() as session:
        statement = select(RefreshFamily.id).where(col(RefreshFamily.revoked_at).is_not(None))
        return sorted(map(digest_of, (await session.exec(statement)).all()))


def digest_of(family_id: UUID) -> bytes:
    return digest(str(family_id))
