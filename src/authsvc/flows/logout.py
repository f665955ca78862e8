"""Logout: end the sessions of every authentic credential, expired or not."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from authsvc.flows.authenticate import authenticate
from authsvc.keys.issuer import Issuer
from authsvc.protocol.audit import Caller, RevokeReason
from authsvc.protocol.errors import Unauthenticated
from authsvc.protocol.refresh import RefreshToken
from authsvc.store import refresh_families, sessions
from authsvc.store.database import Database, in_transaction
from authsvc_client.tokens.secret import Secret


class Scope(StrEnum):
    """How much ends."""

    SESSION = "session"
    OTHERS = "others"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class LogoutCredentials:
    """
    The authentic credentials of a request: signed or sealed by us, though any may have expired.

    Args:
        access_tokens: Each with the session that it names.
    """

    access_tokens: tuple[tuple[Secret, UUID], ...]
    refresh_tokens: tuple[RefreshToken, ...]

    @property
    def session_ids(self) -> frozenset[UUID]:
        """The sessions that they name."""
        return frozenset(
            [session_id for _, session_id in self.access_tokens]
            + [token.family_id for token in self.refresh_tokens]
        )


async def logout(
    db: Database,
    issuer: Issuer,
    *,
    presented: LogoutCredentials,
    scope: Scope,
    caller: Caller,
    now: datetime,
) -> bool:
    """
    End sessions; idempotent, and durable before it returns.

    `others` and `all` need a live access token or the newest refresh token; any other authentic
    credential ends only its own family.

    Returns:
        Whether the presented session itself ended, so that its cookies can go.

    Raises:
        DatabaseUnavailable: Not known to have ended; the request may be repeated.
    """
    live = {}
    if scope is not Scope.SESSION:
        live = await _live(db, issuer, presented, now)
    spared = frozenset(live) if scope is Scope.OTHERS else frozenset()
    reason = RevokeReason.LOGOUT_OTHERS if spared else RevokeReason.LOGOUT_ALL
    for user_id in sorted(set(live.values())):
        end_all = in_transaction(sessions.revoke_many)
        await end_all(db, reason=reason, caller=caller, user_id=user_id, keep=tuple(spared))
    for family_id in sorted(presented.session_ids - spared):
        async with db.autocommit() as connection:
            await refresh_families.revoke_family(
                connection,
                family_id,
                reason=RevokeReason.LOGOUT,
                caller=caller,
            )
    return not spared


async def _live(
    db: Database,
    issuer: Issuer,
    presented: LogoutCredentials,
    now: datetime,
) -> dict[UUID, UUID]:
    """The families that are presented by a live credential, each with its user."""
    live: dict[UUID, UUID] = {}
    for access_token, _ in presented.access_tokens:
        try:
            account = await authenticate(db, issuer, access_token=access_token, now=now)
        except Unauthenticated:
            continue
        live[account.session_id] = account.id
    for token in presented.refresh_tokens:
        async with db.autocommit() as connection:
            loaded = await refresh_families.load(connection, token.family_id)
        if loaded is not None:
            family, state = loaded
            if state.is_live(family.now) and state.generation == token.generation:
                live[family.id] = family.user_id
    return live
