"""
Rotation of a refresh token, a compare-and-set on its family's row (CONTRACT §5.3).

The `WHERE` of `rotate` restates `protocol.refresh.verdict() == ACTIVE`; a test walks every
combination of states and demands that the two agree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Interval,
    LargeBinary,
    Text,
    Uuid,
    and_,
    bindparam,
    case,
    cast,
    column,
    func,
    literal_column,
    select,
    true,
    update,
)
from sqlalchemy.types import TypeEngine

from authsvc.protocol.audit import AuditEvent, Caller
from authsvc.protocol.refresh import (
    EARLIER_DIGEST,
    GENERATIONS_WITH_A_KEY,
    Lifetimes,
    RefreshToken,
)
from authsvc.store.audit import audit_from, json_object, record_of_each
from authsvc.store.hot_statement import HotConnection, HotStatement, clock, constant
from authsvc.store.refresh_families import FAMILY_COLUMNS, Family, family_of, is_alive
from authsvc.store.tables import refresh_families, users

f, u = refresh_families.c, users.c
NO_TIME = literal_column("interval '0'", Interval)
# Where a version of a row lies; while its row is locked it stays there.
TUPLE: ColumnElement[Any] = literal_column("refresh_families.ctid")


@dataclass(frozen=True, slots=True)
class RotationRequest:
    """
    One request to rotate: token, digest of its Idempotency-Key, caller.

    Args:
        successor_key_id: The MAC key that the successor will be sealed with.
        digest: SHA-256 of the Idempotency-Key, or of a random value.
    """

    token: RefreshToken
    successor_key_id: bytes
    digest: bytes
    lifetimes: Lifetimes
    caller: Caller

    def binds(self) -> dict[str, object]:
        """What the statements ask of a request, by the names in `ASKED`."""
        by_cookie = self.token.delivery.by_cookie
        return {
            "family_id": self.token.family_id,
            "presented": self.token.generation,
            "window": self.lifetimes.retry_window if by_cookie else timedelta(0),
            "successor_key_id": self.successor_key_id,
            "digest": self.digest,
            "idle": self.lifetimes.idle,
            "short_idle": min(self.lifetimes.idle, self.lifetimes.short_idle),
            "caller_ip": self.caller.ip,
            "caller_agent": self.caller.user_agent,
        }


async def rotate(connection: HotConnection, request: RotationRequest) -> Family | None:
    """
    Advance the family by one generation if the token is its newest and nothing speaks against it.

    Returns:
        The family after the rotation; None if the token does not rotate (see `load`).
    """
    row = await _rotate().fetchrow(connection, **request.binds())
    return family_of(row) if row else None


async def rotate_together(
    connection: HotConnection, requests: Sequence[RotationRequest]
) -> dict[UUID, Family]:
    """
    Rotate several families in one statement that waits for no lock (SKIP LOCKED).

    Args:
        requests: Each of another family.

    Returns:
        The families that rotated, by their ids. One may be missing although its token would
        rotate, when another transaction holds its row: `rotate` waits for it.
    """
    asked = [request.binds() for request in requests]
    columns = {name: [_as_text(each[name]) for each in asked] for name in ASKED}
    rows = await _rotate_together().fetch(connection, **columns)
    return {row["id"]: family_of(row) for row in rows}


async def heal(connection: HotConnection, request: RotationRequest) -> Family | None:
    """
    Fast-forward a family that a failover threw back, and say so in the audit trail (rule 6).

    Returns:
        The family, one generation past the token; None if another request was quicker.
    """
    row = await _heal().fetchrow(
        connection, **request.binds(), request_id=request.caller.request_id
    )
    return family_of(row) if row else None


# What a rotation asks of its request: a bind each, or a column for each of several requests.
ASKED: Mapping[str, TypeEngine[Any]] = {
    "family_id": Uuid(),
    "presented": BigInteger(),
    "window": Interval(),
    "successor_key_id": LargeBinary(),
    "digest": LargeBinary(),
    "idle": Interval(),
    "short_idle": Interval(),
    "caller_ip": Text(),
    "caller_agent": Text(),
}
Asked = Mapping[str, ColumnElement[Any]]


def _one_request() -> Asked:
    return {name: bindparam(name, type_=kind) for name, kind in ASKED.items()}


def _as_text(value: object) -> str | None:
    """As PostgreSQL reads a value of one of the types in `ASKED`."""
    match value:
        case None:
            return None
        case bytes():
            return f"\\x{value.hex()}"
        case timedelta():
            return f"{value.total_seconds()} seconds"
        case _:
            return str(value)


def _may_refresh(asked: Asked, now: ColumnElement[datetime]) -> ColumnElement[bool]:
    """Rule 2, and the join to the family's user."""
    return and_(f.id == asked["family_id"], *is_alive(now), u.disabled_at.is_(None))


def _is_newest(asked: Asked, now: ColumnElement[datetime]) -> ColumnElement[bool]:
    """
    Rule 3: a cookie family rotates at most once per window.

    A clock that was set back counts as no time.
    """
    return and_(
        f.generation == asked["presented"],
        (f.generation == literal_column("0"))
        | (func.greatest(now - f.rotated_at, NO_TIME) >= asked["window"]),
    )


def _advance(asked: Asked, now: ColumnElement[datetime]) -> dict[str, object]:
    """What every rotation writes: no indexed column is among it."""
    idle = case((f.remember, asked["idle"]), else_=asked["short_idle"])
    return {
        "mac_key_id": asked["successor_key_id"],
        "rotated_at": now,
        "attempt_digest": asked["digest"],
        "previous_attempt_digest": _earlier_attempts(),
        "idle_expires_at": func.least(now + idle, f.absolute_expires_at),
        "last_ip": asked["caller_ip"],
        "last_user_agent": asked["caller_agent"],
    }


def _earlier_attempts() -> ColumnElement[bytes]:
    """The attempts that `FamilyState.earlier_attempts` has, once another one succeeds."""
    last = func.substr(f.attempt_digest, literal_column("1"), literal_column(f"{EARLIER_DIGEST}"))
    before = func.coalesce(f.previous_attempt_digest, literal_column("''::bytea"))
    kept: ColumnElement[int] = literal_column(f"{(GENERATIONS_WITH_A_KEY - 1) * EARLIER_DIGEST}")
    return func.substr(last.op("||")(before), literal_column("1"), kept)


@cache
def _rotate() -> HotStatement:
    now = clock().c.now
    asked = _one_request()
    return HotStatement(
        update(refresh_families)
        .values(generation=f.generation + literal_column("1"), **_advance(asked, now))
        .where(_may_refresh(asked, now), _is_newest(asked, now))
        .returning(*FAMILY_COLUMNS, u.roles, u.ver, now)
    )


@cache
def _rotate_together() -> HotStatement:
    now = clock().c.now
    # As text: asyncpg looks up every other kind of array in the catalogue, on each connection.
    texts = (
        func.unnest(*(bindparam(name, type_=ARRAY(Text)) for name in ASKED))
        .table_valued(*(column(name, Text) for name in ASKED))
        .render_derived(name="texts")
    )
    requests = select(*(cast(texts.c[name], kind).label(name) for name, kind in ASKED.items()))
    asked = dict(requests.subquery("asked").c)
    # Whoever waited for a row here would make all others wait, and could deadlock with them.
    # A lateral query is planned for one request, however many rows the tables have.
    locked = (
        select(TUPLE.label("tuple"), u.roles, u.ver, now)
        .where(_may_refresh(asked, now), _is_newest(asked, now))
        .with_for_update(key_share=True, of=refresh_families, skip_locked=True)
        .lateral("locked")
    )
    free = select(*asked.values(), *locked.c).join(locked, true()).cte("free")
    taken = {name: free.c[name] for name in ASKED}
    return HotStatement(
        update(refresh_families)
        .values(generation=f.generation + literal_column("1"), **_advance(taken, free.c.now))
        # A version that came after our snapshot is locked, but not found here.
        .where(TUPLE == free.c.tuple, f.id == free.c.family_id)
        .returning(*FAMILY_COLUMNS, free.c.roles, free.c.ver, free.c.now)
    )


@cache
def _heal() -> HotStatement:
    now = clock().c.now
    asked = _one_request()
    presented = asked["presented"]
    # The generation before the update, for the audit record.
    before = select(f.id, f.generation).where(f.id == asked["family_id"]).cte("before")
    healed = (
        update(refresh_families)
        .values(generation=presented + literal_column("1"), **_advance(asked, now))
        .where(_may_refresh(asked, now), f.generation < presented)
        .returning(*FAMILY_COLUMNS, u.roles, u.ver, now)
        .cte("healed")
    )
    details = json_object(generation=before.c.generation, presented_generation=presented)
    event = constant(AuditEvent.DATABASE_ROLLBACK_DETECTED)
    records = record_of_each(healed, event, details).where(before.c.id == healed.c.id)
    audited = audit_from(records).cte("audited")
    return HotStatement(select(*healed.c).add_cte(audited))
