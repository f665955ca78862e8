"""
Refresh families: how one is read, and how it ends; `rotation` has what rotates it.

One statement each.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from uuid import UUID

from sqlalchemy import CTE, ColumnElement, Text, Uuid, bindparam, cast, func, select, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.postgresql import insert as upsert

from authsvc.protocol.audit import AuditEvent, Caller, RevokeReason
from authsvc.protocol.grants import Grant
from authsvc.protocol.refresh import Delivery, FamilyState, RefreshToken
from authsvc.store.audit import (
    CALLER,
    COLUMNS,
    audit_from,
    caller_binds,
    json_object,
    record_of_each,
)
from authsvc.store.hot_statement import HotConnection, HotStatement, Row, clock, names, read
from authsvc.store.revocations import sessions_announced
from authsvc.store.tables import audit_records, refresh_families, users


@dataclass(frozen=True, slots=True)
class Family:
    """A live family as a statement left it; `now` is the database's clock in that statement."""

    id: UUID
    user_id: UUID
    client_id: str
    delivery: Delivery
    remember: bool
    generation: int
    mac_key_id: bytes
    created_at: datetime
    auth_time: datetime
    amr: tuple[str, ...]
    scope: str
    audience: str | None
    roles: tuple[str, ...]
    ver: int
    idle_expires_at: datetime
    absolute_expires_at: datetime
    now: datetime

    @property
    def grant(self) -> Grant:
        """What an access token of this family says."""
        return Grant(
            user_id=self.user_id,
            session_id=self.id,
            client_id=self.client_id,
            roles=self.roles,
            scope=self.scope,
            audience=self.audience,
            auth_time=self.auth_time,
            amr=self.amr,
            ver=self.ver,
        )

    @property
    def newest_token(self) -> RefreshToken:
        """The one refresh token that rotates."""
        return RefreshToken(
            mac_key_id=self.mac_key_id,
            family_id=self.id,
            generation=self.generation,
            delivery=self.delivery,
        )


async def load(connection: HotConnection, family_id: UUID) -> tuple[Family, FamilyState] | None:
    """The family as it stands, live or not."""
    row = await _load().fetchrow(connection, family_id=family_id)
    if row is None:
        return None
    return family_of(row), read(FamilyState, row)


async def revoke_family(
    connection: HotConnection,
    family_id: UUID,
    *,
    reason: RevokeReason,
    caller: Caller,
    user_id: UUID | None = None,
    presented_generation: int | None = None,
) -> bool:
    """
    End a family for good, announce it and audit it, with the addresses of both parties.

    Args:
        user_id: Given: only if the family is this user's.
        presented_generation: The generation of the token that was reused.

    Returns:
        Whether it was alive; False leaves the earlier reason as it stands.
    """
    reused = reason is RevokeReason.REUSE
    row = await _revoke().fetchrow(
        connection,
        family_id=family_id,
        owner=user_id,
        reason=reason,
        event=AuditEvent.REFRESH_TOKEN_REUSED if reused else AuditEvent.SESSION_REVOKED,
        **caller_binds(caller),
        details=json.dumps(
            {"reason": reason} | ({"presented_generation": presented_generation} if reused else {})
        ),
    )
    return row is not None


async def record_once(
    connection: HotConnection,
    event: AuditEvent,
    family: Family,
    token: RefreshToken,
    *,
    caller: Caller,
) -> bool:
    """
    Audit what came of a family, once in its life.

    Args:
        event: GENERATION_FAR_AHEAD, a token from further in the future than a failover explains,
            or REFRESH_TOKEN_ABANDONED: each has a partial unique index, so that of several
            requests at once, on whatever replicas, one is the first.

    Returns:
        Whether this was the first time.
    """
    row = await _record_once().fetchrow(
        connection,
        event=event,
        family_id=family.id,
        owner=family.user_id,
        **caller_binds(caller),
        details=json.dumps(
            {"generation": family.generation, "presented_generation": token.generation}
        ),
    )
    return row is not None


def of_epoch() -> ColumnElement[bool]:
    """Whether a family has not ended with all of its user's (decision 0017)."""
    current = select(u.session_epoch).where(u.id == f.user_id).correlate(refresh_families)
    return f.epoch == current.scalar_subquery()


def ended(
    *conditions: ColumnElement[bool],
    now: ColumnElement[datetime],
    reason: ColumnElement[str],
    name: str = "revoked",
) -> CTE:
    """The update that ends families which no other has ended, and what is told of each."""
    return (
        update(refresh_families)
        .values(revoked_at=now, revoke_reason=reason)
        .where(*conditions, f.revoked_at.is_(None))
        .returning(
            f.id,
            f.user_id,
            f.generation,
            f.rotated_at,
            f.idle_expires_at,
            f.revoked_at,
            f.last_ip,
            f.last_user_agent,
        )
        .cte(name)
    )


def is_alive(now: ColumnElement[datetime]) -> tuple[ColumnElement[bool], ...]:
    """Rule 2 of CONTRACT §5.3, with the join to the family's user, but for a disabled user."""
    return (
        f.revoked_at.is_(None),
        f.idle_expires_at > now,
        f.absolute_expires_at > now,
        u.id == f.user_id,
        u.session_epoch == f.epoch,
    )


def family_of(row: Row) -> Family:
    """A row of FAMILY_COLUMNS, the user's `roles` and `ver`, and `now`."""
    return read(
        Family,
        row,
        delivery=Delivery(row["delivery"]),
        amr=tuple(row["amr"]),
        roles=tuple(row["roles"]),
    )


f, u = refresh_families.c, users.c
FAMILY_COLUMNS = tuple(f[name] for name in names(Family) if name not in {"roles", "ver", "now"})


@cache
def _load() -> HotStatement:
    now = clock().c.now
    return HotStatement(
        select(
            *FAMILY_COLUMNS,
            f.rotated_at,
            f.attempt_digest,
            f.previous_attempt_digest.label("earlier_attempts"),
            f.revoked_at,
            f.epoch,
            u.session_epoch.label("user_epoch"),
            u.disabled_at.label("user_disabled_at"),
            u.roles,
            u.ver,
            now,
        ).where(f.id == bindparam("family_id", type_=Uuid), u.id == f.user_id)
    )


@cache
def _revoke() -> HotStatement:
    now = clock().c.now
    owner = bindparam("owner", type_=Uuid)
    revoked = ended(
        f.id == bindparam("family_id", type_=Uuid),
        f.user_id == func.coalesce(owner, f.user_id),
        of_epoch(),
        now=now,
        reason=bindparam("reason", type_=Text),
    )
    details = json_object(
        generation=revoked.c.generation,
        seconds_since_rotation=func.round(
            func.extract("epoch", revoked.c.revoked_at - revoked.c.rotated_at)
        ),
        last_ip=revoked.c.last_ip,
        last_user_agent=revoked.c.last_user_agent,
    ).op("||")(cast(bindparam("details", type_=Text), JSONB))
    return HotStatement(
        audit_from(record_of_each(revoked, bindparam("event", type_=Text), details))
        .returning(audit_records.c.family_id)
        .add_cte(sessions_announced(revoked))
    )


@cache
def _record_once() -> HotStatement:
    return HotStatement(
        upsert(audit_records)
        .from_select(
            COLUMNS,
            select(
                bindparam("event", type_=Text),
                bindparam("owner", type_=Uuid),
                bindparam("family_id", type_=Uuid),
                *CALLER,
                cast(bindparam("details", type_=Text), JSONB),
            ),
        )
        .on_conflict_do_nothing()
        .returning(audit_records.c.id)
    )
