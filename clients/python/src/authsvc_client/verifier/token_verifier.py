"""Verify access tokens of one issuer for one audience (RFC 9068 §4)."""

from __future__ import annotations

import ssl
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

from authsvc_client.clock import Clock
from authsvc_client.tokens.access_token import LEEWAY, TYP, verify_access_token
from authsvc_client.tokens.claims import AccessTokenClaims
from authsvc_client.tokens.jws import read
from authsvc_client.verifier.issuer_verifier import TIMEOUT, IssuerVerifier, Steps
from authsvc_client.verifier.key_cache import KeyStatus
from authsvc_client.verifier.revocation_feed import FollowedIssuer, RevocationFeed


class Revocations(Protocol):
    """Something that knows of tokens which were revoked before they expired."""

    def check(self, claims: AccessTokenClaims, *, now: datetime) -> None:
        """
        Look at claims that are otherwise valid; at once, without network or disk.

        Raises:
            AccessRefused: The token does not count any more.
        """


class TokenVerifier(IssuerVerifier):
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
        super().__init__(
            issuer=issuer,
            jwks_uri=jwks_uri,
            key_file=key_file,
            leeway=leeway,
            timeout=timeout,
            ssl_context=ssl_context,
            clock=clock,
        )
        self.audience = audience
        self._revocations = revocations
        self._feed = revocations if isinstance(revocations, RevocationFeed) else None
        if self._feed is not None:
            self._feed.attach(
                FollowedIssuer(issuer, self._keys, self._transfer, self._clock, self._patience)
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
        return await self._wait(self._verification(token))

    def verify_sync(self, token: str) -> AccessTokenClaims:
        """
        As `verify`, for threads: it blocks where that one waits.

        Raises:
            InvalidToken, Unavailable: See `verify`.
        """
        return self._block(self._verification(token))

    async def prefetch(self) -> None:
        """
        Fetch keys and revocations now, so that no first request has to wait: for a start-up.

        Raises:
            KeysUnavailable: They cannot be had. The verifier goes on trying when it is used.
        """
        await self._wait(self._preparation())

    def prefetch_sync(self) -> None:
        """
        As `prefetch`, for programs without an event loop.

        Raises:
            KeysUnavailable: See `prefetch`.
        """
        self._block(self._preparation())

    def key_status(self) -> KeyStatus:
        """The cached keys and their age, for a health page; without a fetch."""
        return self._keys.status()

    def _verification(self, token: str) -> Steps[AccessTokenClaims]:
        following = None if self._feed is None else self._feed.begin()
        if following is not None:
            yield following
        jws = read(token, TYP)
        key = yield from self._key(jws.kid)
        now = self._clock.now()
        claims = verify_access_token(
            jws,
            key,
            issuer=self.issuer,
            audience=self.audience,
            now=now,
            leeway=self._leeway,
        )
        if self._revocations is not None:
            self._revocations.check(claims, now=now)
        return claims

    def _preparation(self) -> Steps[None]:
        # Both are begun before one is waited for.
        flights = self._keys.fetch_now(), None if self._feed is None else self._feed.begin()
        yield from filter(None, flights)
        refusal = self._keys.unavailable()
        if refusal is not None:
            raise refusal
