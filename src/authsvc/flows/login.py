"""Login: two round trips, one argon2, one signature."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from authsvc.flows.admission import SHORTLY, Gate, InFlight, admitted, give_back
from authsvc.flows.session import Outcome, Session, issue
from authsvc.keys.directory import KeyDirectory
from authsvc.keys.issuer import Issuer
from authsvc.keys.passwords import PasswordHasher
from authsvc.protocol.audit import AuditEvent, Caller, RevokeReason
from authsvc.protocol.errors import (
    DatabaseUnavailable,
    InvalidCredentials,
    Overloaded,
    TooManyAttempts,
)
from authsvc.protocol.refresh import Delivery, Lifetimes
from authsvc.protocol.secret import Secret
from authsvc.protocol.throttle import ACCOUNT, FORGET_AFTER, NETWORK, device_is_trusted
from authsvc.store import logins, refresh_families, throttle_counters, users
from authsvc.store.database import Database
from authsvc.store.logins import Credentials

# A rehash by a login next to this one changes the hash without changing the password.
TRIES = 2


@dataclass(frozen=True, slots=True)
class Device:
    """A browser that logged this user in before (the device cookie)."""

    user_id: UUID
    nonce: str


@dataclass(frozen=True, slots=True)
class Attempt:
    """
    Who tries to log in, from where.

    Args:
        email: In its normal form.
        network: The client's IPv4 address or IPv6 /64.
        device: None without a valid device cookie.
    """

    email: str
    password: Secret
    network: str
    caller: Caller
    device: Device | None = None


async def login(
    db: Database,
    issuer: Issuer,
    keys: KeyDirectory,
    hasher: PasswordHasher,
    *,
    attempt: Attempt,
    delivery: Delivery,
    remember: bool,
    lifetimes: Lifetimes,
    in_flight: InFlight,
    superseded: Collection[UUID] = (),
    throttle: bool = True,
    now: datetime,
    database_now: datetime | None = None,
) -> Session:
    """
    Verify a password and begin a session.

    Args:
        remember: False: the session idles out after 12 h at the latest.
        superseded: The families of the refresh cookies that this login replaces.

    Raises:
        InvalidCredentials: Unknown user, wrong password or disabled account, in the same time;
            the failure is counted and committed.
        TooManyAttempts: The account or network must wait; nothing was hashed.
        Overloaded: Nothing was tried.
        DatabaseUnavailable: Nothing is known to have changed.
    """
    for _ in range(TRIES):
        verified = await verify_password(
            db,
            hasher,
            attempt=attempt,
            in_flight=in_flight,
            throttle=throttle,
            database_now=database_now,
        )
        async with db.autocommit() as connection:
            family = await logins.create_family(
                connection,
                user_id=verified.user_id,
                verified_hash=verified.password_hash,
                delivery=delivery,
                remember=remember,
                mac_key_id=keys.refresh.sealing_key(now).key_id,
                lifetimes=lifetimes,
                forgiven=verified.forgiven,
                caller=attempt.caller,
                now=database_now,
            )
        if family is not None:
            await _rehash(db, hasher, verified, attempt.password)
            for family_id in superseded:
                # Last, so that a login which fails on the way has ended nothing.
                async with db.autocommit() as connection:
                    await refresh_families.revoke_family(
                        connection,
                        family_id,
                        reason=RevokeReason.SUPERSEDED,
                        caller=attempt.caller,
                        now=database_now,
                    )
            return issue(family, Outcome.ROTATED, issuer=issuer, keys=keys, now=now)
    # The account was disabled or its password changed while this login was in flight.
    raise InvalidCredentials("account_changed")


@dataclass(frozen=True, slots=True)
class Verified:
    """A password that was right, and the counters that this sets back."""

    user_id: UUID
    password_hash: str
    forgiven: list[bytes]


async def verify_password(
    db: Database,
    hasher: PasswordHasher,
    *,
    attempt: Attempt,
    in_flight: InFlight,
    throttle: bool,
    database_now: datetime | None,
) -> Verified:
    """
    Check e-mail and password under the throttling rules; the database is free meanwhile.

    Raises:
        As `login`.
    """
    device_key = (
        throttle_counters.device_key(attempt.device.user_id, attempt.device.nonce)
        if attempt.device
        else None
    )
    account_key = throttle_counters.account_key(attempt.email)
    network_key = throttle_counters.network_key(attempt.network)
    async with db.autocommit() as connection:
        found = await logins.find_credentials(
            connection,
            attempt.email,
            account_key=account_key,
            network_key=network_key,
            device_key=device_key,
            now=database_now,
        )
    known_device = attempt.device is not None and found.user_id == attempt.device.user_id
    own_key = [device_key] if known_device and device_key else []
    trusted = bool(own_key) and device_is_trusted(
        found.device, found.now, in_flight=in_flight.count(own_key[0])
    )
    gates: tuple[Gate, ...] = ()
    if throttle and not trusted:
        if ACCOUNT.too_many_at_once(found.account, in_flight.count(account_key), found.now):
            raise TooManyAttempts("at_once", retry_after=SHORTLY)
        # The network first, so that one which must wait itself never spends the account's turn.
        gates = (
            Gate(network_key, found.network, NETWORK),
            Gate(account_key, found.account, ACCOUNT),
        )
    with in_flight.attempt(own_key[0] if trusted else account_key):
        async with admitted(db, gates, now=found.now, database_now=database_now) as claims:
            # No connection is held here. An unknown user costs the same hash.
            right = await hasher.verify(found.password_hash, attempt.password)
        cause = _refusal(found, right=right)
        if cause is None and found.user_id is not None and found.password_hash is not None:
            await give_back(db, claims)
            return Verified(
                user_id=found.user_id,
                password_hash=found.password_hash,
                forgiven=own_key if trusted else [account_key, *own_key],
            )
        async with db.autocommit() as connection:
            await throttle_counters.count_failure(
                connection,
                own_key if trusted else [account_key, network_key, *own_key],
                forget_after=FORGET_AFTER,
                event=AuditEvent.LOGIN_FAILED,
                user_id=found.user_id,
                cause=cause or "",
                caller=attempt.caller,
                now=database_now,
            )
    raise InvalidCredentials(cause or "")


def _refusal(found: Credentials, *, right: bool) -> str | None:
    """The cause, for log and audit; None if the login may go on."""
    if found.user_id is None:
        return "unknown_user"
    if not right:
        return "wrong_password"
    if found.disabled_at is not None:
        return "user_disabled"
    return None


async def _rehash(
    db: Database, hasher: PasswordHasher, verified: Verified, password: Secret
) -> None:
    """Bring an old hash to today's parameters; if there is no time for it now, next login."""
    if not hasher.needs_rehash(verified.password_hash):
        return
    with suppress(Overloaded, DatabaseUnavailable):
        new_hash = await hasher.hash(password)
        async with db.autocommit() as connection:
            await users.replace_hash(
                connection,
                verified.user_id,
                verified_hash=verified.password_hash,
                new_hash=new_hash,
            )
