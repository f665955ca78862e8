"""A client fills no more than its part of the revocation log, which all share."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import pytest

from authsvc.flows import follow_revocations
from authsvc.protocol.errors import Unauthenticated
from authsvc.protocol.revocation_feed import CLIENT_VER
from authsvc.store import spent_jtis
from authsvc.store.database import Database
from authsvc_client.tokens.revocations import LIFE, Kind, RevocationSet, Standing, digest
from tests.conftest import CALLER, database_at
from tests.revocations.conftest import NewProcess, Process, at, claims
from tests.support.revocation_entries import entries

pytestmark = pytest.mark.finding("11.4")
MANY = 6_000
MAX_LIVE = spent_jtis.MAX_LIVE


def token(client_id: str = "shop", jti: str = "1", seconds: float = 0) -> dict[str, object]:
    return {"sub": client_id, "client_id": client_id, "jti": jti, "ver": None, "iat": at(seconds)}


async def revoke(
    db: Database, jti: str, seconds: float, *, issued: float = 0, client_id: str = "shop"
) -> bool:
    with database_at(at(seconds)):
        async with db.autocommit() as connection:
            return await spent_jtis.revoke_access_token(
                connection,
                client_id=client_id,
                jti=jti,
                issued_at=at(issued),
                expires_at=at(issued + 900),
                caller=CALLER,
            )


async def is_revoked(
    db: Database, jti: str, issued_at: datetime, *, client_id: str = "shop"
) -> bool:
    async with db.autocommit() as connection:
        return await spent_jtis.is_revoked(
            connection, client_id=client_id, jti=jti, issued_at=issued_at
        )


async def revoke_more_than_its_part(db: Database, *, client_id: str = "shop") -> None:
    for number in range(MAX_LIVE + 1):
        assert await revoke(db, f"{number}", 1, client_id=client_id)


def refuses(process: Process, **changes: object) -> bool:
    try:
        process.known.check(claims(**changes), now=at(0))
    except Unauthenticated:
        return True
    return False


async def test_a_client_that_fills_the_log_ends_its_own_tokens_and_no_others(
    db: Database, new_process: NewProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tenth of 60,000 revocations for a tenth of the log, in the 1,000 s that it took."""
    monkeypatch.setattr(follow_revocations, "MAX_ENTRIES", 5_000)
    process = new_process()
    for number in range(MANY):
        await revoke(db, f"{number}", number / 6, issued=int(number / 6))
    await process.look(1005)
    fresh = new_process()
    await fresh.look(1005)

    for each in (process, fresh):
        assert not refuses(each, sid=UUID(int=1), jti="a user's")
        assert not refuses(each, **token("other", "another"))
        assert not refuses(each, **token("shop", "later", 1005))
        for number in range(MANY):
            assert refuses(each, **token("shop", f"{number}", int(number / 6)))
    for number in range(0, MANY, 97):
        assert await is_revoked(db, f"{number}", at(int(number / 6)))
    assert not await is_revoked(db, "another", at(0), client_id="other")
    assert not await is_revoked(db, "later", at(1005))
    assert process.document(1005) == fresh.document(1005)
    assert MAX_LIVE + 1 == len(process.feed(1005).entries)


async def test_within_its_part_a_client_ends_single_tokens(db: Database, process: Process) -> None:
    for number in range(MAX_LIVE):
        await revoke(db, f"{number}", 1)
    await process.look(5)

    assert {(Kind.JTI, None)} == {(kind, ver) for kind, _, ver in await entries(db)}
    assert not refuses(process, **token("shop", "another"))
    assert not await is_revoked(db, "another", at(0))


async def test_beyond_its_part_all_so_far_are_ended_and_none_that_come(
    db: Database, process: Process
) -> None:
    await revoke_more_than_its_part(db)
    await process.look(5)

    assert refuses(process, **token("shop", "another", 2))
    assert await is_revoked(db, "another", at(2))
    # Two seconds for the clocks of replicas, as for the moment of all.
    assert not refuses(process, **token("shop", "another", 3))
    assert not await is_revoked(db, "another", at(3))
    assert not refuses(process, **token("other", "another"))


async def test_what_has_ended_with_the_others_is_not_written_again(db: Database) -> None:
    await revoke_more_than_its_part(db)
    written = await entries(db)

    assert not await revoke(db, "another", 1)
    assert written == await entries(db)
    assert await revoke(db, "one that was issued later", 4, issued=3)
    assert len(written) + 1 == len(await entries(db))


async def test_a_verifier_that_asks_for_no_clients_refuses_no_less(
    db: Database, process: Process
) -> None:
    """One of the release before refuses a document with an entry that it does not know."""
    await revoke_more_than_its_part(db)
    await process.look(5)

    (old,) = [entry for entry in process.feed(5).entries if entry.kind is not Kind.JTI]
    (new,) = [e for e in process.feed(5, clients=True).entries if e.kind is not Kind.JTI]

    assert (Kind.VER, digest("shop"), CLIENT_VER) == (old.kind, old.digest, old.least_ver)
    assert (Kind.CLIENT, digest("shop"), at(3)) == (new.kind, new.digest, new.issued_before)
    knows = RevocationSet()
    knows.add(old)
    assert Standing.GOOD is not knows.standing(claims(**token("shop", "another")))
    assert Standing.GOOD is knows.standing(claims(jti="a user's"))


async def test_the_part_is_free_again_when_its_entries_have_expired(db: Database) -> None:
    await revoke_more_than_its_part(db)
    later = 900 + LIFE.total_seconds() + 1

    assert await revoke(db, "later", later, issued=later)

    assert (Kind.JTI, digest("later"), None) == (await entries(db))[-1]
