"""Verify access tokens of one issuer for one audience (RFC 9068 §4)."""

from __future__ import annotations

import asyncio
import ssl
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from authsvc.protocol.access_token import LEEWAY, verify_access_token
from authsvc.protocol.claims import AccessTokenClaims
from authsvc.protocol.errors import Unauthenticated
from authsvc.verifier.clock import Clock, SystemClock
from authsvc.verifier.errors import BY_DETAIL
from authsvc.verifier.key_cache import Flight, KeyCache, KeyStatus
from authsvc.verifier.key_file import KeyFile
from authsvc.verifier.key_source import KeySource
from authsvc.verifier.revocation_feed import RevocationFeed

TIMEOUT = timedelta(seconds=3)


class Revocations(Protocol):
    """Something that knows of tokens which were revoked before they expired."""

    def check(self, claims: AccessTokenClaims, *, now: datetime) -> None:
        """
        Look at claims that are otherwise valid; at once, without network or disk.

        Raises:
            AccessRefused: The token does not count any more.
        """


class TokenVerifier:
    """
    Says whether an access token is valid, and what it says.

    Build one and keep it: it holds the keys. It may be used from any thread and event loop.

    Args:
        issuer: The exact `iss`, such as ``https://auth.example.com``.
        audience: What must be (in) `aud`: the name of this service; `authsvc` unless the
            issuer's AUTHSVC_AUDIENCE says otherwise.
        jwks_uri: Where the keys are; None looks it up in the issuer's metadata (RFC 8414).
        key_file: Where to keep the last good key set, so that this service can start while
            authsvc is away; None keeps none. It must be a place that only this user can write.
        leeway: Between the issuer's clock and ours, both ways; at most 30 s.
        timeout: For each request to the issuer, as a whole.
        ssl_context: Whom to trust for https; None: the public authorities.
        revocations: Asked after everything else was found good; `RevocationFeed()` follows the
            issuer's feed.
        clock: The machine's; tests bring their own.

    Raises:
        ValueError: An argument makes no sense; the text says which and why.
    """

    def __init__(
        self,
        *,
        issuer: str,
        audience: str,
        jwks_uri: str | None = None,
        key_file: Path | str | None = None,
        leeway: timedelta = LEEWAY,
        timeout: timedelta = TIMEOUT,
        ssl_context: ssl.SSLContext | None = None,
        revocations: Revocations | None = None,
        clock: Clock | None = None,
    ) -> None:
        if not audience:
            raise ValueError("audience is empty: give the name that this service has in `aud`")
        if not timedelta(0) <= leeway <= LEEWAY:
            raise ValueError(f"leeway must be 0 to {LEEWAY.total_seconds():g} s: {leeway}")
        if timeout <= timedelta(0):
            raise ValueError(f"timeout must be longer than nothing: {timeout}")
        source = KeySource(
            issuer=issuer, jwks_uri=jwks_uri, timeout=timeout, ssl_context=ssl_context
        )
        self.issuer = issuer
        self.audience = audience
        self._leeway = leeway
        self._clock = clock or SystemClock()
        self._revocations = revocations
        # A fetch is two requests at most. Whoever gives up waiting leaves it to go on.
        self._patience = 2 * timeout.total_seconds()
        self._keys = KeyCache(
            lambda etag, past_caches: source.fetch(etag, past_caches=past_caches),
            clock=self._clock,
            file=None if key_file is None else KeyFile(Path(key_file), issuer=issuer),
        )
        self._feed = revocations if isinstance(revocations, RevocationFeed) else None
        if self._feed is not None:
            self._feed.attach(
                issuer=issuer,
                keys=self._keys,
                timeout=timeout,
                ssl_context=ssl_context,
                clock=self._clock,
            )

    async def verify(self, token: str) -> AccessTokenClaims:
        """
        The claims of a token that is authentic, meant for this service, and valid now.

        Waits for the network only if the token's key is not known yet, and the first time for
        the revocation feed.

        Raises:
            InvalidToken: It is not; the class says why.
            Unavailable: Nobody can say: authsvc cannot be asked for its keys, or its
                revocations are too old.
        """
        following = self._begin()
        if following is not None:
            await self._wait(following)
        claims, kid = self._attempt(token)
        if claims is not None:
            return claims
        flight = self._keys.fetch_for(kid)
        if flight is not None:
            await self._wait(flight)
        return self._conclude(token, fetched=flight is not None)

    def verify_sync(self, token: str) -> AccessTokenClaims:
        """
        As `verify`, for threads: it blocks where that one waits.

        Raises:
            InvalidToken, Unavailable: See `verify`.
        """
        following = self._begin()
        if following is not None:
            self._block(following)
        claims, kid = self._attempt(token)
        if claims is not None:
            return claims
        flight = self._keys.fetch_for(kid)
        if flight is not None:
            self._block(flight)
        return self._conclude(token, fetched=flight is not None)

    async def prefetch(self) -> None:
        """
        Fetch keys and revocations now, so that no first request has to wait: for a start-up.

        Raises:
            KeysUnavailable: They cannot be had. The verifier goes on trying when it is used.
        """
        for flight in (self._keys.fetch_now(), self._begin()):
            if flight is not None:
                await self._wait(flight)
        self._demand_keys()

    def prefetch_sync(self) -> None:
        """
        As `prefetch`, for programs without an event loop.

        Raises:
            KeysUnavailable: See `prefetch`.
        """
        for flight in (self._keys.fetch_now(), self._begin()):
            if flight is not None:
                self._block(flight)
        self._demand_keys()

    def key_status(self) -> KeyStatus:
        """What keys are held and how old they are, for a health page; asks nobody."""
        return self._keys.status()

    def _attempt(self, token: str) -> tuple[AccessTokenClaims | None, str]:
        """The claims; or None and the `kid` of a key that is not known."""
        asked = ""

        def public_key(kid: str) -> RSAPublicKey | None:
            nonlocal asked
            asked = kid
            return self._keys.find(kid)

        now = self._clock.now()
        try:
            claims = verify_access_token(
                token,
                public_key=public_key,
                issuer=self.issuer,
                audience=self.audience,
                now=now,
                leeway=self._leeway,
            )
        except Unauthenticated as refusal:
            if refusal.detail == "unknown_kid":
                return None, asked
            raise BY_DETAIL[refusal.detail](refusal.detail) from None
        if self._revocations is not None:
            self._revocations.check(claims, now=now)
        return claims, asked

    def _conclude(self, token: str, *, fetched: bool) -> AccessTokenClaims:
        claims, kid = self._attempt(token)
        if claims is None:
            raise self._keys.refusal(kid, fetched=fetched)
        return claims

    def _begin(self) -> Flight | None:
        return None if self._feed is None else self._feed.begin()

    def _demand_keys(self) -> None:
        refusal = self._keys.unavailable()
        if refusal is not None:
            raise refusal

    async def _wait(self, flight: Flight) -> None:
        # Whoever is cancelled here leaves the fetch to the others.
        await asyncio.wait({asyncio.wrap_future(flight)}, timeout=self._patience)

    def _block(self, flight: Flight) -> None:
        try:
            flight.result(self._patience)
        except TimeoutError:
            return  # the second attempt finds no key, and says so
