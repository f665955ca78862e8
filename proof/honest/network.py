"""Networks and the people on them: every probability and delay of the simulation, in one table."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from proof.honest.rules import SECOND


@dataclass(frozen=True, slots=True)
class Profile:
    """
    A network, for each request by itself.

    Args:
        request_lost: The chance that it never arrives.
        answer_lost: The chance that its answer never arrives.
        twice: The chance that it arrives a second time, by another delay.
        slow: The chance that a way is slow.
        delay: Milliseconds that a way takes, from and to.
        slow_delay: The same of a slow one.
        crashes: The chance that the browser crashes while it is used once; its cookies are then
            as of the last flush.
    """

    request_lost: float
    answer_lost: float
    twice: float
    slow: float
    delay: tuple[int, int]
    slow_delay: tuple[int, int]
    crashes: float

    def way(self, random: Random) -> int:
        """How long one way takes; requests and answers overtake one another by it."""
        return random.randint(*(self.slow_delay if random.random() < self.slow else self.delay))


PROFILES = {
    "calm": Profile(
        request_lost=0.0005,
        answer_lost=0.0005,
        twice=0.0001,
        slow=0.002,
        delay=(5, 60),
        slow_delay=(200, 2_000),
        crashes=0.02,
    ),
    "mobile": Profile(
        request_lost=0.02,
        answer_lost=0.02,
        twice=0.005,
        slow=0.05,
        delay=(30, 400),
        slow_delay=(1_000, 9_000),
        crashes=0.1,
    ),
    "awful": Profile(
        request_lost=0.15,
        answer_lost=0.2,
        twice=0.05,
        slow=0.2,
        delay=(50, 1_500),
        slow_delay=(2_000, 45_000),
        crashes=0.3,
    ),
}

# A browser writes its cookies to the disk now and then (Chromium: every 30 s).
FLUSH = 30 * SECOND
RESTART = (5 * SECOND, 120 * SECOND)  # from a crash until the tabs are back

# A person: on most days one to three times, five minutes to an hour and a half, some tabs.
DAY = 24 * 3600 * SECOND
DAYS = 28  # less than any session lives
ACTIVE_DAY = 0.85
TIMES_A_DAY = (1, 3)
LENGTH = (5 * 60 * SECOND, 90 * 60 * SECOND)
TABS = (1, 4)

# A client asks for a new access token half a minute before the old one ends, and asks again
# when none came for six seconds (the service promises five), then less and less often.
ACCESS = 900 * SECOND
MARGIN = 30 * SECOND
TIMEOUT = 6 * SECOND
PAUSES = tuple(seconds * SECOND for seconds in (1, 2, 4, 8, 15, 30))
