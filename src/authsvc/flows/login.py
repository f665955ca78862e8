"""Login: two round trips, one argon2, one signature."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from authsvc.flows.runtime import Runtime
from authsvc.flows.session import Outcome, Session, begin, issue, pay_back
from authsvc.protocol.audit import AuditEvent, Caller, RevokeReason
from authsvc.protocol.errors import (
    DatabaseUnavailable,
    InvalidCredentials,
    Overloaded,
    TooManyAttempts,
)
from authsvc.protocol.refresh import Delivery
from authsvc.store import refresh_families, throttle_buckets, users
from authsvc.store.admission import Admission, Place, find_credentials
from authsvc.store.logins import NewSession, PasswordVerified
from authsvc_client.tokens.secret import Secret

PASSWORD_METHODS = ("pwd",)  # RFC 8176
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
    runtime: Runtime,
    *,
    attempt: Attempt,
    delivery: Delivery,
    remember: bool,
    superseded: Collection[UUID] = (),
    now: datetime,
) -> Session:
    """
    Verify a password and begin a session.

    Args:
        remember: False: the session idles out after 12 h at the latest.
        superseded: The families of the refresh cookies that this login replaces.

    Raises:
        InvalidCredentials: Unknown user, wrong password or disabled account, in the same time;
            the failure is counted and committed.
        TooManyAttempts: The device and the network must wait; nothing was hashed.
        Overloaded: Nothing was tried.
        DatabaseUnavailable: Nothing is known to have changed.
    """
    runtime.issuer.require_key(now)
    for _ in range(TRIES):
        proof, admission = await verify_password(runtime, attempt=attempt)
        family = await begin(
            runtime,
            NewSession(proof, delivery, remember=remember, amr=PASSWORD_METHODS),
            place=attempt.place,
            admission=admission,
            caller=attempt.caller,
            now=now,
        )
        if family is not None:
            await _rehash(runtime, proof, attempt.password)
            for family_id in superseded:
                # Last, so that a login which fails on the way has ended nothing.
                async with runtime.db.autocommit() as connection:
                    await refresh_families.revoke_family(
                        connection,
                        family_id,
                        reason=RevokeReason.SUPERSEDED,
                        caller=attempt.caller,
                    )
            return issue(runtime, family, Outcome.ROTATED, now=now)
    # The account was disabled or its password changed while this login was in flight.
    raise InvalidCredentials("account_changed")


async def verify_password(
    runtime: Runtime, *, attempt: Attempt
) -> tuple[PasswordVerified, Admission | None]:
    """
    Check e-mail and password under the throttling rules; the database is free meanwhile.

    Returns:
        The proof, and the admission that it pays back.

    Raises:
        As `login`.
    """
    db = runtime.db
    async with db.autocommit() as connection:
        found = await find_credentials(connection, attempt.place, limits=runtime.limits)
    admission = found.admission
    if isinstance(admission, TooManyAttempts):
        raise admission
    try:
        # No connection is held here. An unknown user costs the same hash.
        right = await runtime.hasher.verify(
            found.password_hash, attempt.password, network=attempt.network
        )
    except BaseException:  # nothing was tried, also if the client hung up: this attempt's own
        await pay_back(db, admission and replace(admission, lost=1))
        raise
    if found.user_id is None:
        cause = "unknown_user"
    elif not right or found.password_hash is None:
        cause = "wrong_password"
    elif found.disabled_at is not None:
        cause = "user_disabled"
    else:
        return PasswordVerified(found.user_id, found.password_hash), admission
    async with db.autocommit() as connection:
        await throttle_buckets.record_failure(
            connection,
            admission.own_key if admission else None,
            event=AuditEvent.LOGIN_FAILED,
            user_id=found.user_id,
            cause=cause,
            caller=attempt.caller,
        )
    raise InvalidCredentials(cause)


async def _rehash(runtime: Runtime, proof: PasswordVerified, password: Secret) -> None:
    """Bring an old hash to today's parameters; if there is no time for it now, next login."""
    if not runtime.hasher.needs_rehash(proof.password_hash):
        return
    with suppress(Overloaded, DatabaseUnavailable):
        new_hash = await runtime.hasher.hash(password)
        async with runtime.db.autocommit() as connection:
            await users.replace_hash(
                connection,
                proof.user_id,
                verified_hash=proof.password_hash,
                new_hash=new_hash,
            )
