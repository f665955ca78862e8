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

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from authsvc_client.clock import Clock, SystemClock
from authsvc_client.tokens.access_token import LEEWAY
from authsvc_client.tokens.identity_assertion import TYP, IdentityClaims, verify_identity_assertion
from authsvc_client.tokens.jws import Jws, read
from authsvc_client.verifier.errors import MissingToken
from authsvc_client.verifier.issuer_keys import IssuerKeys, check_leeway
from authsvc_client.verifier.token_verifier import TIMEOUT


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
        check_leeway(leeway)
        self.issuer = issuer
        self.upstream = upstream
        self._leeway = leeway
        self._clock = clock or SystemClock()
        self._issuer = IssuerKeys(
            issuer=issuer,
            jwks_uri=jwks_uri,
            key_file=key_file,
            timeout=timeout,
            ssl_context=ssl_context,
            clock=self._clock,
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
        jws = _read(assertion)
        return self._claims(jws, await self._issuer.key(jws.kid))

    def verify_sync(self, assertion: str | None) -> IdentityClaims:
        """
        As `verify`, for threads: it blocks where that one waits.

        Raises:
            MissingToken, InvalidToken, KeysUnavailable: See `verify`.
        """
        jws = _read(assertion)
        return self._claims(jws, self._issuer.key_sync(jws.kid))

    def _claims(self, jws: Jws, key: RSAPublicKey) -> IdentityClaims:
        return verify_identity_assertion(
            jws,
            key,
            issuer=self.issuer,
            upstream=self.upstream,
            now=self._clock.now(),
            leeway=self._leeway,
        )


def _read(assertion: str | None) -> Jws:
    if not assertion:
        raise MissingToken("no assertion")
    return read(assertion, TYP)
