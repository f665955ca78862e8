"""What a verifier would say to a token, and why."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from authsvc.cli.console import duration
from authsvc.cli.token_checks import STRICTER, Check, check_access_token, decode
from authsvc.cli.token_keys import Keys
from authsvc.keys.refresh_tokens import PREFIX, UnknownMacKey, open_token
from authsvc.keys.unverified_tokens import read_unverified
from authsvc.protocol.clients import CLIENT_ID
from authsvc.protocol.errors import InvalidRefreshToken
from authsvc.protocol.refresh import FamilyState, RefreshToken, Verdict, verdict
from authsvc_client.tokens.access_token import TYP, verify_access_token
from authsvc_client.tokens.claims import LATEST, moment
from authsvc_client.tokens.errors import InvalidToken, UnknownKey
from authsvc_client.tokens.jws import read

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
BY_COOKIE = {True: "in its cookie only", False: "in a request body only"}


@dataclass(frozen=True, slots=True)
class Explanation:
    """
    Args:
        kind: ``access_token``, ``refresh_token`` or ``unknown``.
        accepted: Whether a verifier would accept it.
        claims: Of a refresh token: session_id, generation, delivery, mac_key_id.
        of_client: Of a service's access token: its client's id, its `jti`, and when it was issued.
    """

    kind: str
    accepted: bool
    summary: str
    checks: tuple[Check, ...]
    header: dict[str, object] | None = None
    claims: dict[str, object] | None = None
    session_id: UUID | None = None
    refresh_token: RefreshToken | None = None
    of_client: tuple[str, str, datetime] | None = None


def explain(token: str, *, keys: Keys, issuer: str, audience: str, now: datetime) -> Explanation:
    """Explain a token of either kind; nothing in it is trusted."""
    if token.startswith(PREFIX):
        return _refresh_token(token, keys)
    if token.count(".") == 2:  # noqa: PLR2004 - RFC 7515 §7.1
        return _access_token(token, keys, issuer=issuer, audience=audience, now=now)
    words = "is neither three parts with dots (an access token) nor art1.… (a refresh token)"
    return Explanation(
        "unknown",
        accepted=False,
        summary=f"This is not a token: it {words}.",
        checks=(Check("form", passed=False, words=words),),
    )


def with_session(
    explanation: Explanation,
    state: FamilyState | None,
    *,
    retry_window: timedelta,
    now: datetime | None,
) -> Explanation:
    """
    Add what the database knows of the token's session.

    Args:
        state: None if there is no such session.
        now: The database's clock.
    """
    token = explanation.refresh_token
    if state is None or now is None:
        check = Check("session", passed=False, words="is not in the database (any more)")
    elif token is not None:
        # As a request without an Idempotency-Key.
        attempt = secrets.token_bytes(32)
        found = verdict(state, token, attempt_digest=attempt, retry_window=retry_window, now=now)
        check = Check("session", passed=found in WORKS, words=OF_A_SESSION[found])
    elif state.user_disabled_at is not None:
        check = Check("session", passed=False, words=OF_A_SESSION[Verdict.USER_DISABLED])
    elif state.revoked_at is not None:
        words = f"was ended {duration(now - state.revoked_at)} ago: authsvc itself refuses it"
        check = Check("session", passed=False, words=words)
    elif state.ended:
        words = "was ended with all others of its user: authsvc itself refuses it"
        check = Check("session", passed=False, words=words)
    else:
        check = Check("session", passed=True, words="has not been ended")
    return _and(explanation, check)


def with_client(explanation: Explanation, *, enabled: bool, revoked: bool) -> Explanation:
    """Add what the database knows of a service's token: what introspection would say."""
    if not enabled:
        return _and(explanation, Check("client", passed=False, words="is disabled, or unknown"))
    if revoked:
        return _and(explanation, Check("client", passed=False, words="has revoked this token"))
    return _and(
        explanation, Check("client", passed=True, words="is enabled, and has not revoked it")
    )


def _and(explanation: Explanation, check: Check) -> Explanation:
    accepted = explanation.accepted and check.passed is True
    checks = (*explanation.checks, check)
    noun = _noun(explanation.kind)
    return replace(
        explanation, accepted=accepted, checks=checks, summary=_summary(noun, checks, accepted)
    )


def _access_token(
    token: str, keys: Keys, *, issuer: str, audience: str, now: datetime
) -> Explanation:
    unverified = decode(token)
    checks = tuple(
        check_access_token(
            token, unverified, find_key=keys.find, issuer=issuer, audience=audience, now=now
        )
    )
    # The verdict is the verifier's own; the checks only say why.
    try:
        jws = read(token, TYP)
        key = keys.find(jws.kid).public_key
        if key is None:
            raise UnknownKey
        verify_access_token(jws, key, issuer=issuer, audience=audience, now=now)
    except InvalidToken as exc:
        accepted = False
        if all(check.passed for check in checks):
            words = STRICTER.get(exc.detail, f"is refused: {exc.detail}")
            checks = (*checks, Check("strictness", passed=False, words=words))
    else:
        accepted = True
    return Explanation(
        "access_token",
        accepted=accepted,
        summary=_summary("access token", checks, accepted),
        checks=checks,
        header=unverified.header,
        claims=unverified.claims,
        session_id=_uuid((unverified.claims or {}).get("sid")),
        of_client=_of_client(unverified.claims or {}),
    )


def _refresh_token(token: str, keys: Keys) -> Explanation:
    read = read_unverified(token)
    if read is None:
        words = "begins like a refresh token, but was cut off or changed"
        check = Check("form", passed=False, words=words)
        summary = _summary("refresh token", (check,), accepted=False)
        return Explanation("refresh_token", accepted=False, summary=summary, checks=(check,))
    checks = [
        Check("form", passed=True, words=f"is a refresh token of {read.delivery} delivery"),
        Check("transport", passed=True, words=f"is {BY_COOKIE[read.delivery.by_cookie]}"),
        *_mac(token, read, keys),
    ]
    accepted = all(check.passed for check in checks)
    return Explanation(
        "refresh_token",
        accepted=accepted,
        summary=_summary("refresh token", tuple(checks), accepted),
        checks=tuple(checks),
        claims={
            "session_id": str(read.family_id),
            "generation": read.generation,
            "delivery": str(read.delivery),
            "mac_key_id": read.mac_key_id.hex(),
        },
        session_id=read.family_id,
        refresh_token=read,
    )


def _mac(token: str, read: RefreshToken, keys: Keys) -> list[Check]:
    name = read.mac_key_id.hex()
    if keys.refresh is None:
        return [Check("MAC key", passed=None, words=keys.nowhere)]
    try:
        open_token(keys.refresh, token)
    except UnknownMacKey:
        words = f"{name} is unknown here: it was deleted, or the token belongs to another service"
        return [Check("MAC key", passed=False, words=words)]
    except InvalidRefreshToken:
        return [
            Check("MAC key", passed=True, words=f"{name} is known"),
            Check("MAC", passed=False, words="is wrong: the token was changed or made up"),
        ]
    return [
        Check("MAC key", passed=True, words=f"{name} is known"),
        Check("MAC", passed=True, words="is right: authsvc made this token"),
    ]


def _summary(noun: str, checks: tuple[Check, ...], accepted: bool) -> str:  # noqa: FBT001 - a fact
    failed = [f"{check.name} {check.words}" for check in checks if check.passed is False]
    if accepted:
        asked = any(check.name in {"session", "client"} for check in checks)
        rest = "" if asked else "; only the database knows whether it has been ended (--session)"
        return f"A verifier would accept this {noun}{rest}."
    if failed:
        return f"A verifier would refuse this {noun}: {'; '.join(failed)}."
    unknown = [f"{check.name} {check.words}" for check in checks if check.passed is None]
    return f"Whether a verifier would accept this {noun} is not known: {'; '.join(unknown)}."


def _of_client(claims: dict[str, object]) -> tuple[str, str, datetime] | None:
    client_id, jti, iat = claims.get("client_id"), claims.get("jti"), claims.get("iat")
    if "sid" in claims or not isinstance(client_id, str) or not isinstance(jti, str):
        return None
    if not isinstance(iat, int) or not 0 <= iat <= LATEST:
        return None
    return (client_id, jti, moment(iat)) if CLIENT_ID.fullmatch(client_id) else None


def _noun(kind: str) -> str:
    return kind.replace("_", " ")


def _uuid(value: object) -> UUID | None:
    try:
        return UUID(value) if isinstance(value, str) else None
    except ValueError:
        return None
