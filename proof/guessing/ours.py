"""Our throttle (decision 0018) without a database; a test proves it equal to the SQL."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice

from authsvc.protocol.throttle import (
    COUNTED_FOR,
    KNOWN_NETWORK_LIFE,
    MAX_KNOWN_NETWORKS,
    STRANGERS_WINDOW,
    Bucket,
    Limits,
    Way,
)
from proof.guessing.rules import Try

NO_TIME = timedelta(0)
AT_ONCE = timedelta(seconds=1)
Key = tuple[str, ...]


@dataclass
class Ours:
    """
    The buckets of every account, device and network.

    Args:
        empty_at: When a bucket will be empty.
        strangers: When strangers failed at an account, the newest last.
        failed: Which accounts failed from a network, and when, the newest last.
        known: The networks that an account signed in from, and when, the newest last.
    """

    limits: Limits = field(default_factory=Limits)
    empty_at: dict[Key, datetime] = field(default_factory=dict)
    strangers: defaultdict[str, list[datetime]] = field(default_factory=lambda: defaultdict(list))
    failed: defaultdict[str, dict[str, datetime]] = field(default_factory=lambda: defaultdict(dict))
    known: defaultdict[str, dict[str, datetime]] = field(default_factory=lambda: defaultdict(dict))

    def attempt(self, tried: Try) -> timedelta | None:
        """None if the password was tried; else after what time it would be."""
        account, network, now = tried.account, tried.network, tried.at
        logins = self._wait(("logins", account), self.limits.logins, now)
        known = self._known_ways(tried)
        stranger = ("stranger", account, network)
        slow = self._is_slow(network, now)
        waits = {way: self._wait(key, self.limits.known, now) for way, key in known.items()}
        if Way.KNOWN_NETWORK not in known:
            waits[Way.STRANGER] = max(
                self._wait(stranger, self.limits.stranger, now),
                self._day_wait(account, now),
                self._left(("network", network), now) if slow else NO_TIME,
            )
        way = min((way for way, wait in waits.items() if wait <= NO_TIME), default=None)
        if way is None or logins > NO_TIME:
            return max(min(waits.values()), logins, AT_ONCE)
        bucket, key = self.limits.bucket(way), known.get(way, stranger)
        self._take(key, bucket, now)
        if way is Way.STRANGER:
            day = [at for at in self.strangers[account] if at > now - STRANGERS_WINDOW]
            self.strangers[account] = [*day, now]
            if slow:
                self.empty_at["network", network] = now + self.limits.slowed.leak
        if tried.right:
            self._succeed(tried, way, key, bucket)
        elif way is Way.STRANGER:
            self.failed[network].pop(account, None)
            self.failed[network][account] = now
        return None

    def remember(self, account: str, network: str, now: datetime) -> None:
        """The account has signed in from there."""
        networks = self.known[account]
        networks.pop(network, None)
        networks[network] = now
        for oldest in list(networks)[:-MAX_KNOWN_NETWORKS]:
            del networks[oldest]

    def _known_ways(self, tried: Try) -> dict[Way, Key]:
        ways: dict[Way, Key] = {}
        if tried.device:
            ways[Way.KNOWN_DEVICE] = ("device", tried.account, tried.device)
        signed_in = self.known[tried.account].get(tried.network)
        if signed_in is not None and signed_in > tried.at - KNOWN_NETWORK_LIFE:
            ways[Way.KNOWN_NETWORK] = ("known", tried.account, tried.network)
        return ways

    def _succeed(self, tried: Try, way: Way, key: Key, bucket: Bucket) -> None:
        """A right password pays back what its way had lost."""
        lost = bucket.level(self.empty_at[key], tried.at)
        self.empty_at[key] -= bucket.leak * lost
        if way is Way.STRANGER:
            day = self.strangers[tried.account]
            del day[len(day) - min(lost, len(day)) :]
            self.failed[tried.network].pop(tried.account, None)
        self._take(("logins", tried.account), self.limits.logins, tried.at)
        self.remember(tried.account, tried.network, tried.at)

    def _left(self, key: Key, now: datetime) -> timedelta:
        return max(self.empty_at.get(key, now) - now, NO_TIME)

    def _wait(self, key: Key, bucket: Bucket, now: datetime) -> timedelta:
        return self._left(key, now) + bucket.leak - bucket.burst

    def _take(self, key: Key, bucket: Bucket, now: datetime) -> None:
        self.empty_at[key] = max(self.empty_at.get(key, now), now) + bucket.leak

    def _day_wait(self, account: str, now: datetime) -> timedelta:
        day = self.strangers[account]
        if len(day) < self.limits.strangers_per_day:
            return NO_TIME
        return day[-self.limits.strangers_per_day] + STRANGERS_WINDOW - now

    def _is_slow(self, network: str, now: datetime) -> bool:
        newest = islice(
            reversed(self.failed[network].values()), self.limits.accounts_per_network, None
        )
        return next(newest, now - COUNTED_FOR) > now - COUNTED_FOR
