"""The two statements of a login: find the credentials, create the family."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
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
    delete,
    exists,
    func,
    literal_column,
    select,
    text,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import insert

from authsvc.protocol.audit import AuditEvent, Caller, RevokeReason
from authsvc.protocol.claims import FIRST_PARTY
from authsvc.protocol.errors import TooManyAttempts, TooManyStrangers
from authsvc.protocol.refresh import Delivery, Lifetimes
from authsvc.protocol.throttle import (
    COUNTED_FOR,
    KNOWN_NETWORK_LIFE,
    MAX_KNOWN_NETWORKS,
    STRANGERS_WINDOW,
    Bucket,
    Limits,
    Way,
)
from authsvc.store import throttle_buckets
from authsvc.store.audit import audit_from
from authsvc.store.hot_statement import HotConnection, HotStatement, Row, clock
from authsvc.store.refresh_families import FAMILY_COLUMNS, Family, family_of
from authsvc.store.revocations import entries_coalesced, sessions_announced
from authsvc.store.tables import known_networks, refresh_families, users
from authsvc.store.tables import throttle_buckets as buckets

PASSWORD_METHODS = ("pwd",)  # RFC 8176
NO_TIME = timedelta(0)
AT_ONCE = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Place:
    """
    From where an account is tried.

    Args:
        network: The client's IPv4 address or IPv6 /64.
        device: User and nonce of an authentic device cookie or token.
    """

    email: str
    network: str
    device: tuple[UUID, str] | None


@dataclass(frozen=True, slots=True)
class Admission:
    """
    An attempt that was taken from a bucket, before anything is hashed.

    Args:
        own_key: The bucket of its way.
        own_lost: What this has lost, this attempt included; a right password pays it back.
        account_lost: How many of these are in the budget of the account's strangers.
        leak: What one attempt costs.
    """

    own_key: bytes
    own_lost: timedelta
    account_key: bytes
    account_lost: int
    leak: timedelta

    @property
    def of_this_attempt(self) -> Admission:
        """What it took itself: given back if nothing was tried."""
        return replace(self, own_lost=self.leak, account_lost=min(self.account_lost, 1))


@dataclass(frozen=True, slots=True)
class Credentials:
    """
    What a login looks at.

    Args:
        user_id: None where no account has the address.
        admission: The refusal where there is no room: nothing was taken, or only from the bucket
            of its own network. None where nothing is throttled.
    """

    user_id: UUID | None
    password_hash: str | None
    disabled_at: datetime | None
    admission: Admission | TooManyAttempts | None


async def find_credentials(
    connection: HotConnection, place: Place, *, limits: Limits | None, now: datetime | None = None
) -> Credentials:
    """
    Everything a login must know before it spends a hash, and its admission, in one round trip.

    The first way with room is taken: the known device, the known network, the stranger. An
    account that does not exist has only the last.

    Args:
        limits: None: not throttled.
    """
    email, network = place.email, place.network
    used = limits or Limits()
    row = await _find_credentials().fetchrow(
        connection,
        now=now,
        throttled=limits is not None,
        address=email,
        network_key=throttle_buckets.network_key(network),
        account_key=throttle_buckets.account_key(email),
        logins_key=throttle_buckets.logins_key(email),
        device_user=place.device[0] if place.device else None,
        device_key=throttle_buckets.device_key(*place.device) if place.device else None,
        known_key=throttle_buckets.known_network_key(email, network),
        stranger_key=throttle_buckets.stranger_key(email, network),
        known_leak=used.known.leak,
        known_burst=used.known.burst,
        stranger_leak=used.stranger.leak,
        stranger_burst=used.stranger.burst,
        slowed_leak=used.slowed.leak,
        logins_room=used.logins.burst - used.logins.leak,
        per_day=used.strangers_per_day,
        accounts=used.accounts_per_network,
        network_life=KNOWN_NETWORK_LIFE,
        counted_for=COUNTED_FOR,
        day=STRANGERS_WINDOW,
    )
    if row is None:  # unreachable: the one row of `given` is always there
        raise AssertionError
    return Credentials(
        user_id=row["id"],
        password_hash=row["password_hash"],
        disabled_at=row["disabled_at"],
        admission=_admission(row, place, limits) if limits else None,
    )


def _admission(row: Row, place: Place, limits: Limits) -> Admission | TooManyAttempts:
    now: datetime = row["now"]
    if row["admitted"]:
        way = Way(row["way"])
        lost = limits.bucket(way).level(row["empty_at"], now)
        return Admission(
            own_key=row["key"],
            own_lost=limits.bucket(way).leak * lost,
            account_key=throttle_buckets.account_key(place.email),
            account_lost=lost if way is Way.STRANGER else 0,
            leak=limits.bucket(way).leak,
        )
    if row["logins_wait"] > NO_TIME:
        return TooManyAttempts("too_many_logins", retry_after=row["logins_wait"])
    if row["known_wait"] is None and row["day_wait"] > NO_TIME:
        return TooManyStrangers("strangers_used_up", retry_after=row["stranger_wait"])
    # Not positive: there was room, and a parallel attempt took it.
    return TooManyAttempts("throttled", retry_after=max(row["wait"], AT_ONCE))


async def create_family(
    connection: HotConnection,
    *,
    user_id: UUID,
    verified_hash: str,
    delivery: Delivery,
    remember: bool,
    mac_key_id: bytes,
    lifetimes: Lifetimes,
    place: Place,
    admission: Admission | None = None,
    logins: Bucket | None = None,
    caller: Caller,
    now: datetime | None = None,
) -> Family | None:
    """
    Begin a session, if the account is still what it was when the password was verified; above
    the limit of an account, those that have been idle for longest end.

    The account is locked FOR SHARE and compared once more: whoever disables it or changes its
    password writes the user row first and revokes in a later statement, so a login in flight is
    either refused here or revoked there (SECURITY F14).

    Logins of one account are optimistic: one that was overtaken by another, whose family it
    cannot see, has changed nothing and is repeated.

    Args:
        verified_hash: The hash that the password was verified against.
        mac_key_id: The key that generation 0 will be sealed with.
        place: Its network is known from now on.
        admission: What is paid back.
        logins: The successful logins of an account that are admitted; None: any.

    Returns:
        The family in generation 0; None if the account changed in between.

    Raises:
        TooManyAttempts: The account has logged in too often; nothing was changed.
    """
    values = {
        "user": user_id,
        "verified_hash": verified_hash,
        "new_id": uuid4(),
        "new_delivery": delivery,
        "new_remember": remember,
        "new_mac_key_id": mac_key_id,
        "idle": lifetimes.idle if remember else min(lifetimes.idle, lifetimes.short_idle),
        "absolute": lifetimes.absolute,
        "network": throttle_buckets.network_key(place.network),
        "max_networks": MAX_KNOWN_NETWORKS,
        "own_key": admission.own_key if admission else None,
        "own": admission.own_lost if admission else None,
        "account_key": admission.account_key if admission else None,
        "count": admission.account_lost if admission else 0,
        "logins_key": throttle_buckets.logins_key(place.email),
        "logins_leak": logins.leak if logins else NO_TIME,
        "logins_burst": logins.burst if logins else NO_TIME,
        "most_sessions": lifetimes.most_sessions,
        "caller_ip": caller.ip,
        "caller_agent": caller.user_agent,
        "request_id": caller.request_id,
    }
    while True:  # each time another login has succeeded, of which there are so many a minute
        row = await _create_family().fetchrow(connection, now=now, **values)
        if row is None:
            return None
        if row["id"] is not None:
            return family_of(row)
        if not row["had_room"]:
            wait = logins.leak if logins else AT_ONCE
            raise TooManyAttempts("too_many_logins", retry_after=wait)


@cache
def _find_credentials() -> HotStatement:
    return HotStatement(
        text("""
        WITH given AS MATERIALIZED (
            SELECT COALESCE(CAST(:now AS timestamptz), clock_timestamp()) AS now,
                CAST(:throttled AS boolean) AS throttled,
                CAST(:network_key AS bytea) AS network_key,
                CAST(:account_key AS bytea) AS account_key,
                CAST(:stranger_leak AS interval) AS stranger_leak,
                CAST(:stranger_burst AS interval) AS stranger_burst,
                CAST(:slowed_leak AS interval) AS slowed_leak,
                CAST(:per_day AS integer) AS per_day,
                CAST(:day AS interval) AS day
        ), account AS (
            SELECT u.id, u.password_hash, u.disabled_at,
                u.id = CAST(:device_user AS uuid) AS device_is_known,
                EXISTS (
                    SELECT FROM known_networks k
                    WHERE k.user_id = u.id AND k.network = given.network_key
                        AND k.signed_in_at > given.now - CAST(:network_life AS interval)
                ) AS network_is_known
            FROM given LEFT JOIN users u ON u.email = CAST(:address AS text)
        ), ways AS (
            SELECT 1 AS way, CAST(:device_key AS bytea) AS key,
                CAST(:known_leak AS interval) AS leak, CAST(:known_burst AS interval) AS burst
            FROM account WHERE device_is_known
            UNION ALL
            SELECT 2, CAST(:known_key AS bytea),
                CAST(:known_leak AS interval), CAST(:known_burst AS interval)
            FROM account WHERE network_is_known
            UNION ALL
            SELECT 3, CAST(:stranger_key AS bytea), stranger_leak, stranger_burst FROM given
        ), waits AS (
            SELECT way, key, leak, burst,
                GREATEST(b.empty_at - given.now, interval '0') + leak - burst AS wait
            FROM given CROSS JOIN ways LEFT JOIN throttle_buckets b USING (key)
        ), network AS (
            SELECT count(*) > CAST(:accounts AS integer) AS is_slow
            FROM (
                SELECT FROM throttle_buckets b, given
                WHERE b.network = given.network_key
                    AND b.failed_at > given.now - CAST(:counted_for AS interval)
                LIMIT CAST(:accounts AS integer) + 1
            ) AS failed
        ), strangers AS (
            SELECT COALESCE((
                    SELECT at + given.day - given.now
                    FROM stranger_failures f, unnest(f.failed_at) AS at
                    WHERE f.account = given.account_key
                    ORDER BY at DESC OFFSET given.per_day - 1 LIMIT 1
                ), interval '0') AS day_wait,
                CASE WHEN network.is_slow THEN COALESCE((
                    SELECT b.empty_at - given.now
                    FROM throttle_buckets b WHERE b.key = given.network_key
                ), interval '0') ELSE interval '0' END AS slow_wait
            FROM given, network
        ), logins AS (
            SELECT COALESCE((
                SELECT b.empty_at - given.now - CAST(:logins_room AS interval)
                FROM throttle_buckets b WHERE b.key = CAST(:logins_key AS bytea)
            ), interval '0') AS wait
            FROM given
        ), chosen AS (
            SELECT waits.way, waits.key, waits.leak, waits.burst
            FROM waits, strangers, logins, given
            WHERE given.throttled AND waits.wait <= interval '0' AND logins.wait <= interval '0'
                AND (way < 3 OR GREATEST(day_wait, slow_wait) <= interval '0')
            ORDER BY way LIMIT 1
        ), own AS (
            INSERT INTO throttle_buckets AS b (key, empty_at, network)
            SELECT key, now + leak, CASE way WHEN 3 THEN network_key END FROM chosen, given
            ON CONFLICT (key) DO UPDATE
            SET empty_at = (SELECT GREATEST(b.empty_at, now) + leak FROM chosen, given)
            WHERE (SELECT GREATEST(b.empty_at, now) + leak <= now + burst FROM chosen, given)
            RETURNING key, empty_at
        ), paced AS (
            INSERT INTO throttle_buckets AS b (key, empty_at)
            SELECT network_key, now + slowed_leak FROM own, chosen, network, given
            WHERE way = 3 AND is_slow
            ON CONFLICT (key) DO UPDATE SET empty_at = excluded.empty_at
            WHERE b.empty_at <= (SELECT now FROM given)
            RETURNING key
        ), counted AS (
            INSERT INTO stranger_failures AS f (account, failed_at)
            SELECT account_key, ARRAY[now] FROM own, chosen, network, given
            WHERE way = 3 AND (NOT is_slow OR EXISTS (SELECT FROM paced))
            ON CONFLICT (account) DO UPDATE SET failed_at = (
                SELECT COALESCE(array_agg(at ORDER BY at), '{}')
                FROM given, unnest(f.failed_at || now) AS at WHERE at > now - day
            )
            WHERE (
                SELECT count(*) FROM given, unnest(f.failed_at) AS at WHERE at > now - day
            ) < (SELECT per_day FROM given)
            RETURNING account
        ), refusal AS (
            SELECT day_wait,
                min(wait) FILTER (WHERE way < 3) AS known_wait,
                GREATEST(min(wait) FILTER (WHERE way = 3), slow_wait, day_wait) AS stranger_wait
            FROM waits, strangers GROUP BY day_wait, slow_wait
        )
        SELECT given.now, account.id, account.password_hash, account.disabled_at,
            chosen.way, chosen.key, own.empty_at,
            own.key IS NOT NULL AND (way < 3 OR EXISTS (SELECT FROM counted)) AS admitted,
            logins.wait AS logins_wait,
            day_wait, known_wait, stranger_wait,
            LEAST(known_wait, stranger_wait) AS wait
        FROM given CROSS JOIN account CROSS JOIN refusal CROSS JOIN logins
            LEFT JOIN chosen ON TRUE LEFT JOIN own ON TRUE
        """)
    )


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
    seen = (
        select(buckets.c.empty_at)
        .where(buckets.c.key == bindparam("logins_key", type_=LargeBinary))
        .cte("seen")
    )
    admitted = _login_taken(account, seen, now)
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
        .from_select(
            list(values),
            select(*values.values()).where(exists(select(admitted.c.key))),
            include_defaults=False,
        )
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
    displaced = _displaced(account, admitted, one_row)
    coalesced = entries_coalesced(displaced)
    # The one that it was raised to by this statement: the first token must not be stale.
    ver = func.coalesce(select(coalesced.c.ver).scalar_subquery(), account.c.ver).label("ver")
    return HotStatement(
        select(*family.c, account.c.roles, ver, now, _had_room(seen, now))
        .select_from(account.outerjoin(family, true()))
        .add_cte(
            audited,
            _displacement_audited(displaced),
            sessions_announced(displaced, coalesced),
            *throttle_buckets.paid_back(exists(select(family.c.id))),
            *_network_remembered(family, now),
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


def _network_remembered(family: CTE, now: ColumnElement[datetime]) -> tuple[CTE, CTE]:
    """The network of this login is known, and the account's oldest beyond the most are not."""
    k = known_networks.c
    network = bindparam("network", type_=LargeBinary)
    signing_in = insert(known_networks).from_select(
        ["user_id", "network", "signed_in_at"],
        select(family.c.user_id, network, now),
        include_defaults=False,
    )
    remembered = signing_in.on_conflict_do_update(
        index_elements=[k.user_id, k.network],
        set_={"signed_in_at": signing_in.excluded.signed_in_at},
    ).cte("remembered")
    others = (
        select(k.network)
        .where(k.user_id == bindparam("user", type_=Uuid), k.network != network)
        .order_by(k.signed_in_at.desc())
        .offset(bindparam("max_networks", type_=Integer) - literal_column("1", Integer))
        # Two logins at once must not wait for each other's rows.
        .with_for_update(skip_locked=True)
    )
    forgotten = (
        delete(known_networks)
        .where(
            k.user_id == bindparam("user", type_=Uuid),
            k.network.in_(others),
            exists(select(family.c.id)),
        )
        .cte("forgotten")
    )
    return remembered, forgotten


def _displaced(account: CTE, admitted: CTE, one_row: CTE) -> CTE:
    """
    What ends to make room for an admitted login: those that have been idle for longest.

    It looks at so many as may be alive and a hundred more, in the order of an index; where there
    are still more, each login ends a hundred of the oldest. It waits for no request: one that is
    being refreshed has not been idle, and the next in the row ends in its place.
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
    counted = (
        select(n.id, n.rotated_at, alive.label("alive"))
        .select_from(account.join(not_revoked, true()).join(admitted, true()).join(one_row, true()))
        .cte("counted")
    )
    # One place is for the session that begins.
    others = most - literal_column("1", Integer)
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
