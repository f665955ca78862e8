"""The two statements of a login: find the credentials, create the family."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cache
from uuid import UUID, uuid4

from sqlalchemy import (
    ARRAY,
    CTE,
    Boolean,
    Integer,
    Interval,
    LargeBinary,
    Text,
    Uuid,
    bindparam,
    delete,
    exists,
    func,
    insert,
    literal_column,
    select,
    true,
    update,
)

from authsvc.protocol.audit import AuditEvent, Caller, RevokeReason
from authsvc.protocol.claims import FIRST_PARTY
from authsvc.protocol.refresh import Delivery, Lifetimes
from authsvc.protocol.throttle import Counter
from authsvc.store.audit import audit_from
from authsvc.store.hot_statement import HotConnection, HotStatement, Row, clock
from authsvc.store.refresh_families import FAMILY_COLUMNS, Family, family_of
from authsvc.store.revocations import sessions_announced
from authsvc.store.tables import refresh_families, throttle_counters, users

PASSWORD_METHODS = ("pwd",)  # RFC 8176


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a login looks at; `user_id` is None where no account has the address."""

    user_id: UUID | None
    password_hash: str | None
    disabled_at: datetime | None
    account: Counter | None
    network: Counter | None
    device: Counter | None
    now: datetime


async def find_credentials(
    connection: HotConnection,
    email: str,
    *,
    account_key: bytes,
    network_key: bytes,
    device_key: bytes | None,
    now: datetime | None = None,
) -> Credentials:
    """
    Everything a login must know before it spends a hash, in one round trip.

    Args:
        email: In its normal form.
        device_key: None where no known device speaks.
    """
    row = await _find_credentials().fetchrow(
        connection,
        address=email,
        account_key=account_key,
        network_key=network_key,
        device_key=device_key,
        now=now,
    )
    if row is None:  # unreachable: the one row of `clock` is always there
        raise AssertionError
    return Credentials(
        user_id=row["id"],
        password_hash=row["password_hash"],
        disabled_at=row["disabled_at"],
        account=_counter(row, "account"),
        network=_counter(row, "network"),
        device=_counter(row, "device"),
        now=row["now"],
    )


async def create_family(
    connection: HotConnection,
    *,
    user_id: UUID,
    verified_hash: str,
    delivery: Delivery,
    remember: bool,
    mac_key_id: bytes,
    lifetimes: Lifetimes,
    forgiven: list[bytes],
    caller: Caller,
    now: datetime | None = None,
) -> Family | None:
    """
    Begin a session, if the account is still what it was when the password was verified; above
    the limit of an account, those that have been idle for longest end.

    The account is locked FOR SHARE and compared once more: whoever disables it or changes its
    password writes the user row first and revokes in a later statement, so a login in flight is
    either refused here or revoked there (SECURITY F14).

    Args:
        verified_hash: The hash that the password was verified against.
        mac_key_id: The key that generation 0 will be sealed with.
        forgiven: Counters that a success sets back.

    Returns:
        The family in generation 0; None if the account changed in between.
    """
    row = await _create_family().fetchrow(
        connection,
        user=user_id,
        verified_hash=verified_hash,
        new_id=uuid4(),
        new_delivery=delivery,
        new_remember=remember,
        new_mac_key_id=mac_key_id,
        idle=lifetimes.idle if remember else min(lifetimes.idle, lifetimes.short_idle),
        absolute=lifetimes.absolute,
        most_sessions=lifetimes.most_sessions,
        forgiven=forgiven,
        caller_ip=caller.ip,
        caller_agent=caller.user_agent,
        request_id=caller.request_id,
        now=now,
    )
    return family_of(row) if row else None


def _counter(row: Row, name: str) -> Counter | None:
    count = row[f"{name}_count"]
    return None if count is None else Counter(count=count, last_at=row[f"{name}_at"])


@cache
def _find_credentials() -> HotStatement:
    one_row = clock()
    u = users.c
    columns = [one_row.c.now, u.id, u.password_hash, u.disabled_at]
    joined = one_row.outerjoin(users, u.email == bindparam("address", type_=Text))
    for name in ("account", "network", "device"):
        counter = throttle_counters.alias(name)
        joined = joined.outerjoin(
            counter, counter.c.key == bindparam(f"{name}_key", type_=LargeBinary)
        )
        columns += [counter.c.count.label(f"{name}_count"), counter.c.last_at.label(f"{name}_at")]
    return HotStatement(select(*columns).select_from(joined))


@cache
def _create_family() -> HotStatement:
    one_row = clock()
    now = one_row.c.now
    account = (
        select(users.c.id, users.c.roles, users.c.ver, users.c.session_epoch)
        .where(
            users.c.id == bindparam("user", type_=Uuid),
            users.c.password_hash == bindparam("verified_hash", type_=Text),
            users.c.disabled_at.is_(None),
        )
        .with_for_update(read=True, of=users)
        .cte("account")
    )
    ip, agent = bindparam("caller_ip", type_=Text), bindparam("caller_agent", type_=Text)
    absolute = bindparam("absolute", type_=Interval)
    values = {
        "id": bindparam("new_id", type_=Uuid),
        "user_id": account.c.id,
        "epoch": account.c.session_epoch,
        "client_id": literal_column(f"'{FIRST_PARTY}'", Text),
        "delivery": bindparam("new_delivery", type_=Text),
        "remember": bindparam("new_remember", type_=Boolean),
        "generation": literal_column("0", Integer),
        "mac_key_id": bindparam("new_mac_key_id", type_=LargeBinary),
        "rotated_at": now,
        "created_at": now,
        "auth_time": now,
        "amr": literal_column(f"'{{{','.join(PASSWORD_METHODS)}}}'::text[]", ARRAY(Text)),
        "scope": literal_column("''", Text),
        "idle_expires_at": now + func.least(bindparam("idle", type_=Interval), absolute),
        "absolute_expires_at": now + absolute,
        "ip": ip,
        "user_agent": agent,
        "last_ip": ip,
        "last_user_agent": agent,
    }
    family = (
        insert(refresh_families)
        .from_select(list(values), select(*values.values()), include_defaults=False)
        .returning(*FAMILY_COLUMNS)
        .cte("family")
    )
    audited = audit_from(
        select(
            literal_column(f"'{AuditEvent.LOGIN_SUCCEEDED}'", Text),
            family.c.user_id,
            family.c.id,
            ip,
            agent,
            bindparam("request_id", type_=Text),
            func.jsonb_build_object(literal_column("'delivery'"), family.c.delivery),
        )
    ).cte("audited")
    forgiven = (
        delete(throttle_counters)
        .where(
            throttle_counters.c.key == func.any(bindparam("forgiven", type_=ARRAY(LargeBinary))),
            exists(select(family.c.id)),
        )
        .cte("forgiven")
    )
    displaced = _displaced(account, one_row)
    return HotStatement(
        select(*family.c, account.c.roles, account.c.ver, now)
        .select_from(family.join(account, true()))
        .add_cte(audited, forgiven, _displacement_audited(displaced), sessions_announced(displaced))
    )


def _displaced(account: CTE, one_row: CTE) -> CTE:
    """
    What ends to make room: those that have been idle for longest.

    It looks at so many as may be alive and a hundred more, in the order of an index; where there
    are still more, each login ends a hundred of the oldest. It waits for nobody: of logins at once
    each counts without the others.
    """
    f, now = refresh_families.c, one_row.c.now
    most = bindparam("most_sessions", type_=Integer)
    not_revoked = (
        select(f.id, f.rotated_at, f.idle_expires_at, f.absolute_expires_at)
        .where(
            f.user_id == account.c.id,
            f.epoch == account.c.session_epoch,
            f.revoked_at.is_(None),
        )
        .order_by(f.created_at)
        .limit(most + literal_column("100", Integer))
        .lateral("not_revoked")
    )
    n = not_revoked.c
    alive = (n.idle_expires_at > now) & (n.absolute_expires_at > now)
    # One place is for the session that begins.
    beyond = (
        select(n.id)
        .select_from(account.join(not_revoked, true()).join(one_row, true()))
        .order_by(alive.desc(), n.rotated_at.desc())
        .offset(most - literal_column("1", Integer))
    )
    free = (
        select(f.id)
        .where(f.id.in_(beyond))
        .with_for_update(key_share=True, skip_locked=True)
        .cte("free")
    )
    return (
        update(refresh_families)
        .values(revoked_at=now, revoke_reason=literal_column(f"'{RevokeReason.TOO_MANY}'", Text))
        .where(f.id == free.c.id, f.revoked_at.is_(None))
        .returning(f.id, f.user_id, f.revoked_at, f.idle_expires_at, f.last_ip, f.last_user_agent)
        .cte("displaced")
    )


def _displacement_audited(displaced: CTE) -> CTE:
    """One record for each that ended while it was alive."""
    return audit_from(
        select(
            literal_column(f"'{AuditEvent.SESSION_REVOKED}'", Text),
            displaced.c.user_id,
            displaced.c.id,
            bindparam("caller_ip", type_=Text),
            bindparam("caller_agent", type_=Text),
            bindparam("request_id", type_=Text),
            func.jsonb_build_object(
                literal_column("'reason'"),
                literal_column(f"'{RevokeReason.TOO_MANY}'"),
                literal_column("'last_ip'"),
                displaced.c.last_ip,
                literal_column("'last_user_agent'"),
                displaced.c.last_user_agent,
            ),
        ).where(displaced.c.idle_expires_at > displaced.c.revoked_at)
    ).cte("displacement_audited")
