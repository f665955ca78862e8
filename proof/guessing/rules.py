"""What others do against guessing, simplified; of the defaults only GoTrue's was looked up."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from authsvc.protocol.throttle import Bucket

NO_TIME = timedelta(0)
FOR_GOOD = timedelta(days=365)
PER_ADDRESS = Bucket(30, timedelta(seconds=2))  # GoTrue: 150 in 5 minutes, 30 at once


@dataclass(frozen=True, slots=True)
class Try:
    """
    One login that is asked for.

    Args:
        device: Of a browser that has logged this account in before.
        right: Whether the password is.
    """

    at: datetime
    account: str
    network: str
    device: str | None
    right: bool


class Rule(Protocol):
    """Decides which attempts are tried."""

    def attempt(self, tried: Try) -> timedelta | None:
        """None if the password was tried; else after what time it would be."""

    def remember(self, account: str, network: str, now: datetime) -> None:
        """The account signed in from there before the simulation began."""


class Forgetful:
    """A rule that does not care where an account has signed in from."""

    def remember(self, account: str, network: str, now: datetime) -> None:
        """Nothing."""


@dataclass
class GoTrue(Forgetful):
    """Every request for a token, right or wrong, by address: 150 in 5 minutes, 30 at once."""

    empty_at: dict[str, datetime] = field(default_factory=dict)

    def attempt(self, tried: Try) -> timedelta | None:
        """By address."""
        begins = max(self.empty_at.get(tried.network, tried.at), tried.at)
        wait = begins + PER_ADDRESS.leak - PER_ADDRESS.burst - tried.at
        if wait > NO_TIME:
            return wait
        self.empty_at[tried.network] = begins + PER_ADDRESS.leak
        return None


@dataclass
class Failures:
    """Of one account, for Keycloak."""

    count: int = 0
    last: datetime | None = None
    locked_until: datetime | None = None


@dataclass
class Keycloak(Forgetful):
    """
    Brute force detection, temporary lockout: by account, whoever asks.

    30 failures lock it for a minute, each further 30 for one more, at most 15; two within a second
    for a minute. Forgotten after 12 hours without a failure, and by a right password.
    """

    accounts: defaultdict[str, Failures] = field(default_factory=lambda: defaultdict(Failures))

    def attempt(self, tried: Try) -> timedelta | None:
        """By account."""
        now, failures = tried.at, self.accounts[tried.account]
        if failures.locked_until is not None and failures.locked_until > now:
            return failures.locked_until - now
        if tried.right:
            del self.accounts[tried.account]
            return None
        since = FOR_GOOD if failures.last is None else now - failures.last
        failures.count = 1 if since > timedelta(hours=12) else failures.count + 1
        failures.last = now
        minutes = min(failures.count // 30, 15)
        if not minutes and since < timedelta(seconds=1):
            minutes = 1
        failures.locked_until = now + timedelta(minutes=minutes)
        return None


@dataclass
class DjangoAxes(Forgetful):
    """By address: three failures, whoever failed, lock it until an administrator resets it."""

    failures: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))

    def attempt(self, tried: Try) -> timedelta | None:
        """By address."""
        if self.failures[tried.network] >= 3:
            return FOR_GOOD
        self.failures[tried.network] += not tried.right
        return None
