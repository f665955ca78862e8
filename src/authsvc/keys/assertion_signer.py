"""Sign identity assertions: one RSA operation each, with a parsed key."""

from __future__ import annotations

import secrets
from datetime import datetime

from authsvc.keys.directory import KeyDirectory
from authsvc.keys.issuer import DIGEST, ENCODER, JTI_BYTES, PADDING
from authsvc.keys.keyring import NoSigningKey
from authsvc_client.tokens import base64url
from authsvc_client.tokens.claims import AccessTokenClaims
from authsvc_client.tokens.identity_assertion import TYP, to_json
from authsvc_client.tokens.secret import Secret


class AssertionSigner:
    """One authorization server's signature below what it tells gateways."""

    def __init__(self, keys: KeyDirectory) -> None:
        self._keys = keys

    def sign(self, token: AccessTokenClaims, *, upstream: str, now: datetime) -> Secret:
        """
        An assertion about the bearer of an access token that is valid now.

        Args:
            upstream: The service it is for, and for no other.

        Raises:
            NoSigningKey: No key is active.
        """
        key = self._keys.ring.signing_key(now)
        if key.private_key is None:
            raise NoSigningKey("no_signing_key")  # unreachable: a public half never signs
        header = {"alg": "RS256", "typ": TYP, "kid": key.kid}
        claims = to_json(token, upstream=upstream, jti=secrets.token_urlsafe(JTI_BYTES), now=now)
        signed = ".".join(
            base64url.encode(ENCODER.encode(part).encode()) for part in (header, claims)
        )
        signature = key.private_key.sign(signed.encode("ascii"), PADDING, DIGEST)
        return Secret(f"{signed}.{base64url.encode(signature)}")
