"""How long a fetched key set may be used (RFC 9111 §4.2, RFC 5861)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

# Where the answer says nothing; what authsvc says.
DEFAULT_MAX_AGE = 300
DEFAULT_STALE = 86_400

# Whatever the answer says: not more often than this, so that no request causes a fetch each ...
MIN_FRESH = timedelta(seconds=10)
# ... and at least so much longer, so that nobody waits for the network with a known key ...
MIN_STALE = timedelta(minutes=10)
# ... and not for ever: a key that was revoked must be forgotten.
MAX_FRESH = timedelta(hours=24)
MAX_USABLE = timedelta(days=7)

MAX_DIGITS = 10  # of a number of seconds


@dataclass(frozen=True)
class Freshness:
    """
    The two ages of a key set, counted from when it was fetched.

    Args:
        fresh: Until then it is used as it is; afterwards while a newer one is fetched.
        usable: Until then it is used though no newer one could be had.
        storable: Whether it may be written to a disk.
    """

    fresh: timedelta
    usable: timedelta
    storable: bool = True


def freshness(cache_control: str, age: str = "") -> Freshness:
    """
    What Cache-Control allows: max-age, stale-while-revalidate, stale-if-error, no-cache, no-store.

    Args:
        cache_control: The header's value; empty without one.
        age: The Age header: how long a cache on the way has held the answer, in seconds.
    """
    said: dict[str, int | None] = {}
    # Cut up, without a pattern: what another server sends must not cost more than its length.
    for part in cache_control.lower().split(","):
        name, equals, value = part.partition("=")
        seconds = _number(value.strip().removeprefix('"').removesuffix('"'))
        if not equals or seconds is not None:  # else malformed, so that it says nothing
            said.setdefault(name.strip(), seconds)
    max_age = _seconds(said, "max-age", DEFAULT_MAX_AGE)
    stale = (
        max(_seconds(said, "stale-while-revalidate", 0), _seconds(said, "stale-if-error", 0))
        if {"max-age", "stale-while-revalidate", "stale-if-error"} & set(said)
        else DEFAULT_STALE
    )
    in_caches = _number(age) or 0
    fresh = timedelta(seconds=0 if "no-cache" in said else max(max_age - in_caches, 0))
    usable = timedelta(seconds=max(max_age + stale - in_caches, 0))
    fresh = min(max(fresh, MIN_FRESH), MAX_FRESH)
    return Freshness(
        fresh=fresh,
        usable=min(max(usable, fresh + MIN_STALE), MAX_USABLE),
        storable="no-store" not in said,
    )


def _number(text: str) -> int | None:
    """A non-negative integer of at most MAX_DIGITS digits (RFC 9111 §1.2.2); None if it is none."""
    return int(text) if len(text) <= MAX_DIGITS and text.isascii() and text.isdigit() else None


def _seconds(said: dict[str, int | None], name: str, default: int) -> int:
    """A directive without a number it should have counts as zero (RFC 9111 §4.2.1)."""
    return (said[name] or 0) if name in said else default
