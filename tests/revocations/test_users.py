"""A user fills no more than its part of the revocation log, which all share."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import UUID

import pytest
from sqlmodel import func, select

from authsvc.flows import follow_revocations
from authsvc.flows.maintain import prune
from authsvc.protocol.audit import RevokeReason
from authsvc.protocol.errors import Unauthenticated
from authsvc.store import refresh_families, sessions, users
from authsvc.store.database import Database
from authsvc.store.refresh_families import Family
from authsvc_client.tokens.revocation_feed import STEP
from authsvc_client.tokens.revocations import LIFE, Entry, Kind, RevocationSet, Standing, digest
from tests.conftest import CALLER, database_at
from tests.revocations.conftest import NewProcess, Process, at, claims
from tests.support import accounts
from tests.support.accounts import add_user
from tests.support.revocation_entries import entries
from tests.support.waiting import HANGS

pytestmark = pytest.mark.finding("11.4")
MAX_LIVE = 100


async def log_in(db: Database, user_id: UUID, seconds: float, *, max_sessions: int = 100) -> Family:
    with database_at(at(seconds)):
        return await accounts.log_in(db, user_id, max_sessions=max_sessions)


async def log_out(db: Database, family: Family, seconds: float) -> None:
    with database_at(at(seconds)):
        async with db.autocommit() as connection:
            assert await refresh_families.revoke_family(
                connection,
                family.id,
                reason=RevokeReason.LOGOUT,
                caller=CALLER,
            )


async def in_and_out(db: Database, user_id: UUID, times: int, seconds: float = 0) -> list[Family]:
    found = []
    for _ in range(times):
        found.append(await log_in(db, user_id, seconds))
        await log_out(db, found[-1], seconds)
    return found


async def kinds(db: Database) -> list[str]:
    return [kind for kind, _, _ in await entries(db)]


def standing(process: Process, family: Family, seconds: float = 0) -> str:
    token = claims(
        sub=str(family.user_id), sid=family.id, ver=family.ver, iat=at(seconds), exp=at(seconds + 9)
    )
    try:
        process.known.check(token, now=at(seconds))
    except Unauthenticated as refusal:
        return str(refusal.detail)
    return Standing.GOOD


async def test_accounts_that_log_in_and_out_end_their_own_tokens_and_no_others(
    db: Database, new_process: NewProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fourteen accounts at the limit of logins, scaled to a hundredth of the log."""
    monkeypatch.setattr(follow_revocations, "MAX_ENTRIES", 500)
    process = new_process()
    bystander = await log_in(db, await add_user(db, "bystander@example.com"), 0)
    ended = []
    for number in range(4):
        ended += await in_and_out(db, await add_user(db, f"a{number}@example.com"), 250, 4)
        await process.look(4)
    await process.look(10)
    fresh = new_process()
    await fresh.look(10)

    for each in (process, fresh):
        assert Standing.GOOD == standing(each, bystander)
        assert Standing.GOOD not in {standing(each, family, 4) for family in ended}
        assert Kind.ISSUED_BEFORE not in {entry.kind for entry in each.feed(10).entries}
        assert 4 * MAX_LIVE >= len(each.feed(10).entries)
    assert process.document(10) == fresh.document(10)


async def test_within_its_part_a_user_ends_single_sessions(db: Database) -> None:
    user_id = await add_user(db)
    await in_and_out(db, user_id, MAX_LIVE)

    assert ["sid"] * MAX_LIVE == await kinds(db)
    assert 1 == (await log_in(db, user_id, 0)).ver


async def test_beyond_its_part_one_entry_contains_all_so_far(
    db: Database, process: Process
) -> None:
    user_id = await add_user(db)
    other = await log_in(db, user_id, 0)
    ended = await in_and_out(db, user_id, MAX_LIVE + 1)
    await process.look(5)

    (entry,) = process.feed(5).entries
    assert (Kind.VER, digest(str(user_id)), 2) == (entry.kind, entry.digest, entry.least_ver)
    for family in (*ended, other):
        assert Standing.STALE_CLAIMS == standing(process, family)


async def test_a_session_that_lives_on_is_only_refreshed_early_and_once_in_a_hundred(
    db: Database, process: Process
) -> None:
    """In the very second of the revocation, too: a version has no granularity."""
    user_id = await add_user(db)
    other = await log_in(db, user_id, 0)
    await in_and_out(db, user_id, MAX_LIVE + 1)
    with database_at(at(0)):
        async with db.autocommit() as connection:
            loaded = await refresh_families.load(connection, other.id)
    assert loaded is not None
    refreshed, state = loaded
    assert state.is_live(at(0))

    for _ in range(MAX_LIVE - 1):
        await in_and_out(db, user_id, 1)
        await process.look(5)
        assert Standing.GOOD == standing(process, refreshed)
    await in_and_out(db, user_id, 1)
    await process.look(5)

    assert Standing.STALE_CLAIMS == standing(process, refreshed)


async def test_the_first_token_of_a_login_that_displaces_one_is_valid(
    db: Database, process: Process
) -> None:
    user_id = await add_user(db)
    families = [await log_in(db, user_id, 0, max_sessions=1) for _ in range(MAX_LIVE + 2)]
    await process.look(5)

    assert 2 == families[-1].ver
    assert [Kind.VER] == [entry.kind for entry in process.feed(5).entries]
    assert Standing.GOOD == standing(process, families[-1])
    assert Standing.GOOD not in {standing(process, family) for family in families[:-1]}


@pytest.mark.parametrize("reason", [RevokeReason.REUSE, RevokeReason.TOKEN_REVOKED])
async def test_however_a_session_ends_it_counts(db: Database, reason: RevokeReason) -> None:
    user_id = await add_user(db)
    await in_and_out(db, user_id, MAX_LIVE)
    family = await log_in(db, user_id, 0)

    with database_at(at(0)):
        async with db.autocommit() as connection:
            await refresh_families.revoke_family(
                connection, family.id, reason=reason, caller=CALLER
            )

    assert "ver" == (await kinds(db))[-1]


async def test_sessions_that_end_together_count_together(db: Database) -> None:
    user_id, other = await add_user(db), await add_user(db, "other@example.com")
    await in_and_out(db, other, 2)
    await in_and_out(db, user_id, 50)
    for _ in range(51):
        await log_in(db, user_id, 0)

    with database_at(at(0)):
        async with db.transaction() as session:
            await sessions.revoke_many(session, reason="moved", caller=None, user_id=user_id)

    assert ["sid"] * 52 + ["ver"] == await kinds(db)


async def test_the_part_is_free_again_when_its_entries_have_expired(db: Database) -> None:
    user_id = await add_user(db)
    await in_and_out(db, user_id, MAX_LIVE)

    await in_and_out(db, user_id, 1, LIFE.total_seconds() + 1)

    assert ["sid"] * (MAX_LIVE + 1) == await kinds(db)


async def test_a_change_of_roles_contains_what_was_before(db: Database, process: Process) -> None:
    user_id = await add_user(db)
    (ended,) = await in_and_out(db, user_id, 1)
    with database_at(at(0)):
        async with db.transaction() as session:
            await users.set_roles(session, user_id, ["admin"])
    await process.look(5)

    assert [Kind.VER] == [entry.kind for entry in process.feed(5).entries]
    assert Standing.STALE_CLAIMS == standing(process, ended)


async def test_what_is_replaced_is_in_every_document_until_that_which_replaces_it_is(
    db: Database, new_process: NewProcess
) -> None:
    """Also a process that starts between the two claims no more than it says."""
    user_id = await add_user(db)
    process = new_process()
    ended = await in_and_out(db, user_id, MAX_LIVE, 4)
    await in_and_out(db, user_id, 1, 6)
    await process.look(7)
    fresh = new_process()
    await fresh.look(7)

    knows = RevocationSet()
    for entry in fresh.feed(7).entries:
        knows.add(entry)
    for family in ended:
        token = claims(sub=str(user_id), sid=family.id, ver=family.ver)
        assert Standing.GOOD is not knows.standing(token)
    assert process.document(7) == fresh.document(7)


@pytest.mark.parametrize("seconds", [4, 6], ids=["replaced in this step", "in no document yet"])
async def test_a_process_that_starts_lacks_nothing_of_others(
    db: Database, new_process: NewProcess, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    """What it reads is limited; the limit is for what is in the document."""
    monkeypatch.setattr(follow_revocations, "MAX_ENTRIES", 50)
    process = new_process()
    await in_and_out(db, await add_user(db, "other@example.com"), 1)
    await in_and_out(db, await add_user(db), MAX_LIVE + 1, seconds)
    await process.look(7)
    fresh = new_process()
    await fresh.look(7)

    assert Kind.SID in {entry.kind for entry in fresh.feed(7).entries}
    assert process.document(7) == fresh.document(7)


async def test_a_verifier_that_asks_for_parts_learns_no_less(
    db: Database, process: Process
) -> None:
    user_id = await add_user(db)
    knows = RevocationSet()
    since = None
    ended = []
    for step in range(1, 60):
        ended += await in_and_out(db, user_id, 7, step * 5 - 1)
        await process.look(step * 5)
        part = process.feed(step * 5, since)
        since = part.seq
        for entry in part.entries:
            knows.add(entry)

    for family in ended:
        token = claims(sub=str(user_id), sid=family.id, ver=family.ver)
        assert Standing.GOOD is not knows.standing(token)


async def test_what_is_replaced_is_deleted(db: Database) -> None:
    user_id = await add_user(db)
    await in_and_out(db, user_id, MAX_LIVE + 1)

    with database_at(at(0) + STEP):
        await prune(db, audit_retention=timedelta(days=1))
    assert MAX_LIVE + 1 == len(await entries(db))
    with database_at(at(61)):
        await prune(db, audit_retention=timedelta(days=1))
    assert ["ver"] == await kinds(db)


async def test_a_long_transaction_beside_lets_nobody_fill_the_log(
    db: Database, new_process: NewProcess
) -> None:
    """While any runs in the server, none that began later counts as seen by all."""
    process = new_process()
    user_id = await add_user(db)
    async with db.transaction() as session:
        await session.exec(select(func.pg_current_xact_id()))
        await in_and_out(db, user_id, 2 * MAX_LIVE, 4)
        await process.look(5)
        fresh = new_process()
        await fresh.look(5)

        assert MAX_LIVE + 1 == len(process.feed(5).entries)
        assert process.document(5) == fresh.document(5)
        with database_at(at(65)):
            await prune(db, audit_retention=timedelta(days=1))
        assert MAX_LIVE + 1 == len(await entries(db))


async def test_who_has_the_row_of_the_user_is_not_waited_for(db: Database) -> None:
    """Nor is a deadlock possible with what ends all sessions, which has it first."""
    user_id = await add_user(db)
    await in_and_out(db, user_id, MAX_LIVE)
    family = await log_in(db, user_id, 0)
    async with db.transaction() as session:
        await users.set_roles(session, user_id, ["admin"])
        async with asyncio.timeout(HANGS):
            await log_out(db, family, 0)

    assert ["sid"] * (MAX_LIVE + 1) + ["ver"] == sorted(await kinds(db))


async def test_those_that_end_at_once_are_all_announced(db: Database) -> None:
    user_id = await add_user(db)
    await in_and_out(db, user_id, MAX_LIVE - 2)
    families = [await log_in(db, user_id, 0) for _ in range(12)]

    await asyncio.gather(*(log_out(db, family, 0) for family in families))

    knows = RevocationSet()
    for kind, found, ver in await entries(db):
        knows.add(Entry(Kind(kind), at(LIFE.total_seconds()), found, ver))
    for family in families:
        token = claims(sub=str(user_id), sid=family.id, ver=family.ver)
        assert Standing.GOOD is not knows.standing(token)
