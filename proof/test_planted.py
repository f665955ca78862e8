"""The checker finds every planted bug, and finds nothing in the service as it is."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import asyncpg
import pytest

from proof.checker.afterwards import check_afterwards
from proof.checker.check import check
from proof.client import Client, Session
from proof.experiment import Stage, stage
from proof.history import Operation, Recorder, read_history
from proof.planted import BUGS, PLANT, failover_loses
from proof.replica import Replica
from proof.workload import after_the_dust, workload
from proof.zygote import Service, Zygote
from tests.support.live import free_port

RETRY_WINDOW = 1  # second, the shortest there is: cookie sessions rotate, too
SETTINGS = {"REFRESH_RETRY_WINDOW": str(RETRY_WINDOW)}
SEED = 20261123
# What the chain check calls each bug.
SHOWS = {
    "non_atomic_rotate": "I1",
    "revoke_by_sweep": "I6",
    "revocation_rolled_back": "I6",
    "retry_forks": "I2",
    "crossed_answers": "I17",
    "login_survives_disable": "I6",
}
# Changes of one row each that no client was told of: what, and of which row.
TAMPERINGS = (
    ("DELETE FROM audit_records", "event = 'login_succeeded'"),
    ("DELETE FROM audit_records", "event = 'session_revoked'"),
    ("DELETE FROM audit_records", "event = 'refresh_token_reused'"),
    ("DELETE FROM audit_records", "event = 'password_changed'"),
    ("DELETE FROM audit_records", "event = 'user_disabled'"),
    (
        "UPDATE refresh_families SET revoked_at = NULL, revoke_reason = NULL",
        "revoke_reason = 'reuse'",
    ),
    ("UPDATE refresh_families SET revoke_reason = 'reuse'", "revoke_reason = 'logout'"),
    ("UPDATE refresh_families SET generation = generation + 1", "revoke_reason = 'logout_all'"),
    (
        "UPDATE refresh_families SET generation = generation - 1",
        "generation > 0 AND revoke_reason = 'reuse'",
    ),
    ("DELETE FROM refresh_families", "revoke_reason = 'user_disabled'"),
)
# The coincidence that a bug needs: the workload makes it more often.
OFTEN = {
    "non_atomic_rotate": {"tabs": 30},
    "revoke_by_sweep": {"log_out": 10, "be_robbed": 10},
    "revocation_rolled_back": {"be_robbed": 30},
    "retry_forks": {"tabs": 30},
    "crossed_answers": {"refresh": 80, "me": 30},
    "login_survives_disable": {"log_in_beside_disable": 30},
}
OPERATIONS = 300
HONEST_OPERATIONS = 1200


@pytest.fixture(scope="module")
async def the_stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    async with stage(tmp_path_factory.mktemp("planted")) as opened:
        yield opened


class Run:
    """Replicas of one build on a database of its own, with a history of its own."""

    def __init__(self, url: str, history: Path, recorder: Recorder, ports: list[int]) -> None:
        self.url = url
        self.recorder = recorder
        self.ports = ports
        self.begun: list[Session] = []
        self._history = history

    @property
    def history(self) -> list[Operation]:
        return list(read_history(self._history))

    async def work(self, operations: int, **actions: int) -> list[Session]:
        return await workload(
            self.recorder,
            self.ports,
            database_url=self.url,
            clients=8,
            operations=operations,
            random=Random(SEED),  # noqa: S311 - reproducible
            actions=actions,
            begun=self.begun,
        )

    async def begin_and_end(self) -> None:
        """One session more, which its owner ends."""
        client = Client("brief", self.recorder, self.ports)
        session = await client.login(await client.register("brief@example.com"))
        assert session is not None
        self.begun.append(session)
        assert (await client.logout(session)).outcome == "ok"
        await client.close()

    async def use_again(self) -> None:
        """Every session that was ever begun, alive or dead."""
        client = Client("again", self.recorder, self.ports)
        for session in self.begun:
            await client.me(session)
            await client.refresh(session)
        await client.close()

    def check(self) -> list[str]:
        return check(self.history, retry_window=RETRY_WINDOW)


@asynccontextmanager
async def running(
    opened: Stage, directory: Path, spawn: Callable[[str], Sequence[Replica | Service]]
) -> AsyncIterator[Run]:
    """A run on whatever `spawn` starts on the URL of a fresh database."""
    history = directory / "history.jsonl"
    history.unlink(missing_ok=True)
    async with opened.database() as url:
        services = spawn(url)
        try:
            for service in services:
                await service.ready()
            with history.open("a") as file:
                ports = [service.port for service in services]
                yield Run(url, history, Recorder(file), ports)
        finally:
            for service in services:
                service.kill()


@pytest.fixture(scope="module")
def place(the_stage: Stage) -> Iterator[Path]:
    with the_stage.place() as directory:
        yield directory


@pytest.fixture(scope="module")
def zygote(place: Path) -> Iterator[Zygote]:
    with Zygote(place, plant="proof.planted:plant") as parent:
        yield parent


def two(zygote: Zygote, bug: str | None = None) -> Callable[[str], list[Service]]:
    settings = SETTINGS if bug is None else {**SETTINGS, "PLANTED": bug}
    return lambda url: [zygote.spawn(free_port(), url, settings) for _ in range(2)]


async def test_the_service_as_it_is_passes(the_stage: Stage, place: Path, zygote: Zygote) -> None:
    """The short form of the mixed schedule; and the rows are really looked at."""
    async with running(the_stage, place, two(zygote)) as run:
        sessions = await run.work(HONEST_OPERATIONS)
        answers = await after_the_dust(run.recorder, run.ports, sessions)
        history = run.history
        found = run.check() + await check_afterwards(history, run.url)
        tampered = {change: await _tamper(run, *change) for change in TAMPERINGS}

    assert [] == found, "\n".join(found)
    assert {"info"} != {answer.outcome for answer in answers}
    assert not [o for o in history if o.outcome == "info"]
    assert HONEST_OPERATIONS <= len(history)
    refreshes = Counter(o.result.get("how", o.outcome) for o in history if o.operation == "refresh")
    assert {"rotated", "replayed", "kept", "err"} == set(refreshes), refreshes
    seen = Counter((o.operation, o.outcome) for o in history)
    for name in ("login", "me", "password_change", "logout", "disable", "enable"):
        assert seen[name, "ok"], seen
    for name in ("login", "me"):
        assert seen[name, "err"], seen
    for change, told in tampered.items():
        assert told, change


async def _tamper(run: Run, change: str, condition: str) -> list[str]:
    """What is told after one more change that no client was told of."""
    before = set(await check_afterwards(run.history, run.url))
    table = change.removeprefix("DELETE FROM ").removeprefix("UPDATE ").split(" ")[0]
    # Constants of this module.
    one = f"{change} WHERE id = (SELECT id FROM {table} WHERE {condition} LIMIT 1)"  # noqa: S608
    connection = await asyncpg.connect(run.url)
    try:
        assert (await connection.execute(one)).endswith(" 1"), one
    finally:
        await connection.close()
    return [text for text in await check_afterwards(run.history, run.url) if text not in before]


@pytest.mark.parametrize(("bug", "invariant"), sorted(SHOWS.items()))
async def test_a_planted_bug_is_found(
    the_stage: Stage, place: Path, zygote: Zygote, bug: str, invariant: str
) -> None:
    async with running(the_stage, place, two(zygote, bug)) as run:
        await run.work(OPERATIONS, **OFTEN[bug])
        found = run.check()

    told = f"{BUGS[bug]}: {found}"
    assert [text for text in found if text.startswith(invariant)], told
    assert [text for text in found if "no order of its operations explains" in text], told


async def test_a_restart_that_forgets_is_found(the_stage: Stage, place: Path) -> None:
    """One process keeps its promise as long as it lives: only the restart shows the bug."""
    command = [sys.executable, "-m", "proof.planted", "restart_forgets"]
    replicas = []

    def spawn(url: str) -> list[Replica]:
        replica = Replica(url, place, settings=SETTINGS, command=command)
        replica.start()
        replicas.append(replica)
        return replicas

    async with running(the_stage, place, spawn) as run:
        await run.work(OPERATIONS)
        await run.begin_and_end()  # something to forget, whatever the workload did
        before = run.check()
        for replica in replicas:
            replica.kill()
            replica.start()
            await replica.ready()
        await run.use_again()
        after = run.check()

    assert [] == before
    assert [text for text in after if text.startswith("I6")], after


async def test_a_failover_that_loses_commits_is_found(
    the_stage: Stage, place: Path, zygote: Zygote
) -> None:
    """By the database itself, and by the answers of whoever uses a session again."""
    async with running(the_stage, place, two(zygote)) as run:
        await run.work(OPERATIONS)
        before = run.check() + await check_afterwards(run.history, run.url)
        lost = await failover_loses(run.url, families=[session.family for session in run.begun])
        rows = await check_afterwards(run.history, run.url)
        await run.use_again()
        after = run.check()

    assert [] == before
    assert lost
    assert [text for text in rows if text.startswith("D: family")], rows
    assert [text for text in rows if text.startswith("I5: family")], rows
    assert [text for text in after if text.startswith("I6")], after


def test_every_bug_has_a_test() -> None:
    assert set(BUGS) == {*SHOWS, "restart_forgets", "failover_loses"}
    assert set(BUGS) == {*PLANT, "failover_loses"}
