"""What a login or a client earned, and the access token's payload that says so (RFC 9068 §2)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

# The `client_id` of first-party logins.
FIRST_PARTY = "authsvc"

# A verifier whose clock lags a little must not refuse a fresh token.
NOT_BEFORE_SLACK = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Grant:
    """
    What a login earned: everything an access token says except times, issuer and ids.

    Args:
        user_id: The subject (`sub`).
        session_id: The refresh family's id (`sid`).
        client_id: RFC 9068 `client_id`; `authsvc` for first-party logins.
        roles: Role names, sorted.
        scope: RFC 6749 §3.3 scope tokens, space separated; empty = none.
        auth_time: When the user last proved who they are.
        amr: Authentication methods (RFC 8176), such as ``("pwd",)``.
        ver: The version of what is said of the user; a change of roles makes it the next.
        audience: What the token is for (`aud`); None: what all first-party tokens are for.
    """

    user_id: UUID
    session_id: UUID
    client_id: str
    roles: tuple[str, ...]
    scope: str
    auth_time: datetime
    amr: tuple[str, ...]
    ver: int
    audience: str | None = None


@dataclass(frozen=True, slots=True)
class ClientGrant:
    """
    What a client earned by proving who it is.

    Args:
        audience: The one resource that the token is for (`aud`).
        scope: As in `Grant`.
    """

    client_id: str
    audience: str
    scope: str


def to_json(
    grant: Grant, *, issuer: str, audience: str, jti: str, now: datetime, ttl: timedelta
) -> dict[str, object]:
    """
    The payload of a user's access token; a claim with nothing to say is left out.

    Args:
        audience: Of a grant that has none of its own.
        ttl: `exp - iat`.
    """
    iat = int(now.timestamp())
    claims: dict[str, object] = {
        "iss": issuer,
        "sub": str(grant.user_id),
        "aud": grant.audience or audience,
        "exp": iat + int(ttl.total_seconds()),
        "iat": iat,
        "nbf": iat - int(NOT_BEFORE_SLACK.total_seconds()),
        "jti": jti,
        "sid": str(grant.session_id),
        "client_id": grant.client_id,
        # The database's clock, and so maybe a moment ahead of ours.
        "auth_time": min(int(grant.auth_time.timestamp()), iat),
        "ver": grant.ver,
    }
    if grant.scope:
        claims["scope"] = grant.scope
    if grant.roles:
        claims["roles"] = list(grant.roles)
    if grant.amr:
        claims["amr"] = list(grant.amr)
    return claims


def client_to_json(
    grant: ClientGrant, *, issuer: str, jti: str, now: datetime, ttl: timedelta
) -> dict[str, object]:
    """
    The payload of a client's own access token (RFC 9068 §2.2, RFC 6749 §4.4).

    The client is its own subject. There is no `sid` and no `auth_time`: nobody logged in, and
    whatever wants a user can tell by that.
    """
    iat = int(now.timestamp())
    claims: dict[str, object] = {
        "iss": issuer,
        "sub": grant.client_id,
        "aud": grant.audience,
        "exp": iat + int(ttl.total_seconds()),
        "iat": iat,
        "nbf": iat - int(NOT_BEFORE_SLACK.total_seconds()),
        "jti": jti,
        "client_id": grant.client_id,
    }
    if grant.scope:
        claims["scope"] = grant.scope
    return claims
