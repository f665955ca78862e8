"""
Rate limits of a login (decision 0018): the first of three ways with room, and what is paid back.

A bucket is taken from before the password is hashed, so that a parallel burst cannot pass. Every
statement locks a way's bucket first and the account's day after it: two of them cannot deadlock.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from uuid import UUID

from sqlalchemy import (
    CTE,
    ColumnElement,
    Integer,
    Interval,
    LargeBinary,
    Uuid,
    bindparam,
    delete,
    exists,
    func,
    literal_column,
    null,
    select,
    text,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import insert

from authsvc.protocol.errors import TooManyAttempts, TooManyStrangers
from authsvc.protocol.throttle import (
    COUNTED_FOR,
    KNOWN_NETWORK_LIFE,
    MAX_KNOWN_NETWORKS,
    STRANGERS_WINDOW,
    Bucket,
    Limits,
    Way,
)
from authsvc.store.hot_statement import HotConnection, HotStatement, Row, read
from authsvc.store.tables import known_networks, stranger_failures, throttle_buckets
from authsvc.store.throttle_buckets import Counted, bucket_key, taken

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
        account_key: The account whose day a stranger's attempt also counts in.
        leak: What one attempt costs the own bucket.
        lost: The attempts in the own bucket, this one included; a right password pays them back.
        by_stranger: Whether these are in the account's day as well.
    """

    own_key: bytes
    account_key: bytes
    leak: timedelta
    lost: int
    by_stranger: bool


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
    connection: HotConnection, place: Place, *, limits: Limits | None
) -> Credentials:
    """
    Everything a login must know before it spends a hash, and its admission, in one round trip.

    The first way with room is taken: the known device, the known network, the stranger. Who is in
    a known network is no stranger, and spends nothing of theirs; an account that does not exist
    has nothing else.

    Args:
        limits: None: not throttled.
    """
    email, network = place.email, place.network
    # The one row of `given` is always there.
    [row] = await _find_credentials(limits or Limits()).fetch(
        connection,
        throttled=limits is not None,
        email=email,
        device_user=place.device[0] if place.device else None,
        network=bucket_key(Counted.NETWORK, network),
        account=bucket_key(Counted.ACCOUNT, email),
        logins=bucket_key(Counted.LOGINS, email),
        device=bucket_key(Counted.DEVICE, *place.device) if place.device else None,
        known_network=bucket_key(Counted.KNOWN_NETWORK, network, email),
        stranger=bucket_key(Counted.STRANGER, network, email),
    )
    return read(Credentials, row, admission=_admission(row, email, limits) if limits else None)


def _admission(row: Row, email: str, limits: Limits) -> Admission | TooManyAttempts:
    way = Way(row["way"])
    if row["admitted"]:
        bucket = limits.bucket(way)
        return Admission(
            own_key=row["key"],
            account_key=bucket_key(Counted.ACCOUNT, email),
            leak=bucket.leak,
            lost=bucket.level(row["empty_at"], row["now"]),
            by_stranger=way is Way.STRANGER,
        )
    # No time: there was room, and a parallel attempt took it.
    wait = max(row["wait"], AT_ONCE)
    if row["logins_wait"] > NO_TIME:
        return TooManyAttempts("too_many_logins", retry_after=wait)
    if way is Way.STRANGER and row["day_wait"] > NO_TIME:
        return TooManyStrangers("strangers_used_up", retry_after=wait)
    return TooManyAttempts("throttled", retry_after=wait)


async def pay_back(connection: HotConnection, admission: Admission) -> None:
    """Pay back what a device or network has lost, and the same of the account's day."""
    await _pay_back().fetchrow(connection, **pay_back_binds(admission))


def pay_back_binds(admission: Admission | None) -> dict[str, object]:
    """The binds of `paid_back`; None: nothing was taken."""
    return {
        "own_key": admission.own_key if admission else None,
        "own": admission.leak * admission.lost if admission else None,
        "account_key": admission.account_key if admission else None,
        "count": admission.lost if admission and admission.by_stranger else 0,
    }


def paid_back(condition: ColumnElement[bool]) -> tuple[CTE, CTE]:
    """
    The updates of `pay_back`, for use inside a larger statement.

    A stranger's failures are the newest in the account's day, or as good as these.
    """
    b, f = throttle_buckets.c, stranger_failures.c
    count = bindparam("count", type_=Integer)
    own = (
        update(throttle_buckets)
        .values(empty_at=b.empty_at - bindparam("own", type_=Interval), failed_at=null())
        .where(b.key == bindparam("own_key", type_=LargeBinary), condition)
        .returning(b.key)
        .cte("own_paid")
    )
    account = (
        update(stranger_failures)
        .values(
            failed_at=func.trim_array(f.failed_at, func.least(count, func.cardinality(f.failed_at)))
        )
        .where(
            f.account == bindparam("account_key", type_=LargeBinary),
            count > literal_column("0"),
            exists(select(own.c.key)),
        )
        .cte("account_paid")
    )
    return own, account


@cache
def _pay_back() -> HotStatement:
    return HotStatement(select(literal_column("1")).add_cte(*paid_back(true())))


def network_remembered(family: CTE, now: ColumnElement[datetime]) -> tuple[CTE, CTE]:
    """
    The CTEs by which the network of a login is known from now on, and the account's oldest beyond
    MAX_KNOWN_NETWORKS no more.
    """
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
        .offset(literal_column(f"{MAX_KNOWN_NETWORKS - 1}", Integer))
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


@cache
def _find_credentials(limits: Limits) -> HotStatement:
    accounts, per_day = limits.accounts_per_network, limits.strangers_per_day
    day, logins_room = _sql(STRANGERS_WINDOW), _sql(limits.logins.burst - limits.logins.leak)
    return HotStatement(
        text(f"""
        WITH given AS MATERIALIZED (
            SELECT COALESCE(CAST(:now AS timestamptz), clock_timestamp()) AS now,
                CAST(:network AS bytea) AS network,
                CAST(:account AS bytea) AS account
        ), account AS (
            SELECT u.id, u.password_hash, u.disabled_at,
                u.id = CAST(:device_user AS uuid) AS device_is_known,
                EXISTS (
                    SELECT FROM known_networks k
                    WHERE k.user_id = u.id AND k.network = given.network
                        AND k.signed_in_at > now - {_sql(KNOWN_NETWORK_LIFE)}
                ) AS network_is_known
            FROM given LEFT JOIN users u ON u.email = CAST(:email AS text)
        ), network AS (
            SELECT count(*) > {accounts} AS is_slow
            FROM (
                SELECT FROM throttle_buckets b, given
                WHERE b.network = given.network AND b.failed_at > now - {_sql(COUNTED_FOR)}
                LIMIT {accounts + 1}
            ) AS failed
        ), waits AS (
            -- NULL, which GREATEST ignores, where there is no row.
            SELECT GREATEST(interval '0', (
                    SELECT b.empty_at - now - {logins_room}
                    FROM throttle_buckets b WHERE b.key = CAST(:logins AS bytea)
                )) AS logins_wait,
                GREATEST(interval '0', (
                    SELECT at + {day} - now FROM stranger_failures f, unnest(f.failed_at) AS at
                    WHERE f.account = given.account
                    ORDER BY at DESC OFFSET {per_day - 1} LIMIT 1
                )) AS day_wait,
                GREATEST(interval '0', (
                    SELECT b.empty_at - now
                    FROM throttle_buckets b WHERE b.key = given.network AND is_slow
                )) AS slow_wait
            FROM given, network
        ), ways AS (
            SELECT 1 AS way, CAST(:device AS bytea) AS key, {_bucket(limits.known)},
                logins_wait AS shared_wait
            FROM account, waits WHERE device_is_known
            UNION ALL
            SELECT 2, CAST(:known_network AS bytea), {_bucket(limits.known)}, logins_wait
            FROM account, waits WHERE network_is_known
            UNION ALL
            SELECT 3, CAST(:stranger AS bytea), {_bucket(limits.stranger)},
                GREATEST(logins_wait, day_wait, slow_wait)
            FROM account, waits WHERE NOT network_is_known
        ), best AS (
            -- The first with room, else the one of the shortest wait.
            SELECT way, key, leak, burst, now, CASE way WHEN 3 THEN given.network END AS network,
                GREATEST(b.empty_at - now + leak - burst, shared_wait) AS wait
            FROM given CROSS JOIN ways LEFT JOIN throttle_buckets b USING (key)
            ORDER BY wait, way LIMIT 1
        ), chosen AS (
            SELECT * FROM best WHERE wait = interval '0' AND CAST(:throttled AS boolean)
        ), own AS ({taken("chosen")}
        ), pace AS (
            SELECT chosen.network AS key, {_bucket(limits.slowed)}, now,
                CAST(NULL AS bytea) AS network
            FROM own, chosen, network WHERE way = 3 AND is_slow
        ), paced AS ({taken("pace")}
        ), counted AS (
            INSERT INTO stranger_failures AS f (account, failed_at)
            SELECT account, ARRAY[given.now] FROM own, chosen, network, given
            WHERE way = 3 AND (NOT is_slow OR EXISTS (SELECT FROM paced))
            ON CONFLICT (account) DO UPDATE SET failed_at = (
                SELECT COALESCE(array_agg(at ORDER BY at), '{{}}')
                FROM given, unnest(f.failed_at || now) AS at WHERE at > now - {day}
            )
            WHERE (
                SELECT count(*) FROM given, unnest(f.failed_at) AS at WHERE at > now - {day}
            ) < {per_day}
            RETURNING account
        )
        SELECT given.now, account.id AS user_id, account.password_hash, account.disabled_at,
            best.way, best.key, best.wait, logins_wait, day_wait, own.empty_at,
            own.key IS NOT NULL AND (way < 3 OR EXISTS (SELECT FROM counted)) AS admitted
        FROM given CROSS JOIN account CROSS JOIN waits CROSS JOIN best LEFT JOIN own ON TRUE
        """)  # noqa: S608 - of numbers from the settings
    )


def _bucket(bucket: Bucket) -> str:
    return f"{_sql(bucket.leak)} AS leak, {_sql(bucket.burst)} AS burst"


def _sql(time: timedelta) -> str:
    return f"interval '{time.total_seconds():f} seconds'"
