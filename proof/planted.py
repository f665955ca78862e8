"""
The service with a bug planted in it: `python -m proof.planted NAME`.

A checker that passes everything proves nothing. Each of these is a mistake that somebody made
(SECURITY §3.3, history checker, 4); the checker must find every one.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg

from authsvc.cli.main import main as authsvc
from authsvc.flows.refresh import Decided, _Rotation
from authsvc.flows.session import Outcome
from authsvc.protocol.audit import RevokeReason
from authsvc.protocol.errors import InvalidRefreshToken
from authsvc.protocol.refresh import Delivery, FamilyState, Verdict
from authsvc.store import group_commit, logins, refresh_families, rotation, sessions, users
from authsvc.store.database import Database
from authsvc.store.hot_statement import HotConnection
from authsvc.store.refresh_families import Family
from authsvc.store.rotation import RotationRequest
from proof.race_plants import nobody_goes_together

# What each bug breaks.
BUGS = {
    "non_atomic_rotate": "I1: two requests read one generation, and both write the next",
    "revoke_by_sweep": "I6: a revocation is acknowledged, and made by a task somewhat later",
    "revocation_rolled_back": "I4: the refusal of a reused token rolls its revocation back",
    "restart_forgets": "I5: revocations live in the memory of the process",
    "retry_forks": "I8: a retry rotates once more instead of repeating its answer",
    "login_survives_disable": "I6: a login does not look again after it verified the password",
    "crossed_answers": "I17: two families that rotate in one statement get each other's answers",
    "failover_loses": "I5: acknowledged rotations and revocations are lost with a primary",
}

PAUSE = 0.02  # seconds between reading and writing
SWEEP_AFTER = 0.4  # seconds
VERIFYING = 0.1  # seconds, as argon2 with parameters of production takes


def non_atomic_rotate() -> None:
    """Read, look, write: without a condition in the write."""

    async def rotate(connection: HotConnection, request: RotationRequest) -> Family | None:
        token, window = request.token, request.lifetimes.retry_window
        loaded = await refresh_families.load(connection, token.family_id)
        if loaded is None:
            return None
        family, state = loaded
        since = family.now - state.rotated_at
        kept = token.delivery.by_cookie and state.generation > 0 and since < window
        if not state.is_live(family.now) or state.generation != token.generation or kept:
            return None
        await asyncio.sleep(PAUSE)
        return await _advance(connection, family, request)

    rotation.rotate = rotate
    nobody_goes_together()


def revoke_by_sweep() -> None:
    """Acknowledge first; a task does the rest."""
    revoke_family, revoke_many = refresh_families.revoke_family, sessions.revoke_many
    open_database = Database.open
    opened: list[Database] = []
    sweeps: set[asyncio.Task[None]] = set()

    async def remembered(*arguments: Any, **options: Any) -> Database:
        # The last one: `serve` looks at the database before it serves.
        opened[:] = [await open_database(*arguments, **options)]
        return opened[0]

    async def sweep_one(arguments: Any, options: Any) -> None:
        await asyncio.sleep(SWEEP_AFTER)
        async with opened[0].autocommit() as connection:
            await revoke_family(connection, *arguments, **options)

    async def sweep_many(options: Any) -> None:
        await asyncio.sleep(SWEEP_AFTER)
        async with opened[0].transaction() as session:
            await revoke_many(session, **options)

    async def later_one(_: Any, *arguments: Any, **options: Any) -> bool:
        sweeps.add(asyncio.create_task(sweep_one(arguments, options)))
        return True

    async def later_many(_: Any, **options: Any) -> int:
        sweeps.add(asyncio.create_task(sweep_many(options)))
        return 1

    Database.open = remembered  # type: ignore[method-assign]  # the sweep needs it
    refresh_families.revoke_family = later_one  # type: ignore[assignment]  # the bug
    sessions.revoke_many = later_many  # type: ignore[assignment]  # the bug


def revocation_rolled_back() -> None:
    """One transaction around the revocation and the refusal."""

    async def revoke(self: _Rotation, family_id: UUID) -> None:
        async with self.runtime.db.transaction() as session:
            await sessions.revoke_one(
                session, family_id, reason=RevokeReason.REUSE, caller=self.request.caller
            )
            raise InvalidRefreshToken(Verdict.REUSED)

    _Rotation._revoke = revoke  # type: ignore[method-assign]  # the bug


def restart_forgets() -> None:
    """A set in memory: the process that heard of a revocation obeys it, while it lives."""
    load, rotate = refresh_families.load, rotation.rotate
    find_by_session = users.find_by_session
    revoked: set[UUID] = set()

    async def revoke_family(_: Any, family_id: UUID, **__: Any) -> bool:
        revoked.add(family_id)
        return True

    async def revoke_many(
        session: Any, *, user_id: UUID, keep: Sequence[UUID] = (), **_: Any
    ) -> int:
        ended = {family.id for family in await sessions.list_live(session, user_id)} - set(keep)
        revoked.update(ended)
        return len(ended)

    async def obedient_rotate(connection: HotConnection, request: RotationRequest) -> Family | None:
        if request.token.family_id in revoked:
            return None
        return await rotate(connection, request)

    async def obedient_load(connection: Any, family_id: UUID, **options: Any) -> Any:
        loaded = await load(connection, family_id, **options)
        if loaded is None or family_id not in revoked:
            return loaded
        family, state = loaded
        return family, replace(state, revoked_at=datetime.now(UTC))

    async def obedient_find(connection: Any, *, session_id: UUID, **options: Any) -> Any:
        if session_id in revoked:
            return None
        return await find_by_session(connection, session_id=session_id, **options)

    refresh_families.revoke_family = revoke_family  # type: ignore[assignment]  # the bug
    sessions.revoke_many = revoke_many
    rotation.rotate = obedient_rotate
    nobody_goes_together()
    refresh_families.load = obedient_load
    users.find_by_session = obedient_find


def retry_forks() -> None:
    """A second successor for whoever did not get the first."""
    act = _Rotation._act

    async def forking(
        self: _Rotation, found: Verdict, family: Family, state: FamilyState
    ) -> Decided | None:
        if found is not Verdict.RETRY:
            return await act(self, found, family, state)
        async with self.runtime.db.autocommit() as connection:
            forked = await _advance(connection, family, self.request)
        return Decided(forked, Outcome.ROTATED)

    _Rotation._act = forking  # type: ignore[method-assign]  # the bug


def crossed_answers() -> None:
    """The rows of a statement are taken in the order of the requests, or what is thought to be."""
    rotate, rotate_together = rotation.rotate, rotation.rotate_together

    async def slowly(connection: HotConnection, request: RotationRequest) -> Family | None:
        await asyncio.sleep(PAUSE)  # company gathers meanwhile
        return await rotate(connection, request)

    async def crossed(
        connection: HotConnection, requests: Sequence[RotationRequest]
    ) -> dict[UUID, Family]:
        rotated = await rotate_together(connection, requests)
        # Of one delivery, or the client would choke on an answer of the other kind.
        like: dict[Delivery, list[UUID]] = {}
        for family in rotated.values():
            like.setdefault(family.delivery, []).append(family.id)
        return {
            mine: rotated[theirs]
            for ids in like.values()
            for mine, theirs in zip(ids, reversed(ids), strict=True)
        }

    rotation.rotate = slowly
    rotation.rotate_together = crossed
    group_commit.LANES, group_commit.PATIENCE = 1, 1.0


def login_survives_disable() -> None:
    """The family is made for whoever was enabled when the password was verified."""
    create_family = logins.create_family
    statement = logins._create_family(logins.PasswordVerified.condition)
    forgetful = statement.text.replace("AND users.disabled_at IS NULL", "")
    assert forgetful != statement.text, statement.text
    statement.text = forgetful

    async def slowly(*arguments: Any, **options: Any) -> Any:
        await asyncio.sleep(VERIFYING)
        return await create_family(*arguments, **options)

    logins.create_family = slowly


PLANT: dict[str, Callable[[], None]] = {
    "non_atomic_rotate": non_atomic_rotate,
    "revoke_by_sweep": revoke_by_sweep,
    "revocation_rolled_back": revocation_rolled_back,
    "restart_forgets": restart_forgets,
    "retry_forks": retry_forks,
    "crossed_answers": crossed_answers,
    "login_survives_disable": login_survives_disable,
}


async def failover_loses(database_url: str, *, families: Sequence[str]) -> int:
    """
    Throw families back by their last commits, as the failover to an asynchronous standby does.

    Not a build but a step of the harness.

    Returns:
        How many rows went back.
    """
    connection = await asyncpg.connect(database_url)
    try:
        done = await connection.fetch(
            """
            UPDATE refresh_families
            SET generation = greatest(generation - 1, 0), revoked_at = NULL, revoke_reason = NULL,
                epoch = coalesce((SELECT session_epoch FROM users WHERE users.id = user_id), epoch)
            WHERE id = ANY($1::uuid[]) AND (revoked_at IS NOT NULL OR generation > 0)
            RETURNING id
            """,
            list(families),
        )
    finally:
        await connection.close()
    return len(done)


async def _advance(connection: HotConnection, family: Family, request: RotationRequest) -> Family:
    """One generation further than was read, whatever the row has become."""
    generation = family.generation + 1
    await connection.fetchrow(
        "UPDATE refresh_families SET generation = $2, mac_key_id = $3, attempt_digest = $4, "
        "rotated_at = clock_timestamp() WHERE id = $1",
        family.id,
        generation,
        request.successor_key_id,
        request.digest,
    )
    return replace(family, generation=generation, mac_key_id=request.successor_key_id)


def plant() -> None:
    """Plant the bug that AUTHSVC_PLANTED names, if any (see `zygote.Zygote`)."""
    name = os.environ.pop("AUTHSVC_PLANTED", None)
    if name is not None:
        PLANT[name]()


def main() -> None:
    """Plant the bug that is named, then serve as ever."""
    PLANT[sys.argv[1]]()
    sys.argv = ["authsvc", "serve"]
    authsvc()


if __name__ == "__main__":
    main()
