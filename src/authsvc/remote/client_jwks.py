"""
A cache of the keys that clients publish (`jwks_uri`, RFC 7591 §2): single flight, stale for a day.

- A set is used for 5 minutes, then renewed; while that fails, the old one is used for a day.
- An unknown `kid` makes one fetch, which all requests meanwhile share.
- A set is fetched at most once a minute, so that forged assertions cannot cause more requests
  to another server.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from authsvc.protocol.client_keys import BadKeySet, ClientKey, find_key, read_jwks
from authsvc.protocol.oauth_errors import ClientKeysUnavailable
from authsvc.remote.fetch import RemoteFetchFailed

log = logging.getLogger("authsvc.remote")

FRESH = timedelta(minutes=5)
USABLE = timedelta(days=1)
BETWEEN_FETCHES = timedelta(minutes=1)
# As long as there is nothing to fall back on, its owner should not wait longer than that.
BETWEEN_FIRST_FETCHES = timedelta(seconds=10)
MAX_SETS = 1024  # beyond that the one that was asked for first is forgotten

Fetch = Callable[[str], Awaitable[bytes]]


@dataclass(slots=True)
class _CachedKeySet:
    """One key set; `tried_at` is when a fetch last began."""

    keys: tuple[ClientKey, ...] = ()
    fetched_at: datetime | None = None
    tried_at: datetime | None = None
    flight: asyncio.Task[None] | None = None

    def is_younger(self, age: timedelta, now: datetime) -> bool:
        return self.fetched_at is not None and now - self.fetched_at < age

    def is_due(self, now: datetime) -> bool:
        usable = self.is_younger(USABLE, now)
        pause = BETWEEN_FETCHES if usable else BETWEEN_FIRST_FETCHES
        return self.tried_at is None or now - self.tried_at >= pause


class RemoteKeys:
    """The key sets of one process."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self._sets: dict[tuple[str, str], _CachedKeySet] = {}

    async def find(self, uri: str, *, alg: str, kid: str | None, now: datetime) -> ClientKey | None:
        """
        The key of that name; without a name, the only one.

        Args:
            alg: The algorithm of the client's registration.

        Raises:
            ClientKeysUnavailable: There is no set to look in.
        """
        cached = self._cached(uri, alg)
        key = find_key(cached.keys, kid)
        if key is None or not cached.is_younger(FRESH, now):
            await self._renew(cached, uri, alg, now)
            key = find_key(cached.keys, kid)
        if not cached.is_younger(USABLE, now):
            raise ClientKeysUnavailable("jwks_uri", retry_after=BETWEEN_FIRST_FETCHES)
        return key

    def close(self) -> None:
        """Give up what is under way."""
        for cached in self._sets.values():
            if cached.flight is not None:
                cached.flight.cancel()

    def _cached(self, uri: str, alg: str) -> _CachedKeySet:
        cached = self._sets.setdefault((uri, alg), _CachedKeySet())
        if len(self._sets) > MAX_SETS:
            del self._sets[next(iter(self._sets))]
        return cached

    async def _renew(self, cached: _CachedKeySet, uri: str, alg: str, now: datetime) -> None:
        if cached.flight is None:
            if not cached.is_due(now):
                return
            cached.tried_at = now
            cached.flight = asyncio.create_task(self._fly(cached, uri, alg, now))
        # Whoever asked first may go away; the others still wait for it.
        await asyncio.shield(cached.flight)

    async def _fly(self, cached: _CachedKeySet, uri: str, alg: str, now: datetime) -> None:
        try:
            cached.keys = read_jwks((await self._fetch(uri)).decode("utf-8"), alg=alg)
            cached.fetched_at = now
        except UnicodeDecodeError:
            log.warning("the keys at %s could not be fetched: not UTF-8", uri)
        except (RemoteFetchFailed, BadKeySet) as exc:
            # Both in our own words: no byte of the other server reaches the log.
            log.warning("the keys at %s could not be fetched: %s", uri, exc)
        finally:
            cached.flight = None
