"""
A7: a thief presents spent tokens and hangs up at once, in families that go on for weeks.

Time is an argument. The thief has every token that the family ever had but the newest, and never a
key. The owner rotates with a key for each token, and repeats requests with it as clients do that
lost an answer: waiting or hanging up, also with the token before.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

import asyncpg

from authsvc.flows.refresh import RefreshRequest, refresh
from authsvc.flows.runtime import Runtime
from authsvc.keys.directory import KeyDirectory
from authsvc.keys.issuer import Issuer
from authsvc.keys.passwords import PasswordHasher
from authsvc.protocol.audit import AuditEvent, Caller
from authsvc.protocol.errors import DatabaseUnavailable, InvalidRefreshToken
from authsvc.protocol.refresh import GENERATIONS_WITH_A_KEY, Delivery, Lifetimes
from authsvc.store import logins, refresh_families, users
from authsvc.store.admission import Place
from authsvc.store.database import Database
from authsvc.store.group_commit import GroupCommit
from authsvc.store.logins import NewSession, PasswordVerified
from authsvc_client.tokens.secret import Secret
from proof.experiment import Experiment, Findings, Stage

DAY = timedelta(days=1)
LIFETIMES = Lifetimes(idle=7 * DAY, absolute=30 * DAY, retry_window=timedelta(0))
OWNER = Caller(ip="203.0.113.7", user_agent="owner", request_id="owner")
THIEF = Caller(ip="198.51.100.1", user_agent="thief", request_id="thief")
SPENT = 3  # rotations before the thief comes
PATIENCE = 10  # of a thief who is never caught
ROTATES, REPEATS = 0.4, 0.4  # chances of the owner between two presentations
HONEST = 0.5  # families without a thief
CONTROL_FAMILIES = 6
CALM = timedelta(seconds=30)  # after it a late copy is not taken for one that was overtaken


@dataclass
class Household:
    """One family: its tokens from the oldest to the newest, and the key each was spent with."""

    id: UUID
    tokens: list[Secret]
    keys: list[Secret] = field(default_factory=list)
    presented: int = 0
    """How often the thief has."""


@dataclass
class Street:
    """Where the families live."""

    db: Database
    keys: KeyDirectory
    sql: asyncpg.Connection
    random: Random
    findings: Findings
    now: datetime
    user_id: UUID = field(init=False)

    def __post_init__(self) -> None:
        self.runtime = Runtime(
            db=self.db,
            group_commit=GroupCommit(self.db.autocommit),
            keys=self.keys,
            issuer=Issuer(
                self.keys,
                issuer="https://auth.example.com",
                audience="authsvc",
                access_ttl=timedelta(seconds=900),
            ),
            hasher=PasswordHasher(8, 1, 1, threads=1, memory_budget_mib=1, queue_seconds=1),
            limits=None,
            blocked_passwords=frozenset(),
            lifetimes=LIFETIMES,
        )

    async def enter(self) -> None:
        """Whom all families belong to."""
        async with self.db.transaction() as session:
            user = await users.create(session, email="a7@example.com", password_hash="hash")
        assert user is not None
        self.user_id = user.id

    async def family(self) -> None:
        """The life of one."""
        home = await self._log_in()
        for _ in range(SPENT):
            await self._rotate(home)
        if self.random.random() < HONEST:
            for _ in range(PATIENCE):
                self._wait()
                await self._honest(home)
            await self._lives(home)
            self.findings.counted["honest families"] += 1
        else:
            await self._stolen(home)
        self.findings.done += 1

    async def _stolen(self, home: Household) -> None:
        """The first is audited and excused, the second ends the family; nothing is gained."""
        for number in range(PATIENCE):
            self._wait()
            await self._steal(home)
            first = number == 0
            trail = await self._trail(home)
            expected = [AuditEvent.REFRESH_TOKEN_ABANDONED]
            expected += [] if first else [AuditEvent.REFRESH_TOKEN_REUSED]
            self.demand(trail == sorted(expected), f"after {number + 1}: the trail has {trail}")
            if not await self._is_alive(home):
                self.demand(not first, "the first that was abandoned ended the family")
                self.findings.counted[f"ended by presentation {number + 1}"] += 1
                break
            self.demand(first, f"presentation {number + 1} did not end the family")
            for _ in range(self.random.randint(0, 3)):
                self._wait()
                await self._honest(home)
        else:
            self.demand(holds=False, sentence=f"{PATIENCE} presentations ended nothing")
            return
        outcome = await self._present(home.tokens[-1], home.keys[-1], OWNER, abandoned=False)
        self.demand(outcome == "refused", f"the newest token of a stolen family: {outcome}")

    async def _steal(self, home: Household) -> None:
        spent = self.random.choice(home.tokens[:-1])
        key = Secret(f"{self.random.getrandbits(128):032x}") if self.random.random() < 0.5 else None
        outcome = await self._present(spent, key, THIEF, abandoned=True)
        self.demand(outcome != "tokens", "a thief got tokens")
        self.findings.counted[f"stolen: {outcome}"] += 1

    async def _honest(self, home: Household) -> None:
        """Rotate, or repeat a request whose answer was lost, or one from before that."""
        chance = self.random.random()
        if chance < ROTATES:
            await self._rotate(home)
        elif chance < ROTATES + REPEATS:
            oldest = min(1 + GENERATIONS_WITH_A_KEY, len(home.tokens))
            behind = self.random.choice((2, 2, 3, oldest))
            token, key = home.tokens[-behind], home.keys[1 - behind]
            # A copy that comes after its repetition has been given up (decision 0011).
            abandoned = behind > 2 or self.random.random() < 0.5
            outcome = await self._present(token, key, OWNER, abandoned=abandoned)
            self.demand(outcome != "refused", f"an honest repetition was {outcome}")
            self.findings.counted[f"honest repetitions: {outcome}"] += 1

    async def _rotate(self, home: Household) -> None:
        key = Secret(f"{self.random.getrandbits(128):032x}")
        home.keys.append(key)
        self.demand(
            await self._present(home.tokens[-1], key, OWNER, abandoned=False, home=home)
            == "tokens",
            "an honest rotation was refused",
        )

    async def _lives(self, home: Household) -> None:
        alive, trail = await self._is_alive(home), await self._trail(home)
        self.demand(alive, "an honest family was ended")
        self.demand(trail == [], f"the trail of an honest family has {trail}")

    async def _present(
        self,
        token: Secret,
        key: Secret | None,
        caller: Caller,
        *,
        abandoned: bool,
        home: Household | None = None,
    ) -> str:
        async def is_abandoned() -> bool:
            return abandoned

        try:
            asked = RefreshRequest(
                token=self.keys.open_refresh_token(token, now=self.now),
                idempotency_key=key,
                caller=caller,
                under_way=lambda: timedelta(0),
                abandoned=is_abandoned,
            )
            session = await refresh(self.runtime, asked, now=self.now)
        except InvalidRefreshToken:
            return "refused"
        except DatabaseUnavailable:
            return "excused"
        if home is not None:
            home.tokens.append(session.refresh_token)
        return "tokens"

    async def _log_in(self) -> Household:
        async with self.db.autocommit() as connection:
            family = await logins.create_family(
                connection,
                NewSession(PasswordVerified(self.user_id, "hash"), Delivery.NATIVE, remember=True),
                mac_key_id=self.keys.refresh.sealing_key(self.now).key_id,
                lifetimes=LIFETIMES,
                place=Place("a7@example.com", "203.0.113.7/32", None),
                caller=OWNER,
            )
        assert family is not None
        return Household(
            family.id, [self.keys.seal_refresh_token(family.newest_token, now=self.now)]
        )

    async def _is_alive(self, home: Household) -> bool:
        query = "SELECT revoked_at IS NULL FROM refresh_families WHERE id = $1"
        return bool(await self.sql.fetchval(query, home.id))

    async def _trail(self, home: Household) -> list[str]:
        rows: list[Any] = await self.sql.fetch(
            "SELECT event FROM audit_records WHERE family_id = $1 AND event LIKE 'refresh_%'"
            " ORDER BY event",
            home.id,
        )
        return [row["event"] for row in rows]

    def _wait(self) -> None:
        """From half a minute to hours, so that a family gets days old."""
        self.now += CALM + timedelta(seconds=self.random.choice((1, 60, 3_600, 36_000)))

    def demand(self, holds: bool, sentence: str) -> None:  # noqa: FBT001 - as assert
        """Note a violation unless it holds."""
        if not holds and len(self.findings.violations) < 20:
            self.findings.violations.append(sentence)


class AbandonedReplays:
    """Half of the families have a thief."""

    name = "A7-abandoned-replays"
    promise = (
        "A thief who presents spent tokens and hangs up at once is in the audit trail with the "
        "first, and ends the family with the second, whatever lies between them, and gets no "
        "token; an owner who repeats requests with their key, and hangs up on them, loses nothing."
    )
    unit = "families"
    goal = 20_000
    batch = 300

    async def run(self, stage: Stage, *, units: int, random: Random) -> Findings:
        """So many families."""
        async with _street(stage, random) as street:
            while street.findings.done < units:
                await street.family()
        return street.findings

    async def control(self, stage: Stage, *, random: Random) -> Findings:
        """Whoever hangs up is excused each time."""
        with _always_excused():
            async with _street(stage, random) as street:
                while street.findings.done < CONTROL_FAMILIES:
                    await street.family()
        return street.findings


EXPERIMENTS: tuple[Experiment, ...] = (AbandonedReplays(),)


@asynccontextmanager
async def _street(stage: Stage, random: Random) -> AsyncIterator[Street]:
    now = datetime.now(UTC)
    async with stage.database() as url:
        with stage.place() as place:
            keys = KeyDirectory(place / "keys", passphrase=None, strict_modes=False)
            keys.load(now)
            db = await Database.open(url, now=lambda: street.now)
            sql = await asyncpg.connect(url)
            try:
                street = Street(db, keys, sql, random, Findings(), now)
                await street.enter()
                yield street
            finally:
                await sql.close()
                await db.close()


@contextmanager
def _always_excused() -> Iterator[None]:
    record_once: Callable[..., Awaitable[bool]] = refresh_families.record_once

    async def first_each_time(*arguments: Any, **options: Any) -> bool:
        await record_once(*arguments, **options)
        return True

    setattr(refresh_families, "record_once", first_each_time)  # noqa: B010 - a patch
    try:
        yield
    finally:
        setattr(refresh_families, "record_once", record_once)  # noqa: B010 - as above
