"""
Verify an access token for a gateway, which asks with every request of its own.

So there is no round trip: the keys are in memory, and so are the revocations, which follow the
database in the background. They carry what `authenticate` looks up: an ended session, a disabled
account, a change of roles.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from authsvc.flows.follow_revocations import FollowedRevocations
from authsvc.keys.issuer import Issuer
from authsvc.protocol.errors import InsufficientScope
from authsvc_client.tokens.claims import AccessTokenClaims


@dataclass(frozen=True, slots=True)
class Demands:
    """What is wanted of a token: any of the roles, all of the scope; empty: nothing."""

    roles: frozenset[str] = frozenset()
    scope: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Identity:
    """The user or service of a request."""

    user_id: UUID
    session_id: UUID
    claims: AccessTokenClaims


def verify(
    issuer: Issuer,
    revocations: FollowedRevocations,
    *,
    access_token: str,
    demands: Iterable[Demands],
    now: datetime,
) -> Identity:
    """
    The user behind an access token that is valid now and meets every one of the demands; no I/O.

    Raises:
        Unauthenticated: It is not (or no longer) valid.
        InsufficientScope: It is for another audience, of no user, or lacks roles or scope.
        DatabaseUnavailable: That cannot be known now.
    """
    claims = issuer.verify_for_others(access_token, now=now)
    if issuer.audience not in claims.aud:
        raise InsufficientScope("wrong_audience")
    user_id = _user_id(claims)
    if user_id is None or claims.sid is None:
        raise InsufficientScope("not_a_user")
    revocations.check(claims, now=now)
    for demanded in demands:
        if demanded.roles and demanded.roles.isdisjoint(claims.roles):
            raise InsufficientScope("roles")
        if not demanded.scope.issubset(claims.scope.split(" ")):
            raise InsufficientScope("scope")
    return Identity(user_id=user_id, session_id=claims.sid, claims=claims)


def _user_id(claims: AccessTokenClaims) -> UUID | None:
    """Users are UUIDs, which no client's id can be (SECURITY T15)."""
    try:
        user_id = UUID(claims.sub)
    except ValueError:
        return None
    return user_id if str(user_id) == claims.sub else None
