"""Sign access tokens, and verify them with the same ring."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from datetime import datetime, timedelta

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256

from authsvc.keys.directory import KeyDirectory
from authsvc.keys.keyring import NoSigningKey
from authsvc_client.tokens import base64url
from authsvc_client.tokens.access_token import verify_access_token, verify_authentic
from authsvc_client.tokens.claims import (
    AccessTokenClaims,
    ClientGrant,
    Grant,
    client_to_json,
    to_json,
)
from authsvc_client.tokens.secret import Secret

JTI_BYTES = 16  # 128 random bits; a random UUID has only 122

ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)
PADDING = PKCS1v15()
DIGEST = SHA256()


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
        self._headers: dict[str, str] = {}

    def access_token(self, grant: Grant, *, now: datetime) -> Secret:
        """
        Sign an access token (RFC 9068 §2).

        Raises:
            NoSigningKey: No key is active.
        """
        claims = to_json(
            grant,
            issuer=self.issuer,
            audience=self.audience,
            jti=secrets.token_urlsafe(JTI_BYTES),
            now=now,
            ttl=self.access_ttl,
        )
        return self._sign(claims, now)

    def client_access_token(self, grant: ClientGrant, *, now: datetime) -> Secret:
        """
        Sign an access token of a client itself.

        Raises:
            NoSigningKey: No key is active.
        """
        claims = client_to_json(
            grant,
            issuer=self.issuer,
            jti=secrets.token_urlsafe(JTI_BYTES),
            now=now,
            ttl=self.access_ttl,
        )
        return self._sign(claims, now)

    def verify(self, token: str, *, now: datetime) -> AccessTokenClaims:
        """
        The claims of a token of ours that is valid now.

        Raises:
            Unauthenticated: It is not.
        """
        return verify_access_token(
            token,
            public_key=lambda kid: self._public_key(kid, now),
            issuer=self.issuer,
            audience=self.audience,
            now=now,
        )

    def verify_for_others(self, token: str, *, now: datetime) -> AccessTokenClaims:
        """
        The claims of a token of ours that is valid now, whoever it is for.

        Raises:
            Unauthenticated: It is not.
        """
        return verify_access_token(
            token,
            public_key=lambda kid: self._public_key(kid, now),
            issuer=self.issuer,
            audience=None,
            now=now,
        )

    def verify_authentic(self, token: str, *, now: datetime) -> AccessTokenClaims:
        """
        The claims of a token of ours, though it may have expired.

        Raises:
            Unauthenticated: We did not sign it, or with a key that is no longer published.
        """
        return verify_authentic(
            token,
            public_key=lambda kid: self._public_key(kid, now),
            issuer=self.issuer,
            audience=self.audience,
        )

    def _sign(self, claims: dict[str, object], now: datetime) -> Secret:
        key = self._keys.ring.signing_key(now)
        if key.private_key is None:
            raise NoSigningKey("no_signing_key")  # unreachable: a public half never signs
        payload = ENCODER.encode(claims).encode()
        signed = f"{self._header(key.kid)}.{base64url.encode(payload)}"
        signature = key.private_key.sign(signed.encode("ascii"), PADDING, DIGEST)
        return Secret(f"{signed}.{base64url.encode(signature)}")

    def _public_key(self, kid: str, now: datetime) -> RSAPublicKey | None:
        return None if self._revoked(kid) else self._keys.ring.public_key(kid, now)

    def _header(self, kid: str) -> str:
        """The first segment; the same for every token of one key, so encoded once."""
        if kid not in self._headers:
            header = {"alg": "RS256", "typ": "at+jwt", "kid": kid}
            self._headers[kid] = base64url.encode(ENCODER.encode(header).encode())
        return self._headers[kid]
