"""F10, F11: answers that are lost, cut short, overtaken or asked for twice."""

from __future__ import annotations

import asyncio
import re
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random

import asyncpg

from proof.client import Account, Client, Session, generation_of
from proof.experiment import Experiment, Findings, Stage
from proof.history import token_id
from proof.http_proxy import PASS, Post, Treatment
from proof.replica import Replica

CLIENTS = 6
KEYLESS = 9  # sessions of the control
DELIVERIES = ("native", "spa", "web")
MAX_BYTES = 2400  # bytes; more than any answer to a refresh has
STRIDE = 7  # bytes; with the length above it visits every number of bytes before one comes again
LIFE = 120  # refreshes of a session until it is logged out
TRIES = 40  # repetitions of one request; the chance that all are lost is nil

TOKEN = re.compile(rb"art1\.[A-Za-z0-9_.-]+")
HOW = re.compile(rb"\r\nauthsvc-refresh: (\w+)\r\n", re.IGNORECASE)


class LostAnswers:
    """Clients with an Idempotency-Key, behind a post that loses most answers."""

    name = "F10-lost-answers"
    promise = (
        "Whatever part of an answer is lost, and however often or late a request is delivered, a "
        "client that repeats its Idempotency-Key gets the same successor and stays logged in."
    )
    unit = "lost answers"
    goal = 100_000
    batch = 4_000

    async def run(self, stage: Stage, *, units: int, random: Random) -> Findings:
        """Lose `units` answers."""
        findings = Findings()
        mischief = Mischief(random)
        run = f"{random.getrandbits(32):08x}"
        async with _behind_post(stage, mischief) as (post, url):
            sessions = await asyncio.gather(
                *(
                    _live(
                        Client(f"f10-{run}-{index}", stage.recorder, [post.port]),
                        DELIVERIES[index % len(DELIVERIES)],
                        random,
                        findings,
                        lambda: post.lost >= units,
                    )
                    for index in range(CLIENTS)
                )
            )
            findings.done = post.lost
            findings.counted.update(mischief.counted)
            findings.violations += mischief.forks()
            await _check_rows(url, [session for session in sessions if session], findings)
        return findings

    async def control(self, stage: Stage, *, random: Random) -> Findings:
        """Without keys and without a window, a lost answer is a lost session."""
        findings = Findings()
        run = f"{random.getrandbits(32):08x}"
        async with _behind_post(stage, Mischief(random)) as (post, _):
            for index in range(KEYLESS):
                client = Client(f"f10-keyless-{run}-{index}", stage.recorder, [post.port])
                account = await client.register(f"{client.name}@example.com")
                session = await _login(client, account, DELIVERIES[index % 3], findings)
                for _ in range(TRIES):
                    answer = await client.refresh(session)
                    if answer.outcome == "err":
                        findings.violations.append(f"logged out: {answer.result}")
                        break
                await client.close()
            findings.done = KEYLESS
        return findings


EXPERIMENTS: tuple[Experiment, ...] = (LostAnswers(),)


@dataclass
class Mischief:
    """Decides what happens to each request, and remembers what the service answered."""

    random: Random
    counted: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    _swept: int = 0
    _successors: dict[bytes, set[bytes]] = field(default_factory=dict)
    _rotations: defaultdict[bytes, int] = field(default_factory=lambda: defaultdict(int))

    def treat(self, request: bytes) -> Treatment:
        """Most answers are lost; logins, logouts and refreshes alike."""
        if not request.startswith((b"POST /auth/refresh ", b"POST /auth/log")):
            return PASS
        chance = self.random.random()
        lose_after = None
        if chance < 0.7:
            self._swept = (self._swept + STRIDE) % MAX_BYTES
            lose_after = self._swept
        kind = self.random.choice(("one",) * 8 + ("piped", "apart", "late", "parked", "slow"))
        self.counted[kind] += 1
        return Treatment(
            lose_after=lose_after,
            copies=2 if kind in {"piped", "apart", "late"} else 1,
            apart=kind in {"apart", "late"},
            late=kind == "late",
            answer_of=self.random.randrange(2) if kind in {"piped", "apart", "late"} else 0,
            parked=kind == "parked",
            seconds=self.random.uniform(0, 0.02) if kind == "slow" else 0.0,
        )

    def observe(self, request: bytes, answer: bytes) -> None:
        """Note a refresh: which token went in, and what came out."""
        how = HOW.search(answer)
        if not request.startswith(b"POST /auth/refresh ") or how is None:
            return
        presented, successor = TOKEN.search(request), TOKEN.search(answer)
        assert presented is not None
        self.counted[how[1].decode()] += 1
        self._rotations[presented[0]] += how[1] == b"rotated"
        if successor is not None:
            self._successors.setdefault(presented[0], set()).add(successor[0])

    def forks(self) -> Iterator[str]:
        """I1 and I2, over every answer that the service gave, read or not."""
        for presented, successors in self._successors.items():
            if len(successors) > 1:
                yield f"I1: {token_id(presented.decode())} has {len(successors)} successors"
            if any(
                generation_of(successor.decode()) != generation_of(presented.decode()) + 1
                for successor in successors
            ):
                yield f"I2: {token_id(presented.decode())} has a successor that is not the next"
            if self._rotations[presented] > 1:
                yield f"I1: {token_id(presented.decode())} was rotated more than once"


@asynccontextmanager
async def _behind_post(stage: Stage, mischief: Mischief) -> AsyncIterator[tuple[Post, str]]:
    """A replica without a retry window: the key alone must do."""
    async with stage.database() as url:
        with stage.place() as place:
            replica = Replica(url, place, settings={"REFRESH_RETRY_WINDOW": "0"})
            replica.start()
            try:
                await replica.ready()
                treat, observe = mischief.treat, mischief.observe
                async with Post(replica.port, treat=treat, observe=observe) as post:
                    yield post, url
            finally:
                replica.kill()


async def _live(
    client: Client, delivery: str, keys: Random, findings: Findings, enough: Callable[[], bool]
) -> Session | None:
    """
    Log in, refresh many times, log out; again, until there were enough losses.

    Returns:
        The last session, which must be alive; None after a violation.
    """
    account = await client.register(f"{client.name}@example.com")
    try:
        while True:
            session = await _login(client, account, delivery, findings)
            for _ in range(LIFE):
                if enough():
                    return session
                key = f"{keys.getrandbits(128):032x}"
                if not await _refresh(client, session, key, findings):
                    return None
            await _logout(client, session, findings)
    finally:
        await client.close()


async def _login(client: Client, account: Account, delivery: str, findings: Findings) -> Session:
    """Lost logins begin sessions that nobody knows; they must disturb nothing."""
    for _ in range(TRIES):
        session = await client.login(account, delivery)
        if session is not None:
            return session
        findings.counted["logins repeated"] += 1
    raise AssertionError("no login came through")


async def _refresh(client: Client, session: Session, key: str, findings: Findings) -> bool:
    """Repeat the request with its key until the answer is here."""
    generation = generation_of(session.refresh_token)
    for _ in range(TRIES):
        answer = await client.refresh(session, key=key)
        findings.at_most("answer, seconds", answer.returned - answer.invoked)
        if answer.outcome == "ok":
            findings.counted["refreshes"] += 1
            if answer.result["generation"] != generation + 1:
                findings.violations.append(f"I2: {generation} was followed by {answer.result}")
            return True
        if answer.outcome == "err" or answer.result.get("status", 0) >= 500:
            findings.violations.append(f"I7: {client.name} was refused: {answer.result}")
            return False
    raise AssertionError("no refresh came through")


async def _logout(client: Client, session: Session, findings: Findings) -> None:
    """Repeat it until it is acknowledged; then the session is over."""
    for _ in range(TRIES):
        answer = await client.logout(session)
        if answer.outcome == "ok":
            break
        if answer.outcome == "err":
            findings.violations.append(f"a repeated logout was refused: {answer.result}")
            return
    for _ in range(TRIES):
        after = await client.refresh(session)
        if after.outcome == "ok":
            findings.violations.append(f"I6: {session.family} lives after its logout")
        if after.outcome != "info":
            break
    findings.counted["logouts"] += 1


async def _check_rows(url: str, sessions: list[Session], findings: Findings) -> None:
    """What the clients hold is what the rows say, and nobody was taken for a thief."""
    connection = await asyncpg.connect(url)
    try:
        for session in sessions:
            row = await connection.fetchrow(
                "SELECT generation, revoked_at FROM refresh_families WHERE id = $1", session.family
            )
            acknowledged = generation_of(session.refresh_token)
            if row is None or row["revoked_at"] is not None or row["generation"] != acknowledged:
                findings.violations.append(
                    f"the client holds generation {acknowledged}, the row is {row}"
                )
        reused = await connection.fetchval(
            "SELECT count(*) FROM audit_records WHERE event = 'refresh_token_reused'"
        )
        if reused:
            findings.violations.append(f"{reused} honest sessions were ended for reuse")
    finally:
        await connection.close()
