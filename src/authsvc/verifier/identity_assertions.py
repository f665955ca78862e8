"""
For a service behind a gateway: whose request it passes on, in X-Identity-Assertion.

    verifier = IdentityAssertionVerifier(issuer="https://auth.example.com", upstream="orders")
    user = await verifier.verify(request.headers.get("X-Identity-Assertion"))

Other than X-User-ID, nobody who merely reaches this service can make one.
"""

from __future__ import annotations

import asyncio
import ssl
from concurrent.futures import wait
from datetime import timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from authsvc.protocol.access_token import LEEWAY
from authsvc.protocol.errors import Unauthenticated
from authsvc.protocol.identity_assertion import IdentityClaims, verify_identity_assertion
from authsvc.verifier.clock import Clock, SystemClock
from authsvc.verifier.errors import BY_DETAIL, MissingToken
from authsvc.verifier.key_cache import KeyCache
from authsvc.verifier.key_file import KeyFile
from authsvc.verifier.key_source import KeySource
from authsvc.verifier.token_verifier import TIMEOUT


class IdentityAssertionVerifier:
    """
    Says whether an identity assertion is valid, and whom it speaks of.

    Build one and keep it: it holds the keys, as a TokenVerifier does, and it may be used from
    any thread and event loop.

    Args:
        issuer: The exact `iss`, such as ``https://auth.example.com``.
        upstream: The name of this service in the issuer's AUTHSVC_ASSERTION_UPSTREAMS.
        jwks_uri: Where the keys are; None looks it up in the issuer's metadata (RFC 8414).
        key_file: As for TokenVerifier.
        leeway: Between the issuer's clock and ours, both ways; at most 30 s.
        timeout: For each request to the issuer, as a whole.
        ssl_context: Whom to trust for https; None: the public authorities.
        clock: The machine's; tests bring their own.

    Raises:
        ValueError: An argument makes no sense; the text says which and why.
    """

    def __init__(
        self,
        *,
        issuer: str,
        upstream: str,
        jwks_uri: str | None = None,
        key_file: Path | str | None = None,
        leeway: timedelta = LEEWAY,
        timeout: timedelta = TIMEOUT,
        ssl_context: ssl.SSLContext | None = None,
        clock: Clock | None = None,
    ) -> None:
        if not upstream:
            raise ValueError("upstream is empty: give the name of this service")
        if not timedelta(0) <= leeway <= LEEWAY:
            raise ValueError(f"leeway must be 0 to {LEEWAY.total_seconds():g} s: {leeway}")
        if timeout <= timedelta(0):
            raise ValueError(f"timeout must be longer than nothing: {timeout}")
        source = KeySource(
            issuer=issuer, jwks_uri=jwks_uri, timeout=timeout, ssl_context=ssl_context
        )
        self.issuer = issuer
        self.upstream = upstream
        self._leeway = leeway
        self._clock = clock or SystemClock()
        # A fetch is two requests at most. Whoever gives up waiting leaves it to go on.
        self._patience = 2 * timeout.total_seconds()
        self._keys = KeyCache(
            lambda etag, past_caches: source.fetch(etag, past_caches=past_caches),
            clock=self._clock,
            file=None if key_file is None else KeyFile(Path(key_file), issuer=issuer),
        )

    async def verify(self, assertion: str | None) -> IdentityClaims:
        """
        The claims of an assertion that is authentic, meant for this service, and valid now.

        Args:
            assertion: The value of X-Identity-Assertion; None without that header.

        Raises:
            MissingToken: There is none, or an empty one.
            InvalidToken: It is not valid; the class says why.
            KeysUnavailable: Nobody can say, since authsvc cannot be asked for its keys.
        """
        claims, kid = self._attempt(assertion)
        if claims is not None:
            return claims
        flight = self._keys.fetch_for(kid)
        if flight is not None:
            # Whoever is cancelled here leaves the fetch to the others.
            await asyncio.wait({asyncio.wrap_future(flight)}, timeout=self._patience)
        return self._conclude(assertion, fetched=flight is not None)

    def verify_sync(self, assertion: str | None) -> IdentityClaims:
        """
        As `verify`, for threads: it blocks where that one waits.

        Raises:
            MissingToken, InvalidToken, KeysUnavailable: See `verify`.
        """
        claims, kid = self._attempt(assertion)
        if claims is not None:
            return claims
        flight = self._keys.fetch_for(kid)
        if flight is not None:
            # Without an answer in time, the second attempt finds no key, and says so.
            wait({flight}, self._patience)
        return self._conclude(assertion, fetched=flight is not None)

    def _attempt(self, assertion: str | None) -> tuple[IdentityClaims | None, str]:
        """The claims; or None and the `kid` of a key that is not known."""
        if not assertion:
            raise MissingToken("no assertion")
        asked = ""

        def public_key(kid: str) -> RSAPublicKey | None:
            nonlocal asked
            asked = kid
            return self._keys.find(kid)

        try:
            claims = verify_identity_assertion(
                assertion,
                public_key=public_key,
                issuer=self.issuer,
                upstream=self.upstream,
                now=self._clock.now(),
                leeway=self._leeway,
            )
        except Unauthenticated as refusal:
            if refusal.detail == "unknown_kid":
                return None, asked
            raise BY_DETAIL[refusal.detail](refusal.detail) from None
        return claims, asked

    def _conclude(self, assertion: str | None, *, fetched: bool) -> IdentityClaims:
        claims, kid = self._attempt(assertion)
        if claims is None:
            raise self._keys.refusal(kid, fetched=fetched)
        return claims
