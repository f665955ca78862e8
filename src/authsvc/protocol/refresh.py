"""
Refresh token rotation and reuse detection: pure values and one pure function (CONTRACT §5.3).

A family is one login on one device. Its token of generation *n* is `T(family, n)`; presenting
the newest one rotates the family to *n + 1* (RFC 9700 §4.14.2).
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

# A failover can lose the last acknowledged commits; more than this is a restored backup.
HEALABLE_GENERATIONS = 2
# The row knows the keys of the last rotations, so far back: of the last one the whole digest, of
# those before it the beginning.
GENERATIONS_WITH_A_KEY = 16
EARLIER_DIGEST = 8  # bytes
# How late a copy of a request may come: as long as a proxy waits for an answer.
LATE_COPY = timedelta(seconds=60)


class Delivery(StrEnum):
    """How a family's tokens travel; fixed at login."""

    SPA = "spa"
    NATIVE = "native"
    WEB = "web"

    @property
    def by_cookie(self) -> bool:
        """Whether the refresh token travels in a cookie (else in the body)."""
        return self is not Delivery.NATIVE


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """
    What an authentic refresh token says, once its MAC has been verified.

    Args:
        mac_key_id: The first 8 bytes of the SHA-256 of the key it is sealed with.
        generation: 0 for the token of the login.
    """

    mac_key_id: bytes
    family_id: UUID
    generation: int
    delivery: Delivery


@dataclass(frozen=True, slots=True)
class FamilyState:
    """The part of a family's row (and its user's) that the rules look at."""

    generation: int
    rotated_at: datetime
    attempt_digest: bytes | None
    idle_expires_at: datetime
    absolute_expires_at: datetime
    revoked_at: datetime | None
    user_disabled_at: datetime | None
    earlier_attempts: bytes | None = None
    """`EARLIER_DIGEST` bytes of each attempt before the last one that rotated, the newest first."""
    epoch: int = 1
    user_epoch: int = 1

    @property
    def ended(self) -> bool:
        """Whether it was ended, by itself or with all others of its user."""
        return self.revoked_at is not None or self.epoch != self.user_epoch

    def is_live(self, now: datetime) -> bool:
        """Whether nothing has ended the family (rule 2)."""
        return (
            not self.ended
            and self.idle_expires_at > now
            and self.absolute_expires_at > now
            and self.user_disabled_at is None
        )


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """
    How long families live, and how many of one account at once.

    Args:
        idle: Slides with each rotation; never beyond `absolute`.
        absolute: Counted from the login; never moves.
        retry_window: How long after a rotation a cookie delivery may repeat itself.
        short_idle: The idle time of a login that was not to be remembered.
        max_sessions: Of one account; a login above it ends the one that was idle for longest.
    """

    idle: timedelta
    absolute: timedelta
    retry_window: timedelta
    short_idle: timedelta = timedelta(hours=12)
    max_sessions: int = 100


class Verdict(StrEnum):
    """What becomes of a presented, authentic token."""

    ACTIVE = "active"  # rotate
    KEPT = "kept"  # still the newest and rotated a moment ago: keep it
    RETRY = "retry"  # the answer was lost, or two tabs: the same successor once more
    REUSED = "reused"  # theft: revoke the family
    OVERTAKEN = "overtaken"  # the family went on while this request was waiting: ask again
    AHEAD = "ahead"  # the database lost a commit: heal
    FAR_AHEAD = "far_ahead"  # the database was restored from a backup: refuse
    REVOKED = "revoked"
    EXPIRED = "expired"
    USER_DISABLED = "user_disabled"


def verdict(
    family: FamilyState,
    token: RefreshToken,
    *,
    attempt_digest: bytes,
    retry_window: timedelta,
    now: datetime,
    under_way: timedelta = timedelta(0),
) -> Verdict:
    """
    Decide what a presented token means; the first rule that applies wins (CONTRACT §5.3).

    A request that its client gave up may be judged late, when the client has repeated it and
    gone on. That is no reuse: what is presented was good when it was sent. It shows in the key,
    which only that client knows, or in that the family has moved since the request came.

    Args:
        family: The row as it stands.
        token: Authentic: its MAC has been verified and its transport matches its delivery.
        attempt_digest: SHA-256 of this request's Idempotency-Key, or of a random value.
        retry_window: REFRESH_RETRY_WINDOW; ignored for body tokens.
        now: The database's clock.
        under_way: How long ago the request came.
    """
    if family.ended:
        return Verdict.REVOKED
    if family.idle_expires_at <= now or family.absolute_expires_at <= now:
        return Verdict.EXPIRED
    if family.user_disabled_at is not None:
        return Verdict.USER_DISABLED
    within_window = token.delivery.by_cookie and since_rotation(family, now) < retry_window
    behind = family.generation - token.generation
    if behind == 0:
        return Verdict.KEPT if within_window and family.generation > 0 else Verdict.ACTIVE
    if behind < 0:
        return Verdict.AHEAD if -behind <= HEALABLE_GENERATIONS else Verdict.FAR_AHEAD
    if behind == 1 and (within_window or repeats_its_rotation(family, token, attempt_digest)):
        return Verdict.RETRY
    if behind > 1 and (
        under_way > since_rotation(family, now)
        or (
            since_rotation(family, now) < LATE_COPY
            and repeats_its_rotation(family, token, attempt_digest)
        )
    ):
        return Verdict.OVERTAKEN
    return Verdict.REUSED


def repeats_its_rotation(family: FamilyState, token: RefreshToken, attempt_digest: bytes) -> bool:
    """Whether a spent token comes with the Idempotency-Key that it was spent with, at any time."""
    behind = family.generation - token.generation
    if behind == 1:
        return hmac.compare_digest(family.attempt_digest or b"", attempt_digest)
    begins = (behind - 2) * EARLIER_DIGEST
    spent_with = (family.earlier_attempts or b"")[begins : begins + EARLIER_DIGEST]
    return behind > 1 and hmac.compare_digest(spent_with, attempt_digest[:EARLIER_DIGEST])


def since_rotation(family: FamilyState, now: datetime) -> timedelta:
    """The time since the last rotation; a clock that was set back counts as no time."""
    return max(now - family.rotated_at, timedelta(0))
