"""The keys of one issuer, and how long a request waits for one that has to be fetched."""

from __future__ import annotations

import asyncio
import ssl
from concurrent import futures
from datetime import timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from authsvc_client.clock import Clock
from authsvc_client.tokens.access_token import LEEWAY
from authsvc_client.verifier.key_cache import Flight, KeyCache
from authsvc_client.verifier.key_file import KeyFile
from authsvc_client.verifier.key_source import KeySource


class IssuerKeys:
    """
    The keys of one issuer, and how long to wait for them.

    Args:
        timeout: For each request to the issuer, as a whole.

    Raises:
        ValueError: An argument makes no sense; the text says which and why.
    """

    def __init__(
        self,
        *,
        issuer: str,
        jwks_uri: str | None,
        key_file: Path | str | None,
        timeout: timedelta,
        ssl_context: ssl.SSLContext | None,
        clock: Clock,
    ) -> None:
        if timeout <= timedelta(0):
            raise ValueError(f"timeout must be longer than nothing: {timeout}")
        source = KeySource(
            issuer=issuer, jwks_uri=jwks_uri, timeout=timeout, ssl_context=ssl_context
        )
        # A fetch is two requests at most. Whoever gives up waiting leaves it to go on.
        self._patience = 2 * timeout.total_seconds()
        self.keys = KeyCache(
            lambda etag, past_caches: source.fetch(etag, past_caches=past_caches),
            clock=clock,
            file=None if key_file is None else KeyFile(Path(key_file), issuer=issuer),
        )

    async def key(self, kid: str) -> RSAPublicKey:
        """
        The issuer's key of that name; fetched if it is not held.

        Raises:
            UnknownKey: The issuer publishes none.
            KeysUnavailable: Nobody can say.
        """
        key = self.keys.find(kid)
        if key is not None:
            return key
        flight = self.keys.fetch_for(kid)
        if flight is not None:
            await self.wait(flight)
        return self._fetched(kid, waited=flight is not None)

    def key_sync(self, kid: str) -> RSAPublicKey:
        """
        As `key`, for threads: it blocks where that one waits.

        Raises:
            UnknownKey, KeysUnavailable: See `key`.
        """
        key = self.keys.find(kid)
        if key is not None:
            return key
        flight = self.keys.fetch_for(kid)
        if flight is not None:
            self.block(flight)
        return self._fetched(kid, waited=flight is not None)

    async def wait(self, flight: Flight) -> None:
        """Wait for a fetch (single flight); a caller that is cancelled leaves it to the others."""
        await asyncio.wait({asyncio.wrap_future(flight)}, timeout=self._patience)

    def block(self, flight: Flight) -> None:
        """As `wait`, for threads."""
        try:
            flight.result(self._patience)
        except futures.TimeoutError:
            return  # the key is not there then, and that is said

    def _fetched(self, kid: str, *, waited: bool) -> RSAPublicKey:
        key = self.keys.find(kid)
        if key is None:
            raise self.keys.refusal(kid, fetched=waited)
        return key


def check_leeway(leeway: timedelta) -> None:
    """
    Refuse more leeway than our tokens allow for.

    Raises:
        ValueError: It is negative, or over 30 s.
    """
    if not timedelta(0) <= leeway <= LEEWAY:
        raise ValueError(f"leeway must be 0 to {LEEWAY.total_seconds():g} s: {leeway}")
