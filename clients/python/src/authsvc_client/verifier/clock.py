"""The two clocks of a verifier; tests bring others, and nothing sleeps."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from typing import Protocol


class Clock(Protocol):
    """What time it is, and how much of it has passed."""

    def now(self) -> datetime:
        """The time of day, aware and in UTC: against it tokens expire."""

    def monotonic(self) -> float:
        """Seconds from some moment on, never set back: by it key sets age."""


class SystemClock:
    """The clocks of this machine."""

    def now(self) -> datetime:
        """The time of day."""
        return datetime.now(timezone.utc)

    def monotonic(self) -> float:
        """Seconds since some moment."""
        return time.monotonic()
