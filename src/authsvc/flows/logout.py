"""Logout: end the sessions of every authentic credential, expired or not."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from authsvc.flows.authenticate import authenticate
from authsvc.keys.csrf_tokens import verify_csrf_token
from authsvc.keys.directory import KeyDirectory
from authsvc.keys.issuer import Issuer
from authsvc.protocol.audit import Caller, RevokeReason
from authsvc.protocol.errors import CsrfFailed, InvalidRefreshToken, Unauthenticated
from authsvc.protocol.refresh import Delivery, RefreshToken
from authsvc.store import refresh_families, sessions, users
from authsvc.store.database import Database, uninterrupted
from authsvc_client.tokens.secret import Secret


class Scope(StrEnum):
    """How much ends."""

    SESSION = "session"
    OTHERS = "others"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Credentials:
    """
    Everything a logout request carries; any of it may be stale.

    Args:
        access_cookies: More than one where a sibling host has planted a twin; so with
            `refresh_cookies`. Each that is authentic counts.
        csrf_token: The X-CSRF-Token header; cookies of `web` delivery need it.
    """

    bearer: Secret | None = None
    access_cookies: tuple[Secret, ...] = ()
    refresh_cookies: tuple[Secret, ...] = ()
    refresh_token: Secret | None = None
    csrf_token: Secret | None = None


@dataclass(frozen=True, slots=True)
class _Authentic:
    """Credentials whose signature or MAC is ours, and the families they name."""

    access_tokens: tuple[Secret, ...]
    refresh_tokens: tuple[RefreshToken, ...]
    family_ids: frozenset[UUID]


async def logout(
    db: Database,
    issuer: Issuer,
    keys: KeyDirectory,
    *,
    presented: Credentials,
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
        Unauthenticated: Nothing authentic was presented.
        CsrfFailed: The cookies are of `web` delivery and the CSRF token is not theirs.
        DatabaseUnavailable: Not known to have ended; the request may be repeated.
    """
    authentic = _authentic(issuer, keys, presented, now)
    if not authentic.family_ids:
        raise Unauthenticated("nothing authentic was presented")
    live = {}
    if scope is not Scope.SESSION:
        live = await _live(db, issuer, authentic, now)
    spared = frozenset(live) if scope is Scope.OTHERS else frozenset()
    for user_id in sorted(set(live.values())):
        await _end_all(db, user_id, tuple(spared), scope, caller)
    for family_id in sorted(authentic.family_ids - spared):
        async with db.autocommit() as connection:
            await refresh_families.revoke_family(
                connection,
                family_id,
                reason=RevokeReason.LOGOUT,
                caller=caller,
            )
    return not spared


def _authentic(
    issuer: Issuer, keys: KeyDirectory, presented: Credentials, now: datetime
) -> _Authentic:
    """
    What is ours among the credentials.

    Raises:
        CsrfFailed: Only `web` cookies, and the CSRF token belongs to none of them. Of twins it
            belongs to one: what is proved is the page, and that is one for all cookies. A
            bearer token proves it as well, since no foreign page may send one.
    """
    access_tokens: list[Secret] = []
    refresh_tokens: list[RefreshToken] = []
    family_ids: set[UUID] = set()
    by_web_cookie: set[UUID] = set()
    proved = False
    bearers = () if presented.bearer is None else (presented.bearer,)
    for access_token in (*bearers, *presented.access_cookies):
        try:
            claims = issuer.verify_authentic(access_token, now=now)
        except Unauthenticated:
            continue
        if claims.sid is None:
            continue
        if access_token is presented.bearer:
            proved = True
        else:
            by_web_cookie.add(claims.sid)
        access_tokens.append(access_token)
        family_ids.add(claims.sid)
    bodies = () if presented.refresh_token is None else (presented.refresh_token,)
    for text in (*presented.refresh_cookies, *bodies):
        try:
            token = keys.open_refresh_token(text, now=now)
        except InvalidRefreshToken:
            continue
        if text is not presented.refresh_token and token.delivery is Delivery.WEB:
            by_web_cookie.add(token.family_id)
        refresh_tokens.append(token)
        family_ids.add(token.family_id)
    if by_web_cookie and not proved:
        _check_csrf(keys, by_web_cookie, presented.csrf_token)
    return _Authentic(tuple(access_tokens), tuple(refresh_tokens), frozenset(family_ids))


def _check_csrf(keys: KeyDirectory, family_ids: set[UUID], csrf_token: Secret | None) -> None:
    if csrf_token is None or not any(
        verify_csrf_token(keys.refresh, family_id, csrf_token) for family_id in family_ids
    ):
        raise CsrfFailed("csrf_token")


async def _live(
    db: Database,
    issuer: Issuer,
    authentic: _Authentic,
    now: datetime,
) -> dict[UUID, UUID]:
    """The families that are presented by a live credential, each with its user."""
    live: dict[UUID, UUID] = {}
    for access_token in authentic.access_tokens:
        try:
            account = await authenticate(db, issuer, access_token=access_token, now=now)
        except Unauthenticated:
            continue
        live[account.session_id] = account.id
    for token in authentic.refresh_tokens:
        async with db.autocommit() as connection:
            loaded = await refresh_families.load(connection, token.family_id)
        if loaded is not None:
            family, state = loaded
            if state.is_live(family.now) and state.generation == token.generation:
                live[family.id] = family.user_id
    return live


@uninterrupted
async def _end_all(
    db: Database,
    user_id: UUID,
    keep: tuple[UUID, ...],
    scope: Scope,
    caller: Caller,
) -> None:
    async with db.transaction() as session:
        # The user's row first, the families in a later statement: see `users.lock`.
        await users.lock(session, user_id)
        await sessions.revoke_many(
            session,
            reason=(
                RevokeReason.LOGOUT_OTHERS if scope is Scope.OTHERS else RevokeReason.LOGOUT_ALL
            ),
            caller=caller,
            user_id=user_id,
            keep=keep,
        )
