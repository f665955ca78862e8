"""What all verifiers have: an issuer, its keys, and a wait for those that must be fetched."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Generator
from concurrent import futures
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from authsvc_client.clock import Clock, SystemClock
from authsvc_client.https import Transfer
from authsvc_client.tokens.access_token import LEEWAY
from authsvc_client.verifier.key_cache import Flight, KeyCache
from authsvc_client.verifier.key_file import KeyFile
from authsvc_client.verifier.key_source import KeySource

T = TypeVar("T")
Steps = Generator[Flight, None, T]
"""Work that yields each fetch it has to wait for: one text for event loops and for threads."""

TIMEOUT = timedelta(seconds=3)


class IssuerVerifier:
    """
    The base of verifiers; its arguments are those of TokenVerifier.

    Raises:
        ValueError: An argument makes no sense; the text says which and why.
    """

    def __init__(
        self,
        *,
        issuer: str,
        jwks_uri: str | None,
        key_file: Path | str | None,
        leeway: timedelta,
        timeout: timedelta,
        ssl_context: ssl.SSLContext | None,
        clock: Clock | None,
    ) -> None:
        if not timedelta(0) <= leeway <= LEEWAY:
            raise ValueError(f"leeway must be 0 to {LEEWAY.total_seconds():g} s: {leeway}")
        if timeout <= timedelta(0):
            raise ValueError(f"timeout must be longer than nothing: {timeout}")
        self._transfer = Transfer(timeout=timeout, ssl_context=ssl_context)
        self.issuer = issuer
        self._leeway = leeway
        self._clock = clock or SystemClock()
        # A fetch is two requests at most. Whoever gives up waiting leaves it to go on.
        self._patience = 2 * timeout.total_seconds()
        self._keys = KeyCache(
            KeySource(issuer=issuer, jwks_uri=jwks_uri, transfer=self._transfer),
            clock=self._clock,
            file=None if key_file is None else KeyFile(Path(key_file), issuer=issuer),
        )

    def _key(self, kid: str) -> Steps[RSAPublicKey]:
        """
        The issuer's key of that name; fetched if it is not held.

        Raises:
            UnknownKey: The issuer publishes none.
            KeysUnavailable: Nobody can say.
        """
        key = self._keys.find(kid)
        if key is None:
            flight = self._keys.fetch_for(kid)
            if flight is not None:
                yield flight
            key = self._keys.find(kid)
            if key is None:
                raise self._keys.refusal(kid, fetched=flight is not None)
        return key

    async def _wait(self, steps: Steps[T]) -> T:
        """Wait for fetches (single flight); who is cancelled leaves them to the others."""
        try:
            while True:
                await asyncio.wait({asyncio.wrap_future(next(steps))}, timeout=self._patience)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]

    def _block(self, steps: Steps[T]) -> T:
        """As `_wait`, for threads."""
        try:
            while True:
                flight = next(steps)
                with suppress(futures.TimeoutError):  # the key is not there then, and that is said
                    flight.result(self._patience)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
