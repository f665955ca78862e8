"""The clock of a client, and how it waits; tests bring another, and do not."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone
from typing import Protocol


class Clock(Protocol):
    """What time it is, how much of it has passed, and a pause."""

    def now(self) -> datetime:
        """The time of day, aware and in UTC: against it tokens expire."""

    def monotonic(self) -> float:
        """Seconds from some moment on, never set back: by it key sets age."""

    def pause(self, span: timedelta) -> None:
        """Let some of it pass; a verifier never does."""


class SystemClock:
    """The clock of this machine."""

    def now(self) -> datetime:
        """The time of day."""
        return datetime.now(timezone.utc)

    def monotonic(self) -> float:
        """Seconds since some moment."""
        return time.monotonic()

    def pause(self, span: timedelta) -> None:
        """Sleep."""
        time.sleep(span.total_seconds())
