"""F14: refresh and login in the same moment as whatever ends sessions."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from random import Random

from authsvc.store.database import Database
from proof.client import Account, Client, Session
from proof.deployment import deployed
from proof.experiment import Experiment, Findings, Stage
from proof.history import Operation
from proof.photo_finish import Racer, run_at
from proof.revocations import REVOCATIONS, Actor, Administrator, Revocation

# What the promise says of a login in the same moment.
LOGINS = {
    "untouched": "A login of another device lives.",
    "either": "A login is dead if it came first, and lives if it came after, which is allowed; one "
    "that had returned before is always dead.",
    "never": "A login with what no longer opens the account is refused or dead, whichever came "
    "first.",
}

PROCESSES = 2
LANES = 4  # users whose rounds run side by side; they disturb one another's timing
DELIVERIES = ("native", "spa", "web")
DEADLINE = 5.0  # seconds; for every answer
CONTROL_ROUNDS = 400


@dataclass
class Field:
    """Where the races are run: one service, shared by all revocations of a run."""

    stage: Stage
    ports: tuple[int, ...]
    administrator: Administrator
    random: Random


@dataclass
class Lane:
    """One user with three clients: one revokes, one refreshes, one logs in."""

    field: Field
    account: Account
    revoker: Client
    refresher: Client
    newcomer: Client
    other: Session | None = None


@dataclass(frozen=True, slots=True)
class Login:
    """A login and when it was invoked and had returned; None: it was refused."""

    session: Session | None
    invoked: float
    returned: float


@dataclass
class Race:
    """All rounds of one revocation."""

    revocation: Revocation
    findings: Findings = field(default_factory=Findings)
    # A refresh is quicker than what ends sessions.
    refresh: Racer = field(default_factory=lambda: Racer(centre=0.004))
    login: Racer = field(default_factory=Racer)
    begun: int = 0

    def demand(self, holds: bool, sentence: str) -> None:  # noqa: FBT001 - as assert
        """Note a violation unless it holds."""
        if not holds:
            self.findings.violations.append(f"{self.revocation.name}: {sentence}")

    async def run(self, lanes: list[Lane], *, units: int, stop_at: int | None = None) -> None:
        """`units` rounds, or until so many violations."""

        async def along(lane: Lane) -> None:
            while self.begun < units and (
                stop_at is None or len(self.findings.violations) < stop_at
            ):
                self.begun += 1
                await self._round(lane)
                self.findings.done += 1

        await asyncio.gather(*(along(lane) for lane in lanes))

    async def _round(self, lane: Lane) -> None:
        random = lane.field.random
        actor = await _prepare(lane, self.revocation)
        victim, presented = actor.victim, actor.victim.refresh_token
        offsets = [0.0, self.refresh.offset(random), self.login.offset(random)]
        start = time.monotonic() + 0.001 - min(offsets)
        version = lane.account.password
        revoked, refreshed, login = await asyncio.gather(
            run_at(start + offsets[0], lambda: self.revocation.act(actor)),
            run_at(start + offsets[1], lambda: lane.refresher.refresh(victim, key=_key(random))),
            run_at(start + offsets[2], lambda: _log_in(lane, version)),
        )
        returned = time.monotonic()
        if actor.overtaken:
            self.findings.counted["overtaken, then refused"] += actor.overtaken
        self.findings.at_most("answer, seconds", returned - start)
        self.demand(returned - start <= DEADLINE, "an answer took longer than its deadline")
        expected = "err" if self.revocation.refused else "ok"
        self.demand(revoked.outcome == expected, f"the revocation: {revoked.result}")
        self._note("refresh", self.refresh, first=refreshed.outcome == "ok")
        self.demand(refreshed.outcome != "info", f"the refresh: {refreshed.result}")

        await self._is_dead(lane, victim, f"refresh {refreshed.outcome}")
        if refreshed.outcome == "ok":
            # The token that was spent ends nothing that is not dead, and brings nothing back.
            await lane.refresher.refresh(victim, token=presented)
        await self._judge_login(lane, login, revoked)
        if self.revocation.name == "disable":
            await actor.administrator.enable(lane.account)
            await self._is_dead(lane, victim, "after the account was enabled again")
            if login.session is not None:
                await self._is_dead(lane, login.session, "the login, after the account was enabled")
        if not self.revocation.spares_other:
            lane.other = None

    async def _judge_login(self, lane: Lane, login: Login, revoked: Operation) -> None:
        rule, session = self.revocation.login, login.session
        if session is None:
            self.demand(rule == "never", "a login was refused")
            self._note("login", self.login, first=False)
            return
        if rule == "never":
            self._note("login", self.login, first=True)
            await self._is_dead(lane, session, "a login with what no longer opens the account")
            return
        me = await lane.newcomer.me(session)
        lives = me.outcome == "ok"
        if rule == "untouched":
            self.demand(lives, "a login of another device was ended")
            return
        self._note("login", self.login, first=not lives)
        self.demand(lives or login.invoked <= revoked.returned, "a later login was ended")
        self.demand(not lives or login.returned >= revoked.invoked, "an earlier login survived")
        if lives:
            onward = await lane.newcomer.refresh(session, key=_key(lane.field.random))
            self.demand(onward.outcome == "ok", "half of a login survived")
        else:
            await self._is_dead(lane, session, "the refresh token of a dead login")

    async def _is_dead(self, lane: Lane, session: Session, what: str) -> None:
        """Neither its access token nor its refresh token is accepted, at any process."""
        random = lane.field.random
        for port in lane.field.ports:
            me = await lane.newcomer.me(session, port=port)
            self.demand(me.outcome == "err", f"survivor at /auth/me ({what}): {me.outcome}")
        again = await lane.newcomer.refresh(session, key=_key(random))
        self.demand(again.outcome == "err", f"survivor at /auth/refresh ({what}): {again.outcome}")

    def _note(self, who: str, racer: Racer, *, first: bool) -> None:
        self.findings.counted[f"{who} first" if first else f"{who} second"] += 1
        racer.came(first=first)


class RevocationRace:
    """10,000 photo finishes of a refresh and a login with one way to end sessions."""

    unit = "rounds"
    goal = 10_000
    batch = 500

    def __init__(self, revocation: Revocation) -> None:
        self.revocation = revocation
        self.name = f"F14-{revocation.name}"
        self.promise = (
            f"Once {revocation.name} has returned, no token of the session that it ends is "
            "accepted, also none that a refresh minted in the same moment. "
            f"{LOGINS[revocation.login]}"
        )

    async def run(self, stage: Stage, *, units: int, random: Random) -> Findings:
        """`units` rounds."""
        async with field_of(stage, random) as grounds:
            return await race(grounds, self.revocation, units=units)

    async def control(self, stage: Stage, *, random: Random) -> Findings:
        """A build that acts on what it read some time ago."""
        async with field_of(stage, random, plant=PLANT) as grounds:
            return await race(grounds, self.revocation, units=CONTROL_ROUNDS, stop_at=3)


PLANT = "proof.race_plants:nothing_is_looked_at_twice"
EXPERIMENTS: tuple[Experiment, ...] = tuple(RevocationRace(each) for each in REVOCATIONS)


@asynccontextmanager
async def field_of(
    stage: Stage, random: Random, *, plant: str | None = None
) -> AsyncIterator[Field]:
    """A service of two processes, without a retry window, so that cookies are rotated too."""
    settings = {"REFRESH_RETRY_WINDOW": "0"}
    async with deployed(stage, PROCESSES, settings=settings, plant=plant) as deployment:
        database = await Database.open(deployment.url, sessions=LANES)
        try:
            administrator = Administrator(database, stage.recorder, "administrator")
            yield Field(stage, deployment.ports, administrator, random)
        finally:
            await database.close()


async def race(
    grounds: Field, revocation: Revocation, *, units: int, stop_at: int | None = None
) -> Findings:
    """Rounds of one revocation, with users of their own."""
    found = Race(revocation)
    async with AsyncExitStack() as stack:
        lanes = []
        for index in range(LANES):
            run = f"{grounds.random.getrandbits(32):08x}"
            clients = [
                Client(f"f14-{run}-{index}-{role}", grounds.stage.recorder, grounds.ports)
                for role in ("revoker", "refresher", "newcomer")
            ]
            for client in clients:
                stack.push_async_callback(client.close)
            account = await clients[0].register(f"f14-{run}-{index}@example.com")
            lanes.append(Lane(grounds, account, clients[0], clients[1], clients[2]))
        await found.run(lanes, units=units, stop_at=stop_at)
    return found.findings


async def _prepare(lane: Lane, revocation: Revocation) -> Actor:
    delivery = lane.field.random.choice(DELIVERIES)
    victim = await lane.refresher.login(lane.account, delivery)
    assert victim is not None
    if lane.other is None:
        lane.other = await lane.revoker.login(lane.account)
        assert lane.other is not None
    if revocation.refused:
        # The token that was spent here is the one that comes again.
        spent = await lane.refresher.refresh(victim, key=_key(lane.field.random))
        assert spent.outcome == "ok", spent
    return Actor(lane.revoker, lane.field.administrator, victim, lane.other)


async def _log_in(lane: Lane, password: int) -> Login:
    begun = time.monotonic()
    session = await lane.newcomer.login(lane.account, password=password)
    return Login(session, begun, time.monotonic())


def _key(random: Random) -> str:
    return f"{random.getrandbits(128):032x}"
