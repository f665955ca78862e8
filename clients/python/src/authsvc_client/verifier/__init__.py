"""
What a service needs that trusts access tokens of authsvc: verify them without asking it.

    verifier = TokenVerifier(issuer="https://auth.example.com", audience="authsvc")
    claims = await verifier.verify(token)

Adapters are modules of their own, which import their framework: `authsvc_client.verifier.fastapi`,
`authsvc_client.verifier.asgi`, `authsvc_client.verifier.flask`.
"""

from __future__ import annotations

from authsvc_client.clock import Clock, SystemClock
from authsvc_client.tokens.claims import AccessTokenClaims
from authsvc_client.tokens.errors import (
    AccessRefused,
    BadClaims,
    BadHeader,
    BadSignature,
    Expired,
    InvalidToken,
    Malformed,
    NotYetValid,
    RevokedToken,
    StaleClaims,
    UnknownKey,
    WrongAudience,
    WrongIssuer,
)
from authsvc_client.tokens.identity_assertion import IdentityClaims
from authsvc_client.verifier.authorization import check_roles, check_scope, check_user
from authsvc_client.verifier.cookie_sessions import CookieSessions
from authsvc_client.verifier.errors import (
    CsrfRefused,
    InsufficientScope,
    InvalidRequest,
    KeysUnavailable,
    MissingToken,
    RevocationsUnavailable,
    Unavailable,
)
from authsvc_client.verifier.identity_assertions import IdentityAssertionVerifier
from authsvc_client.verifier.key_cache import KeyStatus
from authsvc_client.verifier.revocation_feed import FeedStatus, RevocationFeed
from authsvc_client.verifier.token_verifier import Revocations, TokenVerifier

__all__ = [
    "AccessRefused",
    "AccessTokenClaims",
    "BadClaims",
    "BadHeader",
    "BadSignature",
    "Clock",
    "CookieSessions",
    "CsrfRefused",
    "Expired",
    "FeedStatus",
    "IdentityAssertionVerifier",
    "IdentityClaims",
    "InsufficientScope",
    "InvalidRequest",
    "InvalidToken",
    "KeyStatus",
    "KeysUnavailable",
    "Malformed",
    "MissingToken",
    "NotYetValid",
    "RevocationFeed",
    "Revocations",
    "RevocationsUnavailable",
    "RevokedToken",
    "StaleClaims",
    "SystemClock",
    "TokenVerifier",
    "Unavailable",
    "UnknownKey",
    "WrongAudience",
    "WrongIssuer",
    "check_roles",
    "check_scope",
    "check_user",
]
