"""What a process learns from the log, and what its feed says of it."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID

import asyncpg
import pytest

from authsvc.flows import follow_revocations
from authsvc.protocol.errors import DatabaseUnavailable, Unauthenticated
from authsvc.store.database import Database
from authsvc_client.tokens.revocations import Kind, digest
from tests.conftest import START, Statements
from tests.revocations.conftest import NewProcess, Process, at, claims
from tests.support.key_material import kid, put_signing
from tests.support.revocation_entries import entries


async def write(
    database: Database | asyncpg.Connection, kind: Kind, name: str = "", seconds: float = 0
) -> None:
    """An entry, as a revocation writes it; on a connection of asyncpg within its transaction."""
    statement = (
        "INSERT INTO revocations (kind, digest, revoked_at, least_ver) VALUES ($1, $2, $3, $4)"
    )
    values = (kind, digest(name) if name else None, at(seconds), 2 if kind is Kind.VER else None)
    if isinstance(database, Database):
        async with database.autocommit() as connection:
            await connection.fetchrow(statement, *values)
    else:
        await database.execute(statement, *values)


def names(process: Process, seconds: float, since: int | None = None) -> set[bytes | None]:
    return {entry.digest for entry in process.feed(seconds, since).entries}


@pytest.mark.requirement("D3", "D4")
@pytest.mark.parametrize(
    ("kind", "name", "refused"),
    [
        (Kind.SID, "00000000-0000-0000-0000-000000000001", "revoked"),
        (Kind.JTI, "1", "revoked"),
        (Kind.KID, kid(), "revoked"),
        (Kind.VER, "alice", "stale_claims"),
        (Kind.ISSUED_BEFORE, "", "revoked"),
    ],
    ids=["sid", "jti", "kid", "ver", "issued_before"],
)
async def test_a_revocation_is_seen_with_the_next_look(
    db: Database, process: Process, kind: Kind, name: str, refused: str
) -> None:
    token = claims(sid=UUID(int=1))
    other = claims(sid=UUID(int=2), jti="2", kid=kid(1), sub="bob", iat=at(60))
    await process.look()
    process.known.check(token, now=at(0))

    await write(db, kind, name)
    await process.look()

    with pytest.raises(Unauthenticated) as refusal:
        process.known.check(token, now=at(0))
    assert refused == refusal.value.detail
    process.known.check(other, now=at(0))


async def test_claims_are_stale_below_the_least_version(db: Database, process: Process) -> None:
    await write(db, Kind.VER, "alice")
    await process.look()

    for stale in (None, 1):
        with pytest.raises(Unauthenticated, match="stale_claims"):
            process.known.check(claims(ver=stale), now=at(0))
    for good in (2, 3):
        process.known.check(claims(ver=good), now=at(0))


@pytest.mark.requirement("D3")
async def test_who_has_not_looked_for_a_second_cannot_say(process: Process) -> None:
    with pytest.raises(DatabaseUnavailable):
        process.known.check(claims(), now=at(0))
    await process.look()
    process.known.check(claims(), now=at(0))

    process.passed[0] += 1.01

    with pytest.raises(DatabaseUnavailable):
        process.known.check(claims(), now=at(0))


@pytest.mark.requirement("D3")
async def test_what_is_known_to_be_revoked_is_refused_however_old_the_knowledge(
    db: Database, process: Process
) -> None:
    await write(db, Kind.JTI, "1")
    await process.look()

    process.passed[0] += 600

    with pytest.raises(Unauthenticated, match="revoked"):
        process.known.check(claims(), now=at(0))


async def test_a_look_is_one_statement_beside_the_connections_of_requests(
    db: Database, process: Process, statements: Statements, database_url: str
) -> None:
    await process.look()
    assert (0, 0) == db.hot_pool_size
    log = statements.log_path
    before = log.stat().st_size

    await process.look()

    lines = log.read_bytes()[before:].decode().splitlines()
    name = urlsplit(database_url).path.removeprefix("/")
    assert 1 == sum(f"db={name} app=authsvc-background LOG:  execute" in line for line in lines)


@pytest.mark.requirement("D3")
async def test_an_entry_that_commits_after_a_later_number_is_not_missed(
    db: Database, new_process: NewProcess, database_url: str
) -> None:
    """Whether it takes a second or a minute, in the process and in what it tells verifiers."""
    process = new_process()
    slow = await asyncpg.connect(database_url)
    try:
        transaction = slow.transaction()
        await transaction.start()
        await write(slow, Kind.SID, "slow")
        await write(db, Kind.SID, "quick")
        await process.look(5)
        seen = process.feed(5)
        assert {digest("quick")} == {entry.digest for entry in seen.entries}
        assert 2 == seen.seq

        for seconds in range(10, 45, 5):
            await process.look(seconds)
        await transaction.commit()
        await process.look(45)
        await process.look(50)
    finally:
        await slow.close()

    assert digest("slow") in names(process, 50, seen.seq)
    assert {digest("slow"), digest("quick")} == names(process, 50)


@pytest.mark.requirement("D3")
async def test_whatever_the_order_of_commits_everything_is_learnt(
    db: Database, process: Process, database_url: str
) -> None:
    """Transactions that begin, write and commit in no order, with looks in between."""
    connections = [await asyncpg.connect(database_url) for _ in range(6)]

    async def revoke(number: int) -> None:
        connection = connections[number]
        for turn in range(15):
            async with connection.transaction():
                await write(connection, Kind.SID, f"{number} {turn}")
                await connection.execute(f"SELECT pg_sleep({(number * turn) % 5 / 1000})")

    async def look_on(stop: asyncio.Event) -> None:
        while not stop.is_set():
            await process.look(1)

    stop = asyncio.Event()
    looking = asyncio.create_task(look_on(stop))
    try:
        await asyncio.gather(*(revoke(number) for number in range(6)))
    finally:
        stop.set()
        await looking
        for connection in connections:
            await connection.close()
    await process.look(5)

    assert {found for _, found, _ in await entries(db)} == names(process, 5)
    assert 90 == len(process.known)


async def test_replicas_write_the_same_bytes_whenever_in_a_step_they_look(
    db: Database, new_process: NewProcess
) -> None:
    first, second = new_process(), new_process()
    for number in range(3):
        await write(db, Kind.SID, f"{number}", number)
    await first.look(5.01)
    await write(db, Kind.SID, "in the step", 5.2)
    await second.look(6)

    assert first.document(7) == second.document(8)
    assert 3 == len(first.feed(7).entries)
    await second.look(10)
    assert 4 == len(second.feed(10).entries)


async def test_a_document_is_signed_once_a_step(db: Database, process: Process) -> None:
    await write(db, Kind.SID, "1")
    await process.look(5)

    documents = {id(process.document(5)) for _ in range(5)}
    await process.look(9.9)
    documents.add(id(process.document(9.9)))

    assert 1 == len(documents)


@pytest.mark.requirement("D3", "D7")
async def test_while_the_database_is_away_the_feed_does_not_get_younger_and_then_ends(
    process: Process,
) -> None:
    await process.look(12)

    assert at(10) == process.feed(60).iat
    with pytest.raises(DatabaseUnavailable):
        process.document(70)


async def test_before_the_first_look_there_is_no_feed(process: Process) -> None:
    with pytest.raises(DatabaseUnavailable):
        process.document()


async def test_who_asks_since_a_number_gets_what_came_after_it(
    db: Database, process: Process
) -> None:
    await write(db, Kind.SID, "first")
    await process.look(5)
    seen = process.feed(5)
    await process.look(25)
    await write(db, Kind.SID, "second", 25)
    await process.look(30)

    later = process.feed(30, seen.seq)

    assert (seen.seq, seen.seq + 1) == (later.since, later.seq)
    assert digest("second") in {entry.digest for entry in later.entries}
    assert {digest("first"), digest("second")} == names(process, 30)
    # Fifteen seconds before the document that first had the number, nothing was there yet.
    assert {digest("first"), digest("second")} == names(process, 30, seen.seq)
    await process.look(100)
    assert set() == names(process, 100, later.seq) - {digest("second")}


@pytest.mark.parametrize("since", [0, 99, 2**63 - 1])
async def test_a_number_that_is_not_remembered_gets_everything(
    db: Database, process: Process, since: int
) -> None:
    for number in range(3):
        await write(db, Kind.SID, f"{number}")
    await process.look(5)

    feed = process.feed(5, since)

    assert (None, 3) == (feed.since, len(feed.entries))


async def test_however_many_numbers_are_asked_for_few_documents_are_signed(
    db: Database, process: Process
) -> None:
    for seconds in range(0, 300, 5):
        for number in range(3):
            await write(db, Kind.SID, f"{seconds} {number}", seconds)
        await process.look(seconds + 0.1)

    documents = {process.document(296, since) for since in range(200)}

    assert len(documents) <= 20


async def test_an_entry_lives_for_3660_seconds_and_its_number_for_ever(
    db: Database, new_process: NewProcess
) -> None:
    process = new_process()
    await write(db, Kind.SID, "1")
    await process.look(3655)
    assert 1 == len(process.feed(3655).entries)

    await process.look(3660)
    fresh = new_process()
    await fresh.look(3660)

    assert (0, 1) == (len(process.feed(3660).entries), process.feed(3660).seq)
    assert process.document(3660) == fresh.document(3660)
    process.known.check(claims(jti="1"), now=at(3660))


@pytest.mark.requirement("D3", "R9")
async def test_a_restored_table_begins_a_new_epoch_and_what_is_known_stays_revoked(
    db: Database, process: Process
) -> None:
    await write(db, Kind.JTI, "1")
    await process.look(5)
    before = process.feed(5)

    async with db.autocommit() as connection:
        await connection.fetchrow("TRUNCATE revocations RESTART IDENTITY")
    await write(db, Kind.JTI, "2")
    await process.look(10)

    after = process.feed(10)
    assert before.epoch != after.epoch == process.feed(10, before.seq).epoch
    assert {digest("2")} == {entry.digest for entry in after.entries}
    for jti in ("1", "2"):
        with pytest.raises(Unauthenticated):
            process.known.check(claims(jti=jti), now=at(10))


@pytest.mark.requirement("K3")
async def test_a_key_that_is_named_signs_no_feed_and_its_successor_does(
    db: Database, process: Process, keys_dir: Path
) -> None:
    await process.look(5)
    assert kid() == process.feed(5).kid

    await write(db, Kind.KID, kid())
    assert await process.look(6)
    with pytest.raises(DatabaseUnavailable, match="no key may sign"):
        process.document(6)  # not even the one that is signed already
    put_signing(keys_dir, START, 1)
    process.keys.reload(at(6))
    assert not await process.look(10)

    feed = process.feed(10)
    assert kid(1) == feed.kid
    assert [digest(kid())] == [entry.digest for entry in feed.entries]


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> int:
    """The limit, so low that a test reaches it."""
    monkeypatch.setattr(follow_revocations, "MAX_ENTRIES", 4)
    return 4


async def test_above_the_limit_one_moment_replaces_the_entries_of_tokens(
    db: Database, new_process: NewProcess, few: int
) -> None:
    process = new_process()
    await write(db, Kind.KID, kid(2))
    for number in range(few):
        await write(db, Kind.SID, f"{number}", number)
    await process.look(5)
    assert few + 1 == len(process.feed(5).entries)

    await write(db, Kind.SID, "one too many", 7)
    await process.look(10)
    fresh = new_process()
    await fresh.look(10)

    found = process.feed(10).entries
    assert [Kind.ISSUED_BEFORE, Kind.KID] == [entry.kind for entry in found][:2]
    assert len(found) <= few
    assert process.document(10) == fresh.document(10)
    for each in (process, fresh):
        with pytest.raises(Unauthenticated, match="revoked"):
            each.known.check(claims(iat=at(0)), now=at(10))
        each.known.check(claims(iat=at(60)), now=at(10))
        with pytest.raises(Unauthenticated, match="revoked"):
            each.known.check(claims(iat=at(60), kid=kid(2)), now=at(10))


async def test_the_moment_covers_every_token_that_the_replaced_entries_concern(
    db: Database, process: Process, few: int
) -> None:
    """A token is older than its revocation, but for the clocks of replicas."""
    for number in range(5 * few):
        await write(db, Kind.SID, f"{number}", number / 10)
        await process.look(number / 10)
    await process.look(5)

    feed = process.feed(5)
    listed = {entry.digest for entry in feed.entries}
    (before,) = [entry.issued_before for entry in feed.entries if entry.issued_before is not None]
    for number in range(5 * few):
        assert digest(f"{number}") in listed or at(number / 10) + timedelta(seconds=2) <= before


async def test_what_was_replaced_is_not_counted_again_when_it_is_shown_again(
    db: Database, process: Process, database_url: str, few: int
) -> None:
    """As long as some transaction runs, looks show again what was written since it began."""
    slow = await asyncpg.connect(database_url)
    try:
        transaction = slow.transaction()
        await transaction.start()
        await write(slow, Kind.SID, "late", 1)
        for number in range(few + 1):
            await write(db, Kind.SID, f"{number}", number / 10)
        await process.look(5)
        before = len(process.known)

        for seconds in (5, 10):
            await process.look(seconds)
        await transaction.commit()
    finally:
        await slow.close()
    await process.look(15)

    assert few > before
    assert before + 1 == len(process.known)
    # It was revoked later than what was replaced, so it is not covered.
    assert digest("late") in names(process, 15)


async def test_ending_everybody_in_batches_makes_one_entry(db: Database, process: Process) -> None:
    for seconds in range(4):
        await write(db, Kind.ISSUED_BEFORE, "", seconds)
    await process.look(5)

    (entry,) = process.feed(5).entries

    assert at(5) == entry.issued_before
