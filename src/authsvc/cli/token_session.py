"""What the database knows of a token: has its session ended, or its client been disabled."""

from __future__ import annotations

import secrets
from datetime import datetime
from uuid import UUID

from authsvc.cli.database import with_database
from authsvc.cli.token_checks import Check, ok, refused
from authsvc.cli.token_explained import Explanation
from authsvc.protocol.clients import CLIENT_ID
from authsvc.protocol.refresh import FamilyState, RefreshToken, Verdict, verdict
from authsvc.settings import Settings
from authsvc.store import clients, refresh_families, spent_jtis
from authsvc.store.database import Database
from authsvc_client.tokens.claims import claim_moment, claim_text, claim_uuid
from authsvc_client.tokens.errors import BadClaims

OF_A_SESSION = {
    Verdict.ACTIVE: "is alive, and this is its newest token: it would be rotated",
    Verdict.KEPT: "is alive, and this is its newest token, rotated a moment ago: it would be kept",
    Verdict.RETRY: "is alive and was rotated a moment ago: the same successor would be returned",
    Verdict.AHEAD: "is behind this token: the database lost a rotation, which would be healed",
    Verdict.FAR_AHEAD: "is far behind this token: the database was restored from a backup",
    Verdict.REUSED: "is already past this token: presenting it is reuse and ENDS the session",
    Verdict.REVOKED: "has been ended",
    Verdict.EXPIRED: "has expired",
    Verdict.USER_DISABLED: "belongs to a disabled account",
}
WORKS = {Verdict.ACTIVE, Verdict.KEPT, Verdict.RETRY, Verdict.AHEAD}


def ask_database(settings: Settings, explanation: Explanation) -> tuple[Check, ...]:
    """Ask about the session of a token, or a service's own; nothing where it names neither."""
    token, claims = explanation.refresh_token, explanation.claims or {}
    if token is not None:
        return (_session(settings, token.family_id, token),)
    try:
        if "sid" in claims:
            return (_session(settings, claim_uuid(claims, "sid"), None),)
        client_id, jti = claim_text(claims, "client_id"), claim_text(claims, "jti")
        issued_at = claim_moment(claims, "iat")
    except BadClaims:
        return ()
    if not CLIENT_ID.fullmatch(client_id):
        return ()
    return (_client(settings, client_id, jti, issued_at),)


def _session(settings: Settings, session_id: UUID, token: RefreshToken | None) -> Check:
    async def ask(db: Database) -> Check:
        async with db.autocommit() as connection:
            found = await refresh_families.load(connection, session_id)
        if found is None:
            return refused("session", "is not in the database (any more)")
        family, state = found
        if token is None:
            return _of_access_token(state)
        said = verdict(
            state,
            token,
            # As a request without an Idempotency-Key.
            attempt_digest=secrets.token_bytes(32),
            retry_window=settings.refresh_retry_window,
            now=family.now,
        )
        return Check("session", passed=said in WORKS, words=OF_A_SESSION[said])

    return with_database(settings, ask)


def _of_access_token(state: FamilyState) -> Check:
    if state.user_disabled_at is not None:
        return refused("session", OF_A_SESSION[Verdict.USER_DISABLED])
    if state.ended:
        return refused("session", "has been ended: authsvc itself refuses it")
    return ok("session", "has not been ended")


def _client(settings: Settings, client_id: str, jti: str, issued_at: datetime) -> Check:
    """What introspection would say."""

    async def ask(db: Database) -> Check:
        async with db.autocommit() as connection:
            if not await clients.is_enabled(connection, client_id):
                return refused("client", "is disabled, or unknown")
            if await spent_jtis.is_revoked(
                connection, client_id=client_id, jti=jti, issued_at=issued_at
            ):
                return refused("client", "has revoked this token")
        return ok("client", "is enabled, and has not revoked it")

    return with_database(settings, ask)
