"""
Rate limits as leaky buckets: how many failures at once, how fast they leak (decision 0018).

A bucket is stored as the one moment at which it will be empty (GCRA, ITU-T I.371): all replicas
agree by reading the same row, and a conditional upsert both checks and takes.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum

# A network is slowed by the distinct accounts that failed from it in the last hour.
COUNTED_FOR = timedelta(hours=1)
STRANGERS_WINDOW = timedelta(hours=24)
KNOWN_NETWORK_LIFE = timedelta(days=90)
MAX_KNOWN_NETWORKS = 8  # per account


class Way(IntEnum):
    """How an attempt is admitted, in order of preference."""

    KNOWN_DEVICE = 1
    KNOWN_NETWORK = 2
    STRANGER = 3


@dataclass(frozen=True, slots=True)
class Bucket:
    """
    A leaking bucket.

    Args:
        size: What it holds at once.
        leak: The time in which one of them is forgotten.
    """

    size: int
    leak: timedelta

    @property
    def burst(self) -> timedelta:
        """How far in the future a full bucket will be empty."""
        return self.leak * self.size

    def level(self, empty_at: datetime, now: datetime) -> int:
        """How many are not forgotten yet."""
        return max(0, -((now - empty_at) // self.leak))


def per_minute(size: int) -> Bucket:
    """A bucket that forgets in a minute all that it holds."""
    return Bucket(size, timedelta(minutes=1) / size)


@dataclass(frozen=True, slots=True)
class Limits:
    """
    The limits of decision 0018.

    Args:
        known: Failures of a known device, or of the account from a known network.
        stranger: Failures of an account from one network that it has never signed in from.
        strangers_per_day: Failures of an account from all such networks, in any 24 hours.
        accounts_per_network: Distinct accounts that may fail from a network in an hour, before
            it is slowed down to the pace of `slowed`.
        logins: Successful logins of an account.
        registrations: Registrations from a network.
        client_failures: Failures of OAuth clients from a network.
    """

    known: Bucket = Bucket(10, timedelta(minutes=5))
    stranger: Bucket = Bucket(5, timedelta(minutes=1))
    strangers_per_day: int = 100
    accounts_per_network: int = 50
    slowed: Bucket = Bucket(1, timedelta(seconds=2))
    logins: Bucket = Bucket(60, timedelta(seconds=1))
    registrations: Bucket = Bucket(30, timedelta(seconds=2))
    client_failures: Bucket = Bucket(1000, timedelta(milliseconds=60))

    def bucket(self, way: Way) -> Bucket:
        """The bucket that an attempt by this way is taken from."""
        return self.stranger if way is Way.STRANGER else self.known
