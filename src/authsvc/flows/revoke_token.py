"""
Token revocation (RFC 7009): each client ends what is its own, and nothing else.

Whoever presents a token that is somebody else's, or none, changes nothing and is not told.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum

from authsvc.keys.directory import KeyDirectory
from authsvc.keys.issuer import Issuer
from authsvc.protocol.audit import Caller, RevokeReason
from authsvc.protocol.clients import Client
from authsvc.protocol.errors import InvalidRefreshToken, Unauthenticated
from authsvc.protocol.grants import FIRST_PARTY
from authsvc.protocol.oauth_errors import UnsupportedTokenType
from authsvc.protocol.throttle import Bucket
from authsvc.store import refresh_families, spent_jtis, throttle_buckets
from authsvc.store.database import Database
from authsvc.store.throttle_buckets import Counted, bucket_key
from authsvc_client.tokens.access_token import LEEWAY
from authsvc_client.tokens.secret import Secret

# Of one client: each is a statement and a record of the audit trail. A client whose tokens leaked
# all at once needs `spent_jtis.MAX_LIVE` of them, since after that one ends all.
REVOCATIONS = Bucket(300, timedelta(milliseconds=200))


class Revoked(StrEnum):
    """What a revocation came to."""

    SESSION = "session"
    ACCESS_TOKEN = "access_token"  # noqa: S105 - a kind, not a token
    NOTHING = "nothing"


async def revoke_user_token(
    db: Database,
    issuer: Issuer,
    keys: KeyDirectory,
    *,
    token: Secret,
    caller: Caller,
    now: datetime,
) -> Revoked:
    """
    End the session of a refresh token, of any generation; durable before it returns.

    With it goes every access token of the session (RFC 7009 §2.1), at our own endpoints and in
    introspection at once. A refresh token of a cookie stays what it is: here it is in a body,
    where it has no business.

    Raises:
        UnsupportedTokenType: It is a user's access token, which ends by itself or with its session.
        DatabaseUnavailable: Not known to have ended; the request may be repeated.
    """
    try:
        refresh_token = keys.open_refresh_token(token, now=now)
    except InvalidRefreshToken:
        _refuse_access_token(issuer, token, now)
        return Revoked.NOTHING
    if refresh_token.delivery.by_cookie:
        return Revoked.NOTHING
    async with db.autocommit() as connection:
        ended = await refresh_families.revoke_family(
            connection,
            refresh_token.family_id,
            reason=RevokeReason.TOKEN_REVOKED,
            caller=caller,
        )
    return Revoked.SESSION if ended else Revoked.NOTHING


async def revoke_client_token(
    db: Database,
    issuer: Issuer,
    client: Client,
    *,
    token: Secret,
    caller: Caller,
    now: datetime,
) -> Revoked:
    """
    End one access token of a client: for introspection at once, and in the revocation feed.

    Args:
        client: Who asks; authenticated.

    Raises:
        TooManyAttempts: The client has revoked as many as `REVOCATIONS` allows; it has not ended.
        DatabaseUnavailable: Not known to have ended; the request may be repeated.
    """
    try:
        claims = issuer.verify_for_others(token, now=now)
    except Unauthenticated:
        return Revoked.NOTHING
    if claims.sid is not None or claims.client_id != client.client_id:
        return Revoked.NOTHING
    async with db.autocommit() as connection:
        key = bucket_key(Counted.REVOCATIONS, client.client_id)
        await throttle_buckets.take(connection, key, REVOCATIONS, refusal="revocations")
        revoked = await spent_jtis.revoke_access_token(
            connection,
            client_id=client.client_id,
            jti=claims.jti,
            issued_at=claims.iat,
            expires_at=claims.exp + LEEWAY,
            caller=caller,
        )
    return Revoked.ACCESS_TOKEN if revoked else Revoked.NOTHING


def _refuse_access_token(issuer: Issuer, token: Secret, now: datetime) -> None:
    try:
        claims = issuer.verify(token, now=now)
    except Unauthenticated:
        return
    if claims.client_id == FIRST_PARTY:
        raise UnsupportedTokenType("access_token")
