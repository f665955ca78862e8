"""The clock of a client, and how it waits; tests bring another, and do not."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone
from typing import Protocol


class Clock(Protocol):
    """What time it is, and a pause."""

    def now(self) -> datetime:
        """The time of day, aware and in UTC."""

    def pause(self, span: timedelta) -> None:
        """Let some of it pass."""


class SystemClock:
    """The clock of this machine."""

    def now(self) -> datetime:
        """The time of day."""
        return datetime.now(timezone.utc)

    def pause(self, span: timedelta) -> None:
        """Sleep."""
        time.sleep(span.total_seconds())
