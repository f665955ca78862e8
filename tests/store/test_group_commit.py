"""Group commit: one statement, each its own family, nobody waits for a stranger."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from random import Random

import asyncpg
import pytest

from authsvc.protocol.errors import DatabaseUnavailable, OutcomeUnknown
from authsvc.protocol.refresh import (
    EARLIER_DIGEST,
    GENERATIONS_WITH_A_KEY,
    Delivery,
    RefreshToken,
)
from authsvc.store import group_commit, users
from authsvc.store.database import Database
from authsvc.store.group_commit import GroupCommit
from authsvc.store.hot_statement import HotConnection, Row
from authsvc.store.refresh_families import load
from authsvc.store.rotation import RotationRequest, _rotate_together, rotate, rotate_together
from authsvc.store.tables import RefreshFamily
from tests.conftest import CALLER, LIFETIMES, Statements, database_at
from tests.support.fault_proxy import FaultProxy
from tests.support.waiting import HANGS

COMPANY = 10
WAITING = """
SELECT count(*) FROM pg_locks
WHERE NOT granted AND locktype = 'advisory'
AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
Begin = Callable[[int], Awaitable[list[RotationRequest]]]


@pytest.fixture(autouse=True)
def nothing_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that failed leaves statements behind."""
    monkeypatch.setattr(Slow, "waiting", 0)


class Slow:
    """A connection whose statements wait until they may run."""

    waiting = 0
    now = None

    def __init__(self, connection: HotConnection, may_run: asyncio.Event) -> None:
        self._connection = connection
        self._may_run = may_run

    async def fetchrow(self, query: str, *args: object) -> Row | None:
        await self._wait()
        return await self._connection.fetchrow(query, *args)

    async def fetch(self, query: str, *args: object) -> Sequence[Row]:
        await self._wait()
        return await self._connection.fetch(query, *args)

    async def _wait(self) -> None:
        Slow.waiting += 1
        await self._may_run.wait()
        Slow.waiting -= 1


async def open_connections(db: Database) -> None:
    """One for each lane, so that none counts as hung while it only opens its connection."""
    async with AsyncExitStack() as stack:
        for _ in range(group_commit.LANES):
            await stack.enter_async_context(db.autocommit())


Wrap = Callable[[HotConnection, int], HotConnection]


def lease_of(db: Database, wrap: Wrap) -> Callable[[], AbstractAsyncContextManager[HotConnection]]:
    """Leases of a group commit, the n-th with what `wrap` makes of its connection and n."""
    leased = count(1)

    @asynccontextmanager
    async def lease() -> AsyncIterator[HotConnection]:
        number = next(leased)
        async with db.autocommit() as connection:
            yield wrap(connection, number)

    return lease


def the_first_hang(hanging: asyncio.Event) -> Wrap:
    """One statement in each lane."""
    return lambda each, number: Slow(each, hanging) if number <= group_commit.LANES else each


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(HANGS):
        while not condition():  # noqa: ASYNC110 - it is the event loop that has to run
            await asyncio.sleep(0)


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine a connection takes longer to open than requests wait for one."""
    monkeypatch.setattr(group_commit, "PATIENCE", 5.0)


@pytest.fixture
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """For what is to hang."""
    monkeypatch.setattr(group_commit, "PATIENCE", 0.05)


@pytest.fixture
def together(db: Database) -> GroupCommit:
    return GroupCommit(db.autocommit)


@pytest.fixture
def begin(db: Database) -> Begin:
    """Begin so many families, each of a user of its own; an attempt for each."""

    async def begin(number: int) -> list[RotationRequest]:
        now = datetime.now(UTC)
        requests = []
        async with db.transaction() as session:
            for each in range(number):
                user = await users.create(session, email=f"{each}@example.com", password_hash="x")
                assert user is not None
                family = RefreshFamily(
                    user_id=user.id,
                    client_id="authsvc",
                    delivery="native",
                    remember=True,
                    generation=0,
                    mac_key_id=b"k" * 8,
                    rotated_at=now,
                    created_at=now,
                    auth_time=now,
                    amr=["pwd"],
                    scope="",
                    idle_expires_at=now + timedelta(hours=1),
                    absolute_expires_at=now + timedelta(days=1),
                    ip="",
                    user_agent="",
                    last_ip="",
                    last_user_agent="",
                )
                session.add(family)
                await session.flush()
                token = RefreshToken(
                    mac_key_id=b"k" * 8,
                    family_id=family.id,
                    generation=0,
                    delivery=Delivery.NATIVE,
                )
                requests.append(
                    RotationRequest(
                        token=token,
                        successor_key_id=b"l" * 8,
                        digest=bytes([each]) * 32,
                        lifetimes=LIFETIMES,
                        caller=CALLER,
                    )
                )
        return requests

    return begin


@pytest.mark.requirement("R1")
async def test_what_comes_together_is_one_statement_and_each_gets_its_own_family(
    db: Database, together: GroupCommit, begin: Begin, statements: Statements
) -> None:
    requests = await begin(COMPANY)
    statements.clear()

    rotated = await asyncio.gather(*(together.rotate(request) for request in requests))

    assert 1 == len(statements), list(statements)
    assert [request.token.family_id for request in requests] == [
        family.id for family in rotated if family
    ]
    assert {1} == {family.generation for family in rotated if family}
    assert COMPANY == len({family.user_id for family in rotated if family})
    assert [request.digest for request in requests] == await _digests(db, requests)


async def test_who_comes_alone_is_not_held_back(
    together: GroupCommit, begin: Begin, statements: Statements
) -> None:
    [request] = await begin(1)
    statements.clear()

    family = await together.rotate(request)

    assert family is not None
    assert ["unnest" in text for text in statements] == [False]


@pytest.mark.requirement("R1", "R2")
async def test_one_family_twice_rotates_once(together: GroupCommit, begin: Begin) -> None:
    first, *others = await begin(3)

    rotated = await asyncio.gather(
        *(together.rotate(request) for request in (first, *others, first, first))
    )

    assert 1 == sum(family is not None and family.id == first.token.family_id for family in rotated)
    assert [True, True] == [family is not None for family in rotated[1:3]]


@pytest.mark.requirement("R1")
async def test_a_family_that_somebody_holds_delays_no_other(
    together: GroupCommit, database_url: str, begin: Begin
) -> None:
    locked, *others = await begin(COMPANY)
    holder = await asyncpg.connect(database_url)
    try:
        async with holder.transaction():
            await holder.execute(
                "SELECT FROM refresh_families WHERE id = $1 FOR UPDATE", locked.token.family_id
            )

            rotated = await asyncio.gather(
                *(together.rotate(request) for request in (locked, *others))
            )
    finally:
        await holder.close()

    assert [None] == [family for family in rotated if family is None]
    assert rotated[0] is None
    assert await together.alone(locked) is not None


@pytest.mark.requirement("R4")
async def test_one_that_was_revoked_meanwhile_does_not_rotate(
    together: GroupCommit, database_url: str, begin: Begin
) -> None:
    revoked, other = await begin(2)
    connection = await asyncpg.connect(database_url)
    await connection.execute(
        "UPDATE refresh_families SET revoked_at = now(), revoke_reason = 'logout' WHERE id = $1",
        revoked.token.family_id,
    )
    await connection.close()

    rotated = await asyncio.gather(together.rotate(revoked), together.rotate(other))

    assert [True, False] == [family is None for family in rotated]


async def test_together_is_written_what_is_written_alone(db: Database, begin: Begin) -> None:
    pairs = [
        replace(
            request,
            digest=bytes([each // 2]) * 32,
            successor_key_id=bytes([each // 2]) * 8,
            lifetimes=replace(LIFETIMES, idle=timedelta(days=1, seconds=7.5 * (each // 2))),
            caller=replace(
                CALLER, ip=f"10.0.0.{each // 2}", user_agent=("", "NULL", "ü'\"\\{},")[each // 2]
            ),
        )
        for each, request in enumerate(await begin(6))
    ]
    ours = {"id", "user_id", "created_at", "auth_time", "absolute_expires_at"}

    async with db.autocommit() as connection:
        with database_at(datetime.now(UTC) + timedelta(seconds=30)):
            one_by_one = [await rotate(connection, each) for each in pairs[::2]]
            together = await rotate_together(connection, pairs[1::2])
        rows = {
            row["id"]: {name: value for name, value in row.items() if name not in ours}
            for row in await connection.fetch("SELECT * FROM refresh_families")
        }

    for lone, alone, joint in zip(pairs[::2], one_by_one, pairs[1::2], strict=True):
        assert rows[lone.token.family_id] == rows[joint.token.family_id]
        assert alone is not None
        other = together[joint.token.family_id]
        assert alone == replace(other, **{name: getattr(alone, name) for name in ours})


@pytest.mark.requirement("R1", "R6")
async def test_the_row_knows_the_attempts_of_the_last_rotations(db: Database, begin: Begin) -> None:
    """Alone and together: of the newest the digest, of each before it the beginning, no more."""
    requests = await begin(2)
    digests = [bytes([number]) * 32 for number in range(GENERATIONS_WITH_A_KEY + 2)]
    known = []

    async with db.autocommit() as connection:
        for generation, digest in enumerate(digests):
            alone, together = (
                replace(each, token=replace(each.token, generation=generation), digest=digest)
                for each in requests
            )
            assert await rotate(connection, alone)
            assert await rotate_together(connection, [together])
            states = [await load(connection, each.token.family_id) for each in requests]
            known.append(
                [state and (state[1].attempt_digest, state[1].earlier_attempts) for state in states]
            )

    for generation, of_both in enumerate(known):
        before = [digest[:EARLIER_DIGEST] for digest in reversed(digests[:generation])]
        kept = b"".join(before[: GENERATIONS_WITH_A_KEY - 1]) or None
        assert [(digests[generation], kept)] * 2 == of_both


@pytest.mark.requirement("R1", "R4")
@pytest.mark.parametrize(
    "change",
    ["last_ip = 'elsewhere'", "revoked_at = now(), revoke_reason = 'logout'", "generation = 1"],
)
async def test_a_version_that_the_statement_could_not_see_is_left_alone(
    db: Database, database_url: str, begin: Begin, change: str
) -> None:
    changed, other = await begin(2)
    locker = await asyncpg.connect(database_url)
    await locker.execute("SELECT pg_advisory_lock(1)")

    class WithAnOldSnapshot(Slow):
        """Its snapshot is taken, and then it waits for the lock."""

        async def fetch(self, query: str, *args: object) -> Sequence[Row]:
            waits = "(SELECT clock_timestamp() FROM pg_advisory_xact_lock(1))"
            assert "clock_timestamp()" in query
            return await super().fetch(query.replace("clock_timestamp()", waits), *args)

    may_run = asyncio.Event()
    may_run.set()
    await open_connections(db)
    together = GroupCommit(lease_of(db, lambda each, _: WithAnOldSnapshot(each, may_run)))
    tasks = [asyncio.create_task(together.rotate(request)) for request in (changed, other)]
    async with asyncio.timeout(HANGS):
        while not await locker.fetchval(WAITING):
            assert not [task.result() for task in tasks if task.done()]
    await locker.execute(
        f"UPDATE refresh_families SET {change} WHERE id = $1",  # noqa: S608 - of this test
        changed.token.family_id,
    )
    await locker.close()

    rotated = await asyncio.gather(*tasks)

    assert [True, False] == [family is None for family in rotated]


async def test_the_plan_is_by_key_also_when_the_table_was_empty(db: Database) -> None:
    """Hot connections keep their plans: one made on an empty table has to do for a full one."""
    statement = _rotate_together()
    async with db.autocommit() as connection:
        await connection.fetch(f"PREPARE joint AS {statement.text}")
        nothing = ", ".join(["NULL"] * len(statement._names))
        plan = await connection.fetch(f"EXPLAIN EXECUTE joint({nothing})")

    lines = [row["QUERY PLAN"] for row in plan]
    assert [line for line in lines if "Index Scan using pk_refresh_families" in line], lines
    assert not [line for line in lines if "Seq Scan" in line or "Bitmap" in line], lines


async def test_what_one_request_brings_along_spoils_no_other(
    together: GroupCommit, begin: Begin
) -> None:
    requests = await begin(COMPANY)
    spoiled = replace(requests[3], caller=replace(CALLER, user_agent="\N{NULL}"))

    rotated = await asyncio.gather(
        *(together.rotate(request) for request in (spoiled, *requests[:3], *requests[4:])),
        return_exceptions=True,
    )

    assert isinstance(rotated[0], asyncpg.DataError)
    assert not [each for each in rotated[1:] if each is None or isinstance(each, BaseException)]


async def test_a_request_that_is_given_up_takes_no_other_with_it(
    together: GroupCommit, begin: Begin
) -> None:
    requests = await begin(COMPANY)
    tasks = [asyncio.create_task(together.rotate(request)) for request in requests]
    await asyncio.sleep(0)

    tasks[0].cancel()
    rotated = await asyncio.gather(*tasks, return_exceptions=True)

    assert isinstance(rotated[0], asyncio.CancelledError)
    assert not [each for each in rotated[1:] if each is None or isinstance(each, BaseException)]


@pytest.mark.requirement("R6")
async def test_what_was_given_up_before_it_was_sent_is_never_sent(
    db: Database, begin: Begin
) -> None:
    given_up, other = await begin(2)
    connected = asyncio.Event()

    @asynccontextmanager
    async def lease() -> AsyncIterator[HotConnection]:
        await connected.wait()
        async with db.autocommit() as connection:
            yield connection

    await open_connections(db)
    together = GroupCommit(lease)
    tasks = [asyncio.create_task(together.rotate(request)) for request in (given_up, other)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    connected.set()

    assert await tasks[1] is not None
    assert [0, 1] == await _generations(db, [given_up, other])


@pytest.mark.requirement("R6")
@pytest.mark.usefixtures("impatience")
async def test_f09_what_was_refused_during_an_outage_is_not_sent_after_it(
    db: Database, database_url: str, begin: Begin, tmp_path: Path
) -> None:
    requests = await begin(4 * group_commit.MAX_TOGETHER)
    link, through = FaultProxy.of_database(database_url, tmp_path, random=Random(1))  # noqa: S311 - reproducible
    async with link:
        behind = await Database.open(through)
        together = GroupCommit(behind.autocommit)
        [first, *others] = requests
        assert await together.rotate(first)
        link.blackhole()

        async def impatient(request: RotationRequest) -> None:
            async with asyncio.timeout(0.3):
                await together.rotate(request)

        told = await asyncio.gather(*map(impatient, others), return_exceptions=True)
        link.heal()
        await until(lambda: "GroupCommit._work" not in repr(asyncio.all_tasks()))
        await behind.close()

    assert {TimeoutError} == {type(each) for each in told}
    # What the statements under way had done is as if their answers had been lost.
    assert sum(await _generations(db, others)) <= group_commit.LANES * group_commit.MAX_TOGETHER


@pytest.mark.parametrize("failure", [DatabaseUnavailable, OutcomeUnknown, ValueError])
@pytest.mark.requirement("Z1")
async def test_without_a_connection_each_fails_by_itself(
    begin: Begin, failure: type[Exception]
) -> None:
    leased = 0

    @asynccontextmanager
    async def broken() -> AsyncIterator[HotConnection]:
        nonlocal leased
        leased += 1
        raise failure("broken")
        yield

    requests = await begin(COMPANY)
    together = GroupCommit(broken)

    told = await asyncio.gather(
        *(together.rotate(request) for request in requests), return_exceptions=True
    )

    assert [failure] * COMPANY == [type(each) for each in told]
    assert COMPANY == len({id(each) for each in told})
    assert leased <= COMPANY + group_commit.LANES


@pytest.mark.parametrize("failure", [DatabaseUnavailable, OutcomeUnknown])
@pytest.mark.requirement("Z1")
async def test_a_failure_of_a_statement_is_told_to_all_that_were_in_it(
    db: Database, begin: Begin, failure: type[DatabaseUnavailable]
) -> None:
    requests = await begin(COMPANY)

    class Failing(Slow):
        async def fetch(self, query: str, *args: object) -> Sequence[Row]:
            await super().fetch(query, *args)
            raise failure("failed")

    now = asyncio.Event()
    now.set()
    await open_connections(db)
    together = GroupCommit(lease_of(db, lambda each, _: Failing(each, now)))

    told = await asyncio.gather(
        *(together.rotate(request) for request in requests), return_exceptions=True
    )

    assert [failure] * COMPANY == [type(each) for each in told]
    assert [1] * COMPANY == await _generations(db, requests)


@pytest.mark.usefixtures("impatience")
async def test_statements_that_hang_hold_back_nobody_else(db: Database, begin: Begin) -> None:
    many = 2 * group_commit.MAX_TOGETHER + COMPANY
    requests = await begin(group_commit.LANES + many)
    hanging = asyncio.Event()
    await open_connections(db)
    together = GroupCommit(lease_of(db, the_first_hang(hanging)))
    stuck = []
    for number, request in enumerate(requests[: group_commit.LANES]):
        stuck.append(asyncio.create_task(together.rotate(request)))
        await until(lambda: Slow.waiting > number)  # noqa: B023 - awaited in this very turn

    async with asyncio.timeout(HANGS):
        rotated = await asyncio.gather(
            *(together.rotate(request) for request in requests[group_commit.LANES :])
        )

    assert None not in rotated
    assert not any(task.done() for task in stuck)
    hanging.set()
    assert None not in await asyncio.gather(*stuck)


@pytest.mark.usefixtures("impatience")
async def test_those_who_come_after_a_hang_go_together_again(
    db: Database, begin: Begin, statements: Statements
) -> None:
    stuck, waiting, *later = await begin(2 + COMPANY)
    hanging = asyncio.Event()
    await open_connections(db)
    together = GroupCommit(lease_of(db, the_first_hang(hanging)))
    tasks = []
    for number, request in enumerate((stuck, waiting)):
        tasks.append(asyncio.create_task(together.rotate(request)))
        await until(lambda: Slow.waiting > number)  # noqa: B023 - awaited in this very turn
    assert await together.rotate(later[0]) is not None  # it finds out
    statements.clear()

    assert None not in await asyncio.gather(*map(together.rotate, later[1:]))

    assert 1 == len(statements), list(statements)
    hanging.set()
    assert None not in await asyncio.gather(*tasks)


async def test_no_statement_takes_more_than_its_share(
    together: GroupCommit, begin: Begin, statements: Statements, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "MAX_TOGETHER", 4)
    requests = await begin(10)
    statements.clear()

    rotated = await asyncio.gather(*(together.rotate(request) for request in requests))

    assert None not in rotated
    assert 3 == len(statements), list(statements)


async def _generations(db: Database, requests: Sequence[RotationRequest]) -> list[int]:
    async with db.autocommit() as connection:
        rows = await connection.fetch("SELECT id, generation FROM refresh_families")
    stored = {row["id"]: row["generation"] for row in rows}
    return [stored[request.token.family_id] for request in requests]


async def _digests(db: Database, requests: Sequence[RotationRequest]) -> list[bytes]:
    async with db.autocommit() as connection:
        rows = await connection.fetch("SELECT id, attempt_digest FROM refresh_families")
    stored = {row["id"]: row["attempt_digest"] for row in rows}
    return [stored[request.token.family_id] for request in requests]
