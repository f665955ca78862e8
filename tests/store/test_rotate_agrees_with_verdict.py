"""The statements restate `verdict() == ACTIVE` in SQL; here they are held together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import product
from uuid import UUID, uuid4

import pytest
from sqlmodel import col, update

from authsvc.protocol.refresh import Delivery, RefreshToken, Verdict, verdict
from authsvc.store import refresh_families, rotation, users
from authsvc.store.database import Database
from authsvc.store.hot_statement import HotConnection
from authsvc.store.refresh_families import Family
from authsvc.store.rotation import RotationRequest
from authsvc.store.tables import RefreshFamily, User
from tests.conftest import CALLER, LIFETIMES, START, database_at

NOW = START + timedelta(hours=5)
SECOND = timedelta(seconds=1)


def request(token: RefreshToken) -> RotationRequest:
    return RotationRequest(
        token=token,
        successor_key_id=b"l" * 8,
        digest=b"d" * 32,
        lifetimes=LIFETIMES,
        caller=CALLER,
    )


async def alone(connection: HotConnection, token: RefreshToken) -> Family | None:
    return await rotation.rotate(connection, request(token))


async def together(connection: HotConnection, token: RefreshToken) -> Family | None:
    absent = request(replace(token, family_id=uuid4()))
    rotated = await rotation.rotate_together(connection, [absent, request(token)])
    return rotated.get(token.family_id)


@pytest.mark.parametrize("rotate", [alone, together])
async def test_rotate_happens_exactly_when_the_verdict_is_active(
    db: Database, rotate: Callable[[HotConnection, RefreshToken], Awaitable[Family | None]]
) -> None:
    """Walks every combination of states."""
    async with db.transaction() as session:
        user = await users.create(session, email="a@example.com", password_hash="x")
        assert user is not None
        family = RefreshFamily(
            user_id=user.id,
            client_id="authsvc",
            delivery="spa",
            remember=True,
            generation=0,
            mac_key_id=b"k" * 8,
            rotated_at=START,
            created_at=START,
            auth_time=START,
            amr=["pwd"],
            scope="",
            idle_expires_at=START,
            absolute_expires_at=START,
            ip="",
            user_agent="",
            last_ip="",
            last_user_agent="",
        )
        session.add(family)
    disagreements = []
    seen: set[Verdict] = set()

    for state in product(
        (0, 1, 4),  # generation
        (0, 1, 2, 3, 4, 5, 6, 7),  # presented
        tuple(Delivery),
        (NOW + SECOND, NOW, NOW - 9 * SECOND, NOW - 10 * SECOND, NOW - 60 * SECOND),  # rotated_at
        ((1, 1), (0, 1), (1, 0)),  # idle, absolute: one second left or none
        (
            (False, False, 1),
            (True, False, 1),
            (False, True, 1),
            (False, False, 2),
        ),  # revoked, user disabled, user's epoch
    ):
        generation, presented, delivery, rotated_at, (idle, absolute), ended = state
        revoked, disabled, user_epoch = ended
        # Only the neighbourhood of a generation is told apart; the rest repeats itself.
        if not -4 <= presented - generation <= 3:
            continue
        await _put(
            db,
            user.id,
            family.id,
            generation=generation,
            rotated_at=rotated_at,
            idle_expires_at=NOW + idle * SECOND,
            absolute_expires_at=NOW + absolute * SECOND,
            revoked_at=START if revoked else None,
            disabled_at=START if disabled else None,
            user_epoch=user_epoch,
        )
        token = RefreshToken(
            mac_key_id=b"k" * 8, family_id=family.id, generation=presented, delivery=delivery
        )
        async with db.autocommit() as connection:
            with database_at(NOW):
                loaded = await refresh_families.load(connection, family.id)
                rotated = await rotate(connection, token)
            assert loaded is not None
        expected = verdict(
            loaded[1],
            token,
            attempt_digest=b"d" * 32,
            retry_window=LIFETIMES.retry_window,
            now=NOW,
        )
        seen.add(expected)
        if (rotated is not None) is not (expected is Verdict.ACTIVE):
            disagreements.append((state, expected, rotated))

    assert [] == disagreements
    # That one depends on how long a request waited, which `rotate` cannot know.
    assert set(Verdict) - {Verdict.OVERTAKEN} == seen


async def _put(
    db: Database,
    user_id: UUID,
    family_id: UUID,
    *,
    generation: int,
    rotated_at: datetime,
    idle_expires_at: datetime,
    absolute_expires_at: datetime,
    revoked_at: datetime | None,
    disabled_at: datetime | None,
    user_epoch: int,
) -> None:
    async with db.transaction() as session:
        await session.exec(
            update(RefreshFamily)
            .where(col(RefreshFamily.id) == family_id)
            .values(
                generation=generation,
                rotated_at=rotated_at,
                idle_expires_at=idle_expires_at,
                absolute_expires_at=absolute_expires_at,
                revoked_at=revoked_at,
                revoke_reason="logout" if revoked_at else None,
                attempt_digest=b"o" * 32,
            )
        )
        await session.exec(
            update(User)
            .where(col(User.id) == user_id)
            .values(disabled_at=disabled_at, session_epoch=user_epoch)
        )


async def test_an_unknown_family_does_not_rotate(db: Database) -> None:
    token = RefreshToken(
        mac_key_id=b"k" * 8, family_id=uuid4(), generation=0, delivery=Delivery.SPA
    )

    async with db.autocommit() as connection:
        rotated = await alone(connection, token)
        in_company = await together(connection, token)
        loaded = await refresh_families.load(connection, token.family_id)

    assert rotated is None
    assert in_company is None
    assert loaded is None
