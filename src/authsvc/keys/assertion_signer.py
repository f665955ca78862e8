"""Sign identity assertions: one RSA operation each, with a parsed key."""

from __future__ import annotations

import secrets
from datetime import datetime

from authsvc.keys.directory import KeyDirectory
from authsvc.keys.issuer import JTI_BYTES
from authsvc.keys.jws import ENCODER, sign
from authsvc.protocol.identity_assertion import to_json
from authsvc_client.tokens.claims import AccessTokenClaims
from authsvc_client.tokens.identity_assertion import TYP
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
        claims = to_json(token, upstream=upstream, jti=secrets.token_urlsafe(JTI_BYTES), now=now)
        return Secret(sign(self._keys.ring.signing_key(now), TYP, ENCODER.encode(claims)))
