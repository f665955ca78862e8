"""
Who uses the service in the mixed workload: devices of one account, with a tab and a thief each.

Any operation may end unknown: an honest client repeats a refresh with its Idempotency-Key until
it gets an answer, and goes on. What a client believes may be wrong; the checker knows better.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from uuid import UUID

from authsvc.flows import accounts
from authsvc.protocol.errors import DatabaseUnavailable
from authsvc.store.database import Database
from proof.checker.families import refused
from proof.client import PATIENCE, Account, Client, Session
from proof.history import Operation, Outcome, Recorder

DELIVERIES = ("native", "native", "spa", "web")
SESSION_LENGTH = 30  # actions; short families are checked fast
ACCOUNT_LENGTH = 150  # actions; then the household moves to a new account
KNOWN = 4  # sessions that a household remembers, to try whether the dead are dead
BACK_OFF = 0.05  # seconds after an operation of unknown outcome

# What a device does next, and how often.
ACTIONS = {
    "refresh": 40,
    "me": 10,
    "tabs": 8,
    "present_again": 3,
    "be_robbed": 3,
    "log_out": 3,
    "log_out_others": 2,
    "log_out_all": 2,
    "disable": 2,
    "log_in_beside_disable": 3,
    "change_password": 3,
}


@dataclass
class Load:
    """What all devices of one workload share; `database` is the administrator's own way in."""

    recorder: Recorder
    ports: Sequence[int]
    database: Database
    until: int
    stop: asyncio.Event
    deadline: float
    actions: Mapping[str, int]
    begun: list[Session]

    @property
    def over(self) -> bool:
        return (
            self.stop.is_set()
            or self.recorder.operations >= self.until
            or time.monotonic() >= self.deadline
        )


@dataclass
class Household:
    """One account at a time, and those who may use it."""

    load: Load
    random: Random
    account: Account | None = None
    actions: int = 0
    known: list[Session] = field(default_factory=list)
    moving: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def the_account(self, client: Client) -> Account | None:
        """The present one; None if there is no way to get one now."""
        async with self.moving:
            if self.account is None or self.actions >= ACCOUNT_LENGTH:
                email = f"{self.random.getrandbits(64):016x}@example.com"
                try:
                    self.account = await client.register(email)
                except AssertionError:  # a fault: the next try takes another address
                    await asyncio.sleep(BACK_OFF)
                    return None
                self.actions = 0
                self.known.clear()
        return self.account

    def remember(self, session: Session) -> None:
        """A new session."""
        self.known = [*self.known, session][-KNOWN:]

    async def administer(self, operation: str, account: Account) -> None:
        """Disable or enable, as the command line does."""
        act = accounts.disable_account if operation == "disable" else accounts.enable_account
        invoked = time.monotonic()
        outcome: Outcome = "ok"
        cause = {}
        try:
            async with asyncio.timeout(PATIENCE):
                await act(self.load.database, UUID(account.id))
        except (DatabaseUnavailable, TimeoutError) as exc:
            outcome, cause = "info", {"cause": type(exc).__name__}
        self.load.recorder.add(
            Operation(
                process=f"administrator-of-{account.id}",
                operation=operation,
                outcome=outcome,
                invoked=invoked,
                returned=time.monotonic(),
                user=account.id,
                result=cause,
            )
        )


class Device:
    """One device of a household, with its session, a second tab, and whoever copied its tokens."""

    def __init__(self, load: Load, household: Household, name: str, random: Random) -> None:
        self.session: Session | None = None
        self._load = load
        self._household = household
        self._random = random
        self._actions = 0
        self._client = Client(name, load.recorder, load.ports)
        self._tab = Client(f"{name}-tab", load.recorder, load.ports)
        self._thief = Client(f"{name}-thief", load.recorder, load.ports)

    async def close(self) -> None:
        """Hang up."""
        for client in (self._client, self._tab, self._thief):
            await client.close()

    async def live(self) -> None:
        """Do one thing after another until the workload is over."""
        acts: dict[str, Callable[[Session], Awaitable[None]]] = {
            "refresh": self._refresh,
            "me": self._look,
            "tabs": self._refresh_in_two_tabs,
            "present_again": self._present_again,
            "be_robbed": self._be_robbed,
            "log_out": lambda session: self._end(session, "session"),
            "log_out_others": lambda session: self._end(session, "others"),
            "log_out_all": lambda session: self._end(session, "all"),
            "disable": self._disable,
            "log_in_beside_disable": self._log_in_beside_disable,
            "change_password": self._change_password,
        }
        names, weights = list(self._load.actions), list(self._load.actions.values())
        while not self._load.over:
            session = self.session
            if session is None:
                await self._log_in()
                continue
            self._actions += 1
            self._household.actions += 1
            name = self._random.choices(names, weights)[0]
            await acts["log_out" if self._actions % SESSION_LENGTH == 0 else name](session)

    async def _log_in(self) -> None:
        account = await self._household.the_account(self._client)
        if account is None:
            return
        version = account.password
        self._keep(await self._client.login(account, self._delivery()))
        if self.session is None and not self._load.over:
            # A change of the password whose answer was lost, or a disable that did happen.
            self._keep(await self._client.login(account, self._delivery(), password=version + 1))
            if self.session is not None:
                account.password = max(account.password, version + 1)
            else:
                await self._household.administer("enable", account)
                await asyncio.sleep(BACK_OFF)

    def _keep(self, session: Session | None) -> None:
        if session is not None:
            self.session = session
            self._load.begun.append(session)
            self._household.remember(session)

    async def _refresh(self, session: Session) -> None:
        """As an honest client: with one key until there is an answer."""
        keyless = session.by_cookie and self._random.random() < 0.5
        key = session.pending_key or (None if keyless else self._key())
        session.pending_key = key
        while True:
            answer = await self._client.refresh(session, key=key)
            if answer.outcome != "info":
                break
            if self._load.over:
                return
            await asyncio.sleep(BACK_OFF)
        session.pending_key = None
        self._note(session, answer)

    async def _refresh_in_two_tabs(self, session: Session) -> None:
        """At the same moment, in different replicas; a native app shares the key between both."""
        if session.pending_key:
            return
        token = session.refresh_token
        shares = not session.by_cookie and self._random.random() < 0.8
        key = self._key() if shares else None
        session.pending_key = key
        first, second = self._two_ports()
        answers = await asyncio.gather(
            self._client.refresh(session, token=token, key=key, port=first),
            self._tab.refresh(session, token=token, key=key, port=second),
        )
        if any(answer.outcome == "ok" for answer in answers):
            session.pending_key = None
        for answer in answers:
            self._note(session, answer)
        if self.session is None:
            await self._try_the_dead(session)

    async def _present_again(self, session: Session) -> None:
        """What was just spent, without the key: a replay for a cookie, for others reuse."""
        if session.pending_key or not session.spent:
            return
        answer = await self._tab.refresh(session, token=session.spent[-1])
        self._note(session, answer)
        if answer.outcome == "err":
            await self._try_the_dead(session)

    async def _be_robbed(self, session: Session) -> None:
        """A thief presents a copied token; then the owner goes on."""
        if session.pending_key:
            return
        copied = replace(session, spent=[])
        stolen = self._random.choice([*session.spent[-3:], session.refresh_token])
        await self._thief.refresh(copied, token=stolen)
        await self._refresh(session)
        await self._thief.me(copied)
        if self.session is None:
            await self._thief.refresh(copied)
            await self._try_the_dead(session)

    async def _end(self, session: Session, scope: str) -> None:
        """Log out, at times beside a refresh or a login; then see who is still alive."""
        account = session.account
        beside = self._random.random()
        logout = self._client.logout(session, scope)
        if beside < 0.3 and not session.pending_key:
            key = self._key()
            session.pending_key = key
            answer, refreshed = await asyncio.gather(logout, self._tab.refresh(session, key=key))
            if refreshed.outcome != "info":
                session.pending_key = None
        elif beside < 0.5:
            answer, begun = await asyncio.gather(logout, self._tab.login(account, self._delivery()))
            if begun is not None:
                await self._tab.me(begun)
                self._household.remember(begun)
        else:
            answer = await logout
        if answer.outcome == "ok" and scope != "others":
            self.session = None
            await self._try_the_dead(session)
        await self._look_at_the_known()

    async def _disable(self, session: Session) -> None:
        account = session.account
        await self._household.administer("disable", account)
        await self._look_at_the_known()
        await self._client.login(account, self._delivery())
        await self._refresh(session)
        await self._household.administer("enable", account)
        await self._look_at_the_known()

    async def _log_in_beside_disable(self, session: Session) -> None:
        account = session.account
        begun, _ = await asyncio.gather(
            self._tab.login(account, self._delivery()),
            self._household.administer("disable", account),
        )
        if begun is not None:
            await self._tab.me(begun)
            await self._try_the_dead(begun)
        await self._household.administer("enable", account)
        if begun is not None:
            await self._tab.me(begun)  # enabled again, and still dead
        await self._refresh(session)

    async def _change_password(self, session: Session) -> None:
        """Beside a login with the old one; then see who is still alive."""
        account, old = session.account, session.account.password
        answer, begun = await asyncio.gather(
            self._client.change_password(session),
            self._tab.login(account, self._delivery(), password=old),
        )
        if begun is not None:
            await self._tab.me(begun)
        if answer.outcome == "ok":
            await self._tab.login(account, self._delivery(), password=old)
        await self._look_at_the_known()

    async def _look(self, session: Session) -> None:
        self._note(session, await self._client.me(session))

    async def _look_at_the_known(self) -> None:
        """Each session that the household remembers, alive or dead, asks for its user."""
        for session in list(self._household.known):
            answer = await self._tab.me(session)
            if session is self.session:
                self._note(session, answer)

    async def _try_the_dead(self, session: Session) -> None:
        """Both tokens of a session that should be over."""
        await self._tab.me(session)
        await self._tab.refresh(session, key=session.pending_key or self._key())

    def _note(self, session: Session, answer: Operation) -> None:
        """A refusal ends what the device believes in."""
        if refused(answer) and session is self.session:
            self.session = None

    def _two_ports(self) -> tuple[int, int]:
        ports = self._load.ports
        first = self._random.randrange(len(ports))
        return ports[first], ports[(first + 1) % len(ports)]

    def _delivery(self) -> str:
        return self._random.choice(DELIVERIES)

    def _key(self) -> str:
        return f"{self._random.getrandbits(128):032x}"
