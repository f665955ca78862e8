"""Sign access tokens and identity assertions, and verify the tokens with the same ring."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

from authsvc.keys.directory import KeyDirectory
from authsvc.keys.jws import ENCODER, sign
from authsvc.protocol import identity_assertion
from authsvc.protocol.errors import Unauthenticated
from authsvc.protocol.grants import ClientGrant, Grant, client_to_json, to_json
from authsvc_client.tokens import access_token
from authsvc_client.tokens.claims import AccessTokenClaims
from authsvc_client.tokens.errors import InvalidToken, UnknownKey
from authsvc_client.tokens.identity_assertion import TYP as ASSERTION_TYP
from authsvc_client.tokens.jws import read
from authsvc_client.tokens.secret import Secret

JTI_BYTES = 16  # 128 random bits; a random UUID has only 122


class Issuer:
    """
    One authorization server's signature: one RSA operation per token, with a parsed key.

    Args:
        issuer: The exact `iss`.
        audience: `aud` of first-party tokens, and what `verify` demands.
        access_ttl: `exp - iat`.
        revoked: Whether a `kid` is known to be revoked, though its file may still be here.
    """

    def __init__(
        self,
        keys: KeyDirectory,
        *,
        issuer: str,
        audience: str,
        access_ttl: timedelta,
        revoked: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self.issuer = issuer
        self.audience = audience
        self.access_ttl = access_ttl
        self._keys = keys
        self._revoked = revoked

    def require_key(self, now: datetime) -> None:
        """
        Find out that nothing can be signed before anything was done for it.

        Raises:
            NoSigningKey: No key is active.
        """
        self._keys.ring.signing_key(now)

    def access_token(self, grant: Grant, *, now: datetime) -> Secret:
        """
        Sign an access token (RFC 9068 §2).

        Raises:
            NoSigningKey: No key is active.
        """
        return self._access_token(partial(to_json, grant, audience=self.audience), now)

    def client_access_token(self, grant: ClientGrant, *, now: datetime) -> Secret:
        """
        Sign an access token of a client itself.

        Raises:
            NoSigningKey: No key is active.
        """
        return self._access_token(partial(client_to_json, grant), now)

    def identity_assertion(
        self, token: AccessTokenClaims, *, upstream: str, now: datetime
    ) -> Secret:
        """
        Sign an assertion about the bearer of an access token that is valid now.

        Args:
            upstream: The service it is for, and for no other.

        Raises:
            NoSigningKey: No key is active.
        """
        claims = identity_assertion.to_json(
            token, upstream=upstream, jti=secrets.token_urlsafe(JTI_BYTES), now=now
        )
        return self._sign(ASSERTION_TYP, claims, now)

    def verify(self, token: str, *, now: datetime) -> AccessTokenClaims:
        """
        The claims of a token of ours that is for ourselves and valid now.

        Raises:
            Unauthenticated: It is not; `detail` is a word from a closed set.
        """
        check = partial(access_token.verify_access_token, audience=self.audience, now=now)
        return self._verify(token, check, now)

    def verify_for_others(self, token: str, *, now: datetime) -> AccessTokenClaims:
        """
        The claims of a token of ours that is valid now, for any audience.

        Raises:
            Unauthenticated: It is not.
        """
        check = partial(access_token.verify_access_token, audience=None, now=now)
        return self._verify(token, check, now)

    def verify_authentic(self, token: str, *, now: datetime) -> AccessTokenClaims:
        """
        The claims of a token of ours, though it may have expired.

        Raises:
            Unauthenticated: We did not sign it, or with a key that is no longer published.
        """
        check = partial(access_token.verify_authentic, audience=self.audience)
        return self._verify(token, check, now)

    def _verify(
        self, token: str, check: Callable[..., AccessTokenClaims], now: datetime
    ) -> AccessTokenClaims:
        try:
            jws = read(token, access_token.TYP)
            key = None if self._revoked(jws.kid) else self._keys.ring.public_key(jws.kid, now)
            if key is None:
                raise UnknownKey
            return check(jws, key, issuer=self.issuer)
        except InvalidToken as refusal:
            raise Unauthenticated(refusal.detail) from None

    def _access_token(self, to_claims: Callable[..., dict[str, object]], now: datetime) -> Secret:
        claims = to_claims(
            issuer=self.issuer, jti=secrets.token_urlsafe(JTI_BYTES), now=now, ttl=self.access_ttl
        )
        return self._sign(access_token.TYP, claims, now)

    def _sign(self, typ: str, claims: dict[str, object], now: datetime) -> Secret:
        return Secret(sign(self._keys.ring.signing_key(now), typ, ENCODER.encode(claims)))
