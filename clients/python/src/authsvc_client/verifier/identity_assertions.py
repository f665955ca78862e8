"""
Verify X-Identity-Assertion in a service behind a gateway: the user of the request.

    verifier = IdentityAssertionVerifier(issuer="https://auth.example.com", upstream="orders")
    user = await verifier.verify(request.headers.get("X-Identity-Assertion"))

Other than X-User-ID, nobody who merely reaches this service can make one.
"""

from __future__ import annotations

import ssl
from datetime import timedelta
from pathlib import Path

from authsvc_client.clock import Clock
from authsvc_client.tokens.access_token import LEEWAY
from authsvc_client.tokens.identity_assertion import TYP, IdentityClaims, verify_identity_assertion
from authsvc_client.tokens.jws import read
from authsvc_client.verifier.errors import MissingToken
from authsvc_client.verifier.issuer_verifier import TIMEOUT, IssuerVerifier, Steps


class IdentityAssertionVerifier(IssuerVerifier):
    """
    Says whether an identity assertion is valid, and whom it speaks of.

    Build one and keep it: it holds the keys, as a TokenVerifier does, and it may be used from
    any thread and event loop.

    Args:
        upstream: The name of this service in the issuer's AUTHSVC_ASSERTION_UPSTREAMS.
        issuer, jwks_uri, key_file, leeway, timeout, ssl_context, clock: As for TokenVerifier.

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
        super().__init__(
            issuer=issuer,
            jwks_uri=jwks_uri,
            key_file=key_file,
            leeway=leeway,
            timeout=timeout,
            ssl_context=ssl_context,
            clock=clock,
        )
        self.upstream = upstream

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
        return await self._wait(self._verification(assertion))

    def verify_sync(self, assertion: str | None) -> IdentityClaims:
        """
        As `verify`, for threads: it blocks where that one waits.

        Raises:
            MissingToken, InvalidToken, KeysUnavailable: See `verify`.
        """
        return self._block(self._verification(assertion))

    def _verification(self, assertion: str | None) -> Steps[IdentityClaims]:
        if not assertion:
            raise MissingToken("no assertion")
        jws = read(assertion, TYP)
        key = yield from self._key(jws.kid)
        return verify_identity_assertion(
            jws,
            key,
            issuer=self.issuer,
            upstream=self.upstream,
            now=self._clock.now(),
            leeway=self._leeway,
        )
