"""Refresh: one round trip and one signature, or the rules of CONTRACT §5.3 one by one."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from authsvc.flows.runtime import Runtime
from authsvc.flows.session import Outcome, Session, issue
from authsvc.protocol.audit import AuditEvent, Caller, RevokeReason
from authsvc.protocol.errors import DatabaseUnavailable, InvalidRefreshToken, OutcomeUnknown
from authsvc.protocol.refresh import (
    FamilyState,
    RefreshToken,
    Verdict,
    repeats_its_rotation,
    verdict,
)
from authsvc.store import refresh_families, rotation
from authsvc.store.database import RETRY_AFTER
from authsvc.store.refresh_families import Family
from authsvc.store.rotation import RotationRequest
from authsvc_client.tokens.secret import Secret

# First batched (SKIP LOCKED), then up to three single UPDATEs that wait for the row's lock: a
# verdict that was overtaken by another request is taken once more; after that, 503.
TRIES = 4


@dataclass(frozen=True, slots=True)
class RefreshRequest:
    """
    A request for fresh tokens.

    Args:
        token: Authentic, and it came as its delivery demands (`http.request.credentials`).
        idempotency_key: The Idempotency-Key header.
        under_way: How long ago the request came.
        abandoned: Whether the client has hung up, so that nobody will read the answer.
    """

    token: RefreshToken
    idempotency_key: Secret | None
    caller: Caller
    under_way: Callable[[], timedelta]
    abandoned: Callable[[], Awaitable[bool]]


async def refresh(runtime: Runtime, asked: RefreshRequest, *, now: datetime) -> Session:
    """
    Exchange a refresh token for a fresh pair.

    Args:
        now: The process's clock.

    Raises:
        InvalidRefreshToken: The token does not work; a reused one has ended its family, and
            that is durable. `detail` is the cause, from a closed set.
        DatabaseUnavailable: Nothing is known to have changed; the same request may be repeated.
    """
    # A rotation without an answer would make the next try a reuse.
    runtime.issuer.require_key(now)
    request = RotationRequest(
        token=asked.token,
        successor_key_id=runtime.keys.refresh.sealing_key(now).key_id,
        digest=_digest(asked.idempotency_key),
        lifetimes=runtime.lifetimes,
        caller=asked.caller,
    )
    decided = await _Rotation(runtime, asked, request).decide()
    return issue(runtime, decided.family, decided.outcome, now=now, healed=decided.healed)


@dataclass(frozen=True, slots=True)
class Decided:
    """The family as it now stands, and how it came to that."""

    family: Family
    outcome: Outcome
    healed: bool = False


@dataclass(frozen=True, slots=True)
class _Rotation:
    """One request to rotate one family."""

    runtime: Runtime
    asked: RefreshRequest
    request: RotationRequest

    async def decide(self) -> Decided:
        """Rotate, or find out why not and act on it."""
        rotate = self.runtime.group_commit.rotate
        for _ in range(TRIES):
            rotated = await self._advance(rotate)
            if rotated is not None:
                return rotated
            rotate = self.runtime.group_commit.alone
            loaded = await self._load()
            if loaded is None:
                raise InvalidRefreshToken("family_absent")
            family, state = loaded
            found = verdict(
                state,
                self.request.token,
                attempt_digest=self.request.digest,
                retry_window=self.request.lifetimes.retry_window,
                now=family.now,
                under_way=self.asked.under_way(),
            )
            decided = await self._act(found, family, state)
            if decided is not None:
                return decided
        raise DatabaseUnavailable("the family kept changing", retry_after=RETRY_AFTER)

    async def _act(self, found: Verdict, family: Family, state: FamilyState) -> Decided | None:
        """What a verdict other than "rotate" leads to; None: another request was quicker."""
        match found:
            case Verdict.ACTIVE:
                return None
            case Verdict.KEPT:
                return Decided(family, Outcome.KEPT)
            case Verdict.RETRY:
                return Decided(family, Outcome.REPLAYED)
            case Verdict.AHEAD:
                healed = await self._advance(self._heal)
                return replace(healed, healed=True) if healed else None
            case Verdict.REUSED:
                if await self.asked.abandoned():
                    await self._excuse_once("abandoned", family, state)
                await self._revoke(family.id)
            case Verdict.OVERTAKEN:
                raise DatabaseUnavailable(found, retry_after=RETRY_AFTER)
            case Verdict.FAR_AHEAD:
                await self._record_once(AuditEvent.GENERATION_FAR_AHEAD, family)
            case Verdict.REVOKED | Verdict.EXPIRED | Verdict.USER_DISABLED:
                pass  # nothing changes
        raise InvalidRefreshToken(found)

    async def _excuse_once(self, cause: str, family: Family, state: FamilyState) -> None:
        """
        Audit a spent token that may be an honest client's, and ask to repeat the request.

        What its client gave up may be read and judged long after its repetition (decision 0011).
        A thief may look the same, but not twice: the second is for the caller to end. The key of
        the rotation is the client's alone, so that a request which repeats it never counts.

        Raises:
            DatabaseUnavailable: It is excused.
        """
        repeats = repeats_its_rotation(state, self.request.token, self.request.digest)
        if not repeats and not await self._record_once(AuditEvent.REFRESH_TOKEN_ABANDONED, family):
            return
        raise DatabaseUnavailable(cause, retry_after=RETRY_AFTER)

    async def _record_once(self, event: AuditEvent, family: Family) -> bool:
        token, caller = self.request.token, self.request.caller
        async with self.runtime.db.autocommit() as connection:
            return await refresh_families.record_once(
                connection, event, family, token, caller=caller
            )

    async def _load(self) -> tuple[Family, FamilyState] | None:
        async with self.runtime.db.autocommit() as connection:
            return await refresh_families.load(connection, self.request.token.family_id)

    async def _heal(self, request: RotationRequest) -> Family | None:
        async with self.runtime.db.autocommit() as connection:
            return await rotation.heal(connection, request)

    async def _advance(
        self, step: Callable[[RotationRequest], Awaitable[Family | None]]
    ) -> Decided | None:
        """Rotate or heal; a commit whose reply was lost is recognised as ours."""
        try:
            family = await step(self.request)
        except OutcomeUnknown:
            return await self._own_commit()
        return Decided(family, Outcome.ROTATED) if family else None

    async def _own_commit(self) -> Decided:
        """
        After a connection broke between statement and reply: did it commit?

        One generation further with this very attempt's digest is our own commit. Everything
        else stays unknown, and unknown is 503, never a guess. Where the client chose the key,
        it may as well have been its other request with the same key that rotated: the
        successor is the same, and "replayed" is true of both.
        """
        loaded = await self._load()
        if loaded is not None:
            family, state = loaded
            keyed = self.asked.idempotency_key is not None
            if (
                state.generation == self.request.token.generation + 1
                and not state.ended
                and hmac.compare_digest(state.attempt_digest or b"", self.request.digest)
            ):
                return Decided(family, Outcome.REPLAYED if keyed else Outcome.ROTATED)
        raise DatabaseUnavailable("outcome of the rotation unknown", retry_after=RETRY_AFTER)

    async def _revoke(self, family_id: UUID) -> None:
        """Durable before the refusal is raised; an unknown outcome is 503, and tried again."""
        async with self.runtime.db.autocommit() as connection:
            await refresh_families.revoke_family(
                connection,
                family_id,
                reason=RevokeReason.REUSE,
                caller=self.request.caller,
                presented_generation=self.request.token.generation,
            )


def _digest(idempotency_key: Secret | None) -> bytes:
    """What a retry must repeat; without a key nothing can."""
    material = idempotency_key.encode() if idempotency_key else secrets.token_bytes(32)
    return hashlib.sha256(material).digest()
