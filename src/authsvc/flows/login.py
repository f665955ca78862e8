"""Login: two round trips, one argon2, one signature."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

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
from authsvc.protocol.throttle import Limits
from authsvc.store import admission as admissions
from authsvc.store import logins, refresh_families, throttle_buckets, users
from authsvc.store.admission import Admission, Credentials, Place
from authsvc.store.database import Database
from authsvc_client.tokens.secret import Secret

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

    @property
    def place(self) -> Place:
        """What the throttle looks at."""
        device = self.device
        return Place(self.email, self.network, (device.user_id, device.nonce) if device else None)


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
    limits: Limits | None,
    superseded: Collection[UUID] = (),
    now: datetime,
) -> Session:
    """
    Verify a password and begin a session.

    Args:
        remember: False: the session idles out after 12 h at the latest.
        limits: None: not throttled, for load tests.
        superseded: The families of the refresh cookies that this login replaces.

    Raises:
        InvalidCredentials: Unknown user, wrong password or disabled account, in the same time;
            the failure is counted and committed.
        TooManyAttempts: The device and the network must wait; nothing was hashed.
        Overloaded: Nothing was tried.
        DatabaseUnavailable: Nothing is known to have changed.
    """
    for _ in range(TRIES):
        verified = await verify_password(db, hasher, attempt=attempt, limits=limits)
        try:
            async with db.autocommit() as connection:
                family = await logins.create_family(
                    connection,
                    user_id=verified.user_id,
                    verified_hash=verified.password_hash,
                    delivery=delivery,
                    remember=remember,
                    mac_key_id=keys.refresh.sealing_key(now).key_id,
                    lifetimes=lifetimes,
                    place=attempt.place,
                    admission=verified.admission,
                    logins=limits.logins if limits else None,
                    caller=attempt.caller,
                )
        except TooManyAttempts:
            await pay_back(db, verified.admission)
            raise
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
                    )
            return issue(family, Outcome.ROTATED, issuer=issuer, keys=keys, now=now)
    # The account was disabled or its password changed while this login was in flight.
    raise InvalidCredentials("account_changed")


@dataclass(frozen=True, slots=True)
class Verified:
    """A password that was right, and what it pays back."""

    user_id: UUID
    password_hash: str
    admission: Admission | None


async def verify_password(
    db: Database,
    hasher: PasswordHasher,
    *,
    attempt: Attempt,
    limits: Limits | None,
) -> Verified:
    """
    Check e-mail and password under the throttling rules; the database is free meanwhile.

    Raises:
        As `login`.
    """
    async with db.autocommit() as connection:
        found = await admissions.find_credentials(connection, attempt.place, limits=limits)
    admission = found.admission
    if isinstance(admission, TooManyAttempts):
        raise admission
    try:
        # No connection is held here. An unknown user costs the same hash.
        right = await hasher.verify(found.password_hash, attempt.password)
    except BaseException:  # nothing was tried, also if the client hung up
        await pay_back(db, admission and admission.of_this_attempt)
        raise
    cause = _refusal(found, right=right)
    if cause is None and found.user_id is not None and found.password_hash is not None:
        return Verified(found.user_id, found.password_hash, admission)
    async with db.autocommit() as connection:
        await throttle_buckets.record_failure(
            connection,
            admission.own_key if admission else None,
            event=AuditEvent.LOGIN_FAILED,
            user_id=found.user_id,
            cause=cause or "",
            caller=attempt.caller,
        )
    raise InvalidCredentials(cause or "")


async def pay_back(db: Database, admission: Admission | None) -> None:
    """A right password pays back what its device or network had lost."""
    if admission is None:
        return
    async with db.autocommit() as connection:
        await admissions.pay_back(connection, admission)


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
