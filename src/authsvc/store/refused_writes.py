"""
Writes that the disk refused, as SQLSTATE 53100 says: what no setting of the server tells.

Two things tell it: any statement that failed so a moment ago, and a trial, which writes some
blocks to a temporary file. That needs space where the tables do, costs 2 ms and leaves nothing
behind: no dead row, no write-ahead log.
"""

from __future__ import annotations

import time
from collections.abc import Callable

# Long enough for the next look of a load balancer, short enough to come back soon.
REMEMBERED = 10.0  # seconds
# However often `/readyz` is asked, and by whomever.
TRIAL_INTERVAL = 5.0  # seconds
# A function's rows go to a temporary file when they need more than work_mem, here the smallest.
TRIAL = (
    "SET LOCAL work_mem = '64kB'",
    "SELECT count(*) FROM generate_series(1, 10000)",
)
CAUSES = {
    "53100": "refuses writes, since its disk is full: free space or enlarge it",
    "58030": "cannot use its disk (an I/O error): see its log and replace the disk",
}


class RefusedWrites:
    """
    What a process has seen of them.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._cause = ""
        self._seen = self._tried = -float("inf")

    def note(self, sqlstate: str) -> None:
        """A statement has failed; other causes than the disk are nothing to remember."""
        if sqlstate in CAUSES:
            self._cause, self._seen = CAUSES[sqlstate], self._clock()

    def cause(self) -> str | None:
        """Why a write would be refused, and what to do after a colon; None if it would not."""
        return self._cause if self._clock() - self._seen < REMEMBERED else None

    def begin_trial(self) -> bool:
        """Whether a trial write is due; the caller that is told so makes it."""
        due = self._clock() - self._tried >= TRIAL_INTERVAL
        if due:
            self._tried = self._clock()
        return due
