"""
A cache of one issuer's keys: single flight, stale-while-revalidate (RFC 5861), back-off.

- A known key is never waited for. When its set has grown old, a thread fetches a newer one.
- An unknown `kid` makes one fetch, which all callers share (single flight); then none for a
  minute on behalf of unknown kids, whichever they are.
- A `kid` that a fetch did not bring is remembered, longer each time.
- Only a good key set replaces a key set. Failures back off for 1, 2, 4 … 60 seconds.

The fetch runs in a thread of its own: whoever started it may be cancelled, its event loop may
end, and threads and event loops of one process share it.
"""

from __future__ import annotations

import logging
import os
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Lock, Thread

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from authsvc_client.clock import Clock
from authsvc_client.https import FetchFailed
from authsvc_client.tokens.errors import AccessRefused, UnknownKey
from authsvc_client.verifier.errors import KeysUnavailable
from authsvc_client.verifier.key_file import KeyFile
from authsvc_client.verifier.key_set import KeySet
from authsvc_client.verifier.key_source import KeySource

log = logging.getLogger("authsvc_client.verifier")

COOL_DOWN = 60.0  # seconds between two fetches for the sake of unknown kids
MAX_BACK_OFF = 60.0  # seconds between two attempts while authsvc is away
MAX_ABSENT = 900.0  # seconds for which the news of an absent kid is believed
MAX_KIDS = 1024  # absent kids that are remembered; a flood pushes out the oldest

Flight = Future[None]


@dataclass(frozen=True)
class CachedKeySet:
    """A good key set; `fetched_when` is of the monotonic clock."""

    key_set: KeySet
    fetched_at: datetime
    fetched_when: float

    def is_fresh(self, time: float) -> bool:
        """Whether it is used as it is."""
        return time < self.fetched_when + self.key_set.freshness.fresh.total_seconds()

    def is_usable(self, time: float) -> bool:
        """Whether it is used though no newer one could be had."""
        return time < self.fetched_when + self.key_set.freshness.usable.total_seconds()


@dataclass(frozen=True)
class KeyStatus:
    """
    What a verifier holds, for a health page.

    Args:
        kids: The names of its keys; empty before the first fetch.
        fetched_at: When authsvc last confirmed them.
        usable: Whether tokens can be verified without the network.
        failure: Why the last fetch failed; None if it did not.
    """

    kids: tuple[str, ...]
    fetched_at: datetime | None
    usable: bool
    failure: str | None


class AbsentKids:
    """Kids that authsvc was asked for in vain, and until when that is believed."""

    def __init__(self) -> None:
        self._until: dict[str, tuple[float, float]] = {}

    def has(self, kid: str, time: float) -> bool:
        """Whether asking again would be too early."""
        return kid in self._until and time < self._until[kid][0]

    def note(self, kid: str, time: float) -> None:
        """Believe it for a minute, then for two, four, up to a quarter of an hour."""
        if self.has(kid, time):
            return
        _, span = self._until.pop(kid, (0.0, COOL_DOWN / 2))
        span = min(2 * span, MAX_ABSENT)
        self._until[kid] = (time + span, span)
        if len(self._until) > MAX_KIDS:
            del self._until[next(iter(self._until))]


class KeyCache:
    """
    The keys of one issuer; safe to use from any thread.

    Args:
        file: Where the last good key set is kept for a start without authsvc.
    """

    def __init__(self, source: KeySource, *, clock: Clock, file: KeyFile | None) -> None:
        self._source = source
        self._clock = clock
        self._file = file
        self._lock = Lock()
        self._cached = None if file is None else self._from_file(file)
        self._flight: Flight | None = None
        self._flight_of = 0  # the process: threads do not survive a fork
        self._absent = AbsentKids()
        self._failures = 0
        self._failure: str | None = None
        self._retry_at = 0.0
        self._unknown_at = 0.0

    def find(self, kid: str) -> RSAPublicKey | None:
        """The key of that name if it is held; starts a fetch if its set is old, without waiting."""
        time = self._clock.monotonic()
        cached = self._usable(time)
        if cached is None:
            return None
        key = cached.key_set.keys.get(kid)
        if key is not None and not cached.is_fresh(time):
            self._renew(time)
        return key

    def fetch_for(self, kid: str) -> Flight | None:
        """
        A fetch that may bring this key, to be waited for; None if none is due.

        Ask `find` again afterwards, and `refusal` if it still knows nothing.
        """
        with self._lock:
            time = self._clock.monotonic()
            cached = self._usable(time)
            if cached is None:
                return self._under_way() or (
                    self._start(past_caches=False) if time >= self._retry_at else None
                )
            if kid in cached.key_set.keys or self._absent.has(kid, time):
                return None
            flight = self._under_way()
            if flight is None and time >= self._unknown_at:
                self._unknown_at = time + COOL_DOWN
                # The answer that a cache on the way holds may be as old as ours.
                flight = self._start(past_caches=True)
            return flight

    def fetch_now(self) -> Flight | None:
        """A fetch for a start-up that wants to have keys; None if they are there."""
        with self._lock:
            time = self._clock.monotonic()
            if self._usable(time) is not None:
                return None
            return self._under_way() or self._start(past_caches=False)

    def fetch_again(self) -> Flight:
        """Fetch for a document of the issuer itself, even while unknown kids are throttled."""
        with self._lock:
            return self._under_way() or self._start(past_caches=True)

    def refusal(self, kid: str, *, fetched: bool) -> AccessRefused:
        """
        Why a token with an unknown `kid` is refused: no such key, or it cannot be fetched.

        Args:
            fetched: Whether a fetch was waited for on its behalf.
        """
        with self._lock:
            time = self._clock.monotonic()
            if self._usable(time) is None or self._failure is not None:
                return self._unavailable(time)
            if fetched:
                self._absent.note(kid, time)
            return UnknownKey()

    def unavailable(self) -> KeysUnavailable | None:
        """Why no token can be verified; None if that is not so."""
        with self._lock:
            time = self._clock.monotonic()
            return None if self._usable(time) is not None else self._unavailable(time)

    def status(self) -> KeyStatus:
        """What is held, for a health page."""
        cached = self._cached
        return KeyStatus(
            kids=() if cached is None else tuple(cached.key_set.keys),
            fetched_at=None if cached is None else cached.fetched_at,
            usable=self._usable(self._clock.monotonic()) is not None,
            failure=self._failure,
        )

    def _renew(self, time: float) -> None:
        with self._lock:
            if self._under_way() is None and time >= self._retry_at:
                self._start(past_caches=False)

    def _usable(self, time: float) -> CachedKeySet | None:
        cached = self._cached
        return cached if cached is not None and cached.is_usable(time) else None

    def _under_way(self) -> Flight | None:
        return self._flight if self._flight_of == os.getpid() else None

    def _start(self, *, past_caches: bool) -> Flight:
        """Begin a fetch; the lock is held."""
        flight: Flight = Future()
        # So that nobody who gives up waiting can cancel it for the others.
        flight.set_running_or_notify_cancel()
        self._flight, self._flight_of = flight, os.getpid()
        known = None if self._cached is None else self._cached.key_set
        thread = Thread(
            target=self._run, args=(flight, known, past_caches), name="authsvc-keys", daemon=True
        )
        try:
            thread.start()
        except RuntimeError as exc:
            # The process has too many threads, or is ending.
            self._flight, self._failure = None, str(exc)
            flight.set_result(None)
        return flight

    def _run(self, flight: Flight, known: KeySet | None, past_caches: bool) -> None:  # noqa: FBT001 - of a thread
        try:
            fetched = self._source.fetch(known, past_caches=past_caches)
        except FetchFailed as exc:
            self._failed(str(exc))
        except Exception:
            # Whatever went wrong, those who wait must be told.
            log.exception("fetching the keys failed in an unexpected way")
            self._failed("defect")
        else:
            self._succeeded(fetched)
        finally:
            flight.set_result(None)

    def _failed(self, cause: str) -> None:
        with self._lock:
            back_off = min(2.0 ** min(self._failures, 6), MAX_BACK_OFF)
            self._failures += 1
            self._failure = cause
            self._retry_at = self._clock.monotonic() + back_off
            self._flight = None
        log.warning("the keys could not be fetched: %s", cause)

    def _succeeded(self, fetched: KeySet) -> None:
        with self._lock:
            now, before = self._clock.now(), self._cached
            self._flight = None
            self._failures, self._failure, self._retry_at = 0, None, 0.0
            self._cached = CachedKeySet(fetched, now, self._clock.monotonic())
        if before is None or before.key_set.keys.keys() != fetched.keys.keys():
            log.info("the keys of the issuer are now %s", ", ".join(fetched.keys))
        if self._file is not None and fetched.freshness.storable:
            self._file.write(fetched, now=now)

    def _from_file(self, file: KeyFile) -> CachedKeySet | None:
        now, time = self._clock.now(), self._clock.monotonic()
        found = file.read(now=now)
        if found is None:
            return None
        key_set, fetched_at = found
        return CachedKeySet(key_set, fetched_at, time - (now - fetched_at).total_seconds())

    def _unavailable(self, time: float) -> KeysUnavailable:
        wait = max(self._retry_at - time, 1.0)
        return KeysUnavailable(
            f"no keys: {self._failure or 'the fetch has not ended'}",
            retry_after=timedelta(seconds=wait),
        )
