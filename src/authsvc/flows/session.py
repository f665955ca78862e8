"""
A session: how one begins, and what the flows hand out of it.

There is one way to begin a session, whatever has proved the user.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from authsvc.flows.runtime import Runtime
from authsvc.protocol.audit import Caller
from authsvc.protocol.errors import TooManyAttempts
from authsvc.store import admission as admissions
from authsvc.store import logins
from authsvc.store.admission import Admission, Place
from authsvc.store.database import Database
from authsvc.store.logins import NewSession
from authsvc.store.refresh_families import Family
from authsvc_client.tokens.secret import Secret


class Outcome(StrEnum):
    """What a successful call did to the family; the `Authsvc-Refresh` header."""

    ROTATED = "rotated"
    KEPT = "kept"
    REPLAYED = "replayed"


@dataclass(frozen=True, slots=True)
class Session:
    """
    A live session.

    Args:
        healed: The rotation made good a commit that the database had lost.
    """

    family: Family
    outcome: Outcome
    access_token: Secret
    refresh_token: Secret
    healed: bool = False


async def begin(
    runtime: Runtime,
    new: NewSession,
    *,
    place: Place,
    admission: Admission | None = None,
    caller: Caller,
    now: datetime,
) -> Family | None:
    """
    Begin a session, if what was proved of its user is still true; one round trip.

    Args:
        place: From where: its network is known from now on.
        admission: What the proof took from the throttle; it is paid back.
        now: The process's clock; it decides which MAC key seals.

    Returns:
        The family, to `issue` tokens of; None if the proof no longer holds.

    Raises:
        TooManyAttempts: Sessions of this account begin too often.
    """
    try:
        async with runtime.db.autocommit() as connection:
            return await logins.create_family(
                connection,
                new,
                mac_key_id=runtime.keys.refresh.sealing_key(now).key_id,
                lifetimes=runtime.lifetimes,
                place=place,
                admission=admission,
                logins=runtime.limits.logins if runtime.limits else None,
                caller=caller,
            )
    except TooManyAttempts:
        await pay_back(runtime.db, admission)
        raise


async def pay_back(db: Database, admission: Admission | None) -> None:
    """A right proof pays back what its device or network had lost."""
    if admission is None:
        return
    async with db.autocommit() as connection:
        await admissions.pay_back(connection, admission)


def issue(
    runtime: Runtime, family: Family, outcome: Outcome, *, now: datetime, healed: bool = False
) -> Session:
    """
    Sign an access token and seal the newest refresh token; no I/O.

    The refresh token is a pure function of the family, its generation and the MAC key that the
    row names, so a replay hands out the same bytes.

    Args:
        now: The process's clock; it decides `iat`, `exp` and which key signs.
    """
    return Session(
        family=family,
        outcome=outcome,
        access_token=runtime.issuer.access_token(family.grant, now=now),
        refresh_token=runtime.keys.seal_refresh_token(family.newest_token, now=now),
        healed=healed,
    )
