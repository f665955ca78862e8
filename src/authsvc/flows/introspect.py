"""Token introspection (RFC 7662): what an access token is worth at this moment."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from uuid import UUID

from authsvc.keys.issuer import Issuer
from authsvc.protocol.clients import Client
from authsvc.protocol.errors import Unauthenticated
from authsvc.store import clients, spent_jtis, users
from authsvc.store.database import Database
from authsvc_client.tokens.claims import AccessTokenClaims
from authsvc_client.tokens.secret import Secret


async def introspect(
    db: Database,
    issuer: Issuer,
    client: Client,
    *,
    token: Secret,
    now: datetime,
) -> AccessTokenClaims | None:
    """
    The claims of an access token that is good now, and meant for this client.

    Args:
        client: Who asks; authenticated.

    Returns:
        A user's `roles` are those of this moment; None for every cause of inactivity, so that
        nothing is learned of tokens for others (RFC 7662 §4).

    Raises:
        DatabaseUnavailable: It cannot be known now.
    """
    try:
        claims = issuer.verify_for_others(token, now=now)
    except Unauthenticated:
        return None
    if set(claims.aud).isdisjoint(client.audiences):
        return None
    if claims.sid is None:
        return claims if await _client_token_is_good(db, claims) else None
    try:
        user_id = UUID(claims.sub)
    except ValueError:  # unreachable: whoever has a session is a user
        return None
    async with db.autocommit() as connection:
        account = await users.find_by_session(connection, user_id=user_id, session_id=claims.sid)
    return None if account is None else replace(claims, roles=account.roles)


async def _client_token_is_good(db: Database, claims: AccessTokenClaims) -> bool:
    """Whether its client may still do anything, and has not revoked it."""
    async with db.autocommit() as connection:
        return await clients.is_enabled(
            connection, claims.client_id
        ) and not await spent_jtis.is_revoked(
            connection, client_id=claims.client_id, jti=claims.jti, issued_at=claims.iat
        )
