"""
How a session begins, a login's second statement: the family, what is paid back, and what ends to
make room.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from uuid import UUID, uuid4

from sqlalchemy import (
    ARRAY,
    CTE,
    Boolean,
    ColumnElement,
    Integer,
    Interval,
    LargeBinary,
    Text,
    Uuid,
    bindparam,
    exists,
    func,
    literal_column,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import insert

from authsvc.protocol.audit import AuditEvent, Caller, RevokeReason
from authsvc.protocol.errors import TooManyAttempts
from authsvc.protocol.grants import FIRST_PARTY
from authsvc.protocol.refresh import Delivery, Lifetimes
from authsvc.protocol.throttle import Bucket
from authsvc.store.admission import (
    AT_ONCE,
    NO_TIME,
    Admission,
    Place,
    network_remembered,
    paid_back,
    pay_back_binds,
)
from authsvc.store.audit import CALLER, audit_from, caller_binds, json_object, record_of_each
from authsvc.store.hot_statement import TIMESTAMPTZ, HotConnection, HotStatement, clock, constant
from authsvc.store.refresh_families import FAMILY_COLUMNS, Family, ended, family_of
from authsvc.store.revocations import entries_coalesced, sessions_announced
from authsvc.store.tables import refresh_families, users
from authsvc.store.tables import throttle_buckets as buckets
from authsvc.store.throttle_buckets import Counted, bucket_key


@dataclass(frozen=True, slots=True)
class PasswordVerified:
    """
    A proof: the password was verified against this hash, which the account must still have.

    A proof is a condition on the user's row, since the account may change between what proved
    the user and the session that begins. Another kind is another class with these two methods.
    """

    user_id: UUID
    password_hash: str

    @staticmethod
    def condition() -> ColumnElement[bool]:
        """What must be true of the row."""
        return users.c.password_hash == bindparam("verified_hash", type_=Text)

    def binds(self) -> dict[str, object]:
        """What the condition compares with."""
        return {"verified_hash": self.password_hash}


Proof = PasswordVerified


@dataclass(frozen=True, slots=True)
class NewSession:
    """
    A session that is to begin, and what its tokens will say.

    Args:
        proof: Whose it is, and why.
        client_id: RFC 9068 `client_id`; `authsvc` for first-party logins.
        scope: RFC 6749 §3.3 scope tokens, space separated; empty = none.
        audience: The one `aud` of its access tokens; None: AUTHSVC_AUDIENCE.
        amr: The methods that proved the user (RFC 8176).
        auth_time: When they did; None is now, by the database's clock.
    """

    proof: Proof
    delivery: Delivery
    remember: bool
    client_id: str = FIRST_PARTY
    scope: str = ""
    audience: str | None = None
    amr: tuple[str, ...] = ()
    auth_time: datetime | None = None


async def create_family(
    connection: HotConnection,
    new: NewSession,
    *,
    mac_key_id: bytes,
    lifetimes: Lifetimes,
    place: Place,
    admission: Admission | None = None,
    logins: Bucket | None = None,
    caller: Caller,
) -> Family | None:
    """
    Begin a session, if its proof still holds and the account is not disabled; above the limit of
    an account, those that have been idle for longest end.

    The account is locked FOR SHARE and compared once more: whoever disables it or changes its
    password writes the user row first and revokes in a later statement, so a login in flight is
    either refused here or revoked there (SECURITY F14).

    Logins of one account are optimistic: one that was overtaken by another, whose family it
    cannot see, has changed nothing and is repeated.

    Args:
        mac_key_id: The key that generation 0 will be sealed with.
        place: Its network is known from now on.
        admission: What is paid back.
        logins: The successful logins of an account that are admitted; None: any.

    Returns:
        The family in generation 0; None if the account changed since the proof.

    Raises:
        TooManyAttempts: The account has logged in too often; nothing was changed.
    """
    values = {
        "user": new.proof.user_id,
        **new.proof.binds(),
        "new_id": uuid4(),
        "new_client_id": new.client_id,
        "new_delivery": new.delivery,
        "new_remember": new.remember,
        "new_auth_time": new.auth_time,
        "new_amr": new.amr,
        "new_scope": new.scope,
        "new_audience": new.audience,
        "new_mac_key_id": mac_key_id,
        "idle": lifetimes.idle if new.remember else min(lifetimes.idle, lifetimes.short_idle),
        "absolute": lifetimes.absolute,
        "network": bucket_key(Counted.NETWORK, place.network),
        **pay_back_binds(admission),
        "logins_key": bucket_key(Counted.LOGINS, place.email),
        "logins_leak": logins.leak if logins else NO_TIME,
        "logins_burst": logins.burst if logins else NO_TIME,
        "max_sessions": lifetimes.max_sessions,
        **caller_binds(caller),
    }
    while True:  # each time another login has succeeded, of which there are so many a minute
        row = await _create_family(new.proof.condition).fetchrow(connection, **values)
        if row is None:
            return None
        if row["id"] is not None:
            return family_of(row)
        if not row["had_room"]:
            wait = logins.leak if logins else AT_ONCE
            raise TooManyAttempts("too_many_logins", retry_after=wait)


@cache
def _create_family(proved: Callable[[], ColumnElement[bool]]) -> HotStatement:
    one_row = clock()
    now = one_row.c.now
    account = (
        select(users.c.id, users.c.roles, users.c.ver, users.c.session_epoch)
        .where(
            users.c.id == bindparam("user", type_=Uuid),
            proved(),
            users.c.disabled_at.is_(None),
        )
        .with_for_update(read=True, of=users)
        .cte("account")
    )
    seen = (
        select(buckets.c.empty_at)
        .where(buckets.c.key == bindparam("logins_key", type_=LargeBinary))
        .cte("seen")
    )
    admitted = _login_taken(account, seen, now)
    ip, agent, _ = CALLER
    absolute = bindparam("absolute", type_=Interval)
    values = {
        "id": bindparam("new_id", type_=Uuid),
        "user_id": account.c.id,
        "epoch": account.c.session_epoch,
        "client_id": bindparam("new_client_id", type_=Text),
        "delivery": bindparam("new_delivery", type_=Text),
        "remember": bindparam("new_remember", type_=Boolean),
        "generation": literal_column("0", Integer),
        "mac_key_id": bindparam("new_mac_key_id", type_=LargeBinary),
        "rotated_at": now,
        "created_at": now,
        "auth_time": func.coalesce(bindparam("new_auth_time", type_=TIMESTAMPTZ), now),
        "amr": bindparam("new_amr", type_=ARRAY(Text)),
        "scope": bindparam("new_scope", type_=Text),
        "audience": bindparam("new_audience", type_=Text),
        "idle_expires_at": now + func.least(bindparam("idle", type_=Interval), absolute),
        "absolute_expires_at": now + absolute,
        "ip": ip,
        "user_agent": agent,
        "last_ip": ip,
        "last_user_agent": agent,
    }
    family = (
        insert(refresh_families)
        .from_select(
            list(values),
            select(*values.values()).where(exists(select(admitted.c.key))),
            include_defaults=False,
        )
        .returning(*FAMILY_COLUMNS)
        .cte("family")
    )
    details = json_object(delivery=family.c.delivery)
    succeeded = record_of_each(family, constant(AuditEvent.LOGIN_SUCCEEDED), details)
    displaced = _displaced(account, admitted, one_row)
    coalesced = entries_coalesced(displaced)
    # The one that it was raised to by this statement: the first token must not be stale.
    ver = func.coalesce(select(coalesced.c.ver).scalar_subquery(), account.c.ver).label("ver")
    return HotStatement(
        select(*family.c, account.c.roles, ver, now, _had_room(seen, now))
        .select_from(account.outerjoin(family, true()))
        .add_cte(
            audit_from(succeeded).cte("audited"),
            _displacement_audited(displaced),
            sessions_announced(displaced, coalesced),
            *paid_back(exists(select(family.c.id))),
            *network_remembered(family, now),
        )
    )


def _login_taken(account: CTE, seen: CTE, now: ColumnElement[datetime]) -> CTE:
    """
    One successful login more, if the account is what it was and there is room for it.

    The bucket is a compare-and-set as well: it must be as this statement has seen it. If it is
    not, another login has begun a session that this statement does not count.
    """
    b = buckets.c
    leak = bindparam("logins_leak", type_=Interval)
    taken = insert(buckets).from_select(
        ["key", "empty_at"],
        select(bindparam("logins_key", type_=LargeBinary), now + leak).select_from(account),
        include_defaults=False,
    )
    # `excluded.empty_at` is now + leak.
    later = func.greatest(b.empty_at + leak, taken.excluded.empty_at)
    room = taken.excluded.empty_at - leak + bindparam("logins_burst", type_=Interval)
    unchanged = b.empty_at == select(seen.c.empty_at).scalar_subquery()
    return (
        taken.on_conflict_do_update(
            index_elements=[b.key], set_={"empty_at": later}, where=(later <= room) & unchanged
        )
        .returning(b.key)
        .cte("admitted")
    )


def _had_room(seen: CTE, now: ColumnElement[datetime]) -> ColumnElement[bool]:
    """Whether what this statement has seen would admit the login."""
    leak = bindparam("logins_leak", type_=Interval)
    later = func.greatest(select(seen.c.empty_at).scalar_subquery(), now) + leak
    return (later <= now + bindparam("logins_burst", type_=Interval)).label("had_room")


def _displaced(account: CTE, admitted: CTE, one_row: CTE) -> CTE:
    """
    What ends to make room for an admitted login: those that have been idle for longest.

    It looks at so many as may be alive and a hundred more, in the order of an index; where there
    are still more, each login ends a hundred of the oldest. It waits for no request: one that is
    being refreshed has not been idle, and the next in the row ends in its place.
    """
    f, now = refresh_families.c, one_row.c.now
    limit = bindparam("max_sessions", type_=Integer)
    not_revoked = (
        select(f.id, f.rotated_at, f.idle_expires_at, f.absolute_expires_at)
        .where(
            f.user_id == account.c.id,
            f.epoch == account.c.session_epoch,
            f.revoked_at.is_(None),
        )
        .order_by(f.created_at)
        .limit(limit + literal_column("100", Integer))
        .lateral("not_revoked")
    )
    n = not_revoked.c
    alive = (n.idle_expires_at > now) & (n.absolute_expires_at > now)
    counted = (
        select(n.id, n.rotated_at, alive.label("alive"))
        .select_from(account.join(not_revoked, true()).join(admitted, true()).join(one_row, true()))
        .cte("counted")
    )
    # One place is for the session that begins.
    others = limit - literal_column("1", Integer)
    surplus = select(
        func.greatest(func.count() - others, literal_column("0", Integer))
    ).select_from(counted)
    idle = select(counted).order_by(counted.c.alive, counted.c.rotated_at).subquery("idle")
    # One after the other and in this order, until there are enough.
    locked = (
        select(f.id)
        .where(f.id == idle.c.id, f.revoked_at.is_(None), f.rotated_at == idle.c.rotated_at)
        .with_for_update(key_share=True, skip_locked=True)
        .lateral("locked")
    )
    free = (
        select(locked.c.id)
        .select_from(idle.join(locked, true()))
        .limit(surplus.scalar_subquery())
        .cte("free")
    )
    reason = constant(RevokeReason.TOO_MANY)
    return ended(f.id == free.c.id, now=now, reason=reason, name="displaced")


def _displacement_audited(displaced: CTE) -> CTE:
    """One record for each that ended while it was alive."""
    details = json_object(
        reason=constant(RevokeReason.TOO_MANY),
        last_ip=displaced.c.last_ip,
        last_user_agent=displaced.c.last_user_agent,
    )
    records = record_of_each(displaced, constant(AuditEvent.SESSION_REVOKED), details)
    alive = displaced.c.idle_expires_at > displaced.c.revoked_at
    return audit_from(records.where(alive)).cte("displacement_audited")
