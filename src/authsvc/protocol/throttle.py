"""
The back-off rule: how long to wait after how many failures.

Counters hold a count and the moment of the last attempt; everything else follows from the two,
so that all replicas agree by reading the same row.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

NO_DELAY = timedelta(0)
# Without a failure for this long, a count starts anew.
FORGET_AFTER = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Counter:
    """
    Consecutive failures of one account, network or device.

    Args:
        last_at: The last counted failure, or the last attempt that was let through since.
    """

    count: int
    last_at: datetime


@dataclass(frozen=True, slots=True)
class Backoff:
    """
    An exponential back-off.

    Args:
        free: Failures without any delay.
        first: The delay after the first failure beyond the free ones; doubles with each.
        cap: The longest delay.
    """

    free: int
    first: timedelta
    cap: timedelta

    def delay(self, count: int) -> timedelta:
        """The time between attempts after `count` failures."""
        beyond = count - self.free
        if beyond < 0:
            return NO_DELAY
        # The shift is bounded, since the cap is reached long before.
        return min(self.first * (1 << min(beyond, 30)), self.cap)

    def wait(self, counter: Counter | None, now: datetime) -> timedelta:
        """How long an attempt must still wait; zero if it may be made now."""
        if counter is None:
            return NO_DELAY
        age = max(now - counter.last_at, NO_DELAY)
        if age >= FORGET_AFTER:
            return NO_DELAY
        return max(self.delay(counter.count) - age, NO_DELAY)

    def exhausted(self, counter: Counter | None, now: datetime) -> bool:
        """Whether the free failures are used up, so that attempts go one at a time."""
        return (
            counter is not None
            and now - counter.last_at < FORGET_AFTER
            and counter.count >= self.free
        )

    def too_many_at_once(self, counter: Counter | None, in_flight: int, now: datetime) -> bool:
        """Whether attempts in flight would use up the free failures, were they all to fail."""
        if in_flight == 0 or self.exhausted(counter, now):
            return False  # beyond the free failures the counter itself admits one at a time
        return _known(counter, now) + in_flight >= self.free


# At most 60 s: a stranger must not be able to lock the owner out (NIST SP 800-63B §3.2.2).
ACCOUNT = Backoff(
    free=5,
    first=timedelta(seconds=1),
    cap=timedelta(seconds=60),
)
# A network may be an office or a carrier's gateway: more patience, but longer delays.
NETWORK = Backoff(
    free=50,
    first=timedelta(seconds=1),
    cap=timedelta(minutes=15),
)
# A device that logged in before; beyond this it is treated like any other.
DEVICE_ALLOWANCE = 10

REGISTRATION_WINDOW = timedelta(minutes=1)


def device_is_trusted(counter: Counter | None, now: datetime, *, in_flight: int = 0) -> bool:
    """Whether a known device still has failures left of its own allowance."""
    return _known(counter, now) + in_flight < DEVICE_ALLOWANCE


def _known(counter: Counter | None, now: datetime) -> int:
    return counter.count if counter and now - counter.last_at < FORGET_AFTER else 0
