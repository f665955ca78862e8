"""A check that needs one of the issuer's keys: it is made again when the key had to be fetched."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from authsvc_client.tokens.access_token import LEEWAY
from authsvc.protocol.errors import Unauthenticated
from authsvc_client.verifier.clock import Clock
from authsvc_client.verifier.errors import BY_DETAIL
from authsvc_client.verifier.key_cache import Flight, KeyCache
from authsvc_client.verifier.key_file import KeyFile
from authsvc_client.verifier.key_source import KeySource

T = TypeVar("T")
PublicKey = Callable[[str], RSAPublicKey | None]
"""The key of that `kid`, if it is known."""
Check = Callable[[PublicKey], T]
"""What a token says; raises Unauthenticated, with `unknown_kid` where its key is not known."""


class WithKeys:
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

    async def make(self, check: Check[T]) -> T:
        """
        Make a check, and once again if its key had to be fetched.

        Raises:
            InvalidToken: What the check found.
            KeysUnavailable: Nobody can say.
        """
        done, kid = self._attempt(check)
        if done is not None:
            return done
        flight = self.keys.fetch_for(kid)
        if flight is not None:
            await self.wait(flight)
        return self._conclude(check, fetched=flight is not None)

    def make_sync(self, check: Check[T]) -> T:
        """
        As `make`, for threads: it blocks where that one waits.

        Raises:
            InvalidToken, KeysUnavailable: See `make`.
        """
        done, kid = self._attempt(check)
        if done is not None:
            return done
        flight = self.keys.fetch_for(kid)
        if flight is not None:
            self.block(flight)
        return self._conclude(check, fetched=flight is not None)

    async def wait(self, flight: Flight) -> None:
        """Wait for a fetch; whoever is cancelled here leaves it to the others."""
        await asyncio.wait({asyncio.wrap_future(flight)}, timeout=self._patience)

    def block(self, flight: Flight) -> None:
        """As `wait`, for threads."""
        try:
            flight.result(self._patience)
        except TimeoutError:
            return  # the second attempt finds no key, and says so

    def _attempt(self, check: Check[T]) -> tuple[T | None, str]:
        """What it found; or None and the `kid` of a key that is not known."""
        asked = ""

        def public_key(kid: str) -> RSAPublicKey | None:
            nonlocal asked
            asked = kid
            return self.keys.find(kid)

        try:
            return check(public_key), asked
        except Unauthenticated as refusal:
            if refusal.detail == "unknown_kid":
                return None, asked
            raise BY_DETAIL[refusal.detail](refusal.detail) from None

    def _conclude(self, check: Check[T], *, fetched: bool) -> T:
        done, kid = self._attempt(check)
        if done is None:
            raise self.keys.refusal(kid, fetched=fetched)
        return done


def check_leeway(leeway: timedelta) -> None:
    """
    Refuse more leeway than our tokens allow for.

    Raises:
        ValueError: It is negative, or over 30 s.
    """
    if not timedelta(0) <= leeway <= LEEWAY:
        raise ValueError(f"leeway must be 0 to {LEEWAY.total_seconds():g} s: {leeway}")
