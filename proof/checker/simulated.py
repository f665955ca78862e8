"""
A tiny perfect service on a simulated clock: what the checker must never complain about.

Every operation takes effect at one moment between its invocation and its answer; some answers
are lost, and then it takes effect late, or never.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import Any

from proof.history import Operation, Outcome

WINDOW = 1.0  # seconds
# What a client does next, and how often.
CHOICES = {
    "refresh": 60,
    "stale": 4,
    "me": 20,
    "logout": 3,
    "disable": 1,
    "enable": 4,
    "password": 1,
}
HOPELESS = 0.7  # the share of refused sessions that their client lets go
Reply = tuple[Outcome, dict[str, Any]]
LOST: Reply = ("info", {"cause": "lost"})
REFUSED: Reply = ("err", {"status": 401, "code": "refused"})


@dataclass
class SimulatedFamily:
    id: str
    user: str
    delivery: str
    generation: int = 0
    key: str | None = None
    rotated_at: float = 0.0
    alive: bool = True

    def token(self, generation: int) -> str:
        return f"{self.id}/{generation}"


@dataclass
class SimulatedUser:
    password: int = 0
    disabled: bool = False


@dataclass
class SimulatedService:
    """The rules as code that runs, one operation at a time."""

    users: dict[str, SimulatedUser] = field(default_factory=dict)
    families: dict[str, SimulatedFamily] = field(default_factory=dict)

    def login(self, user: str, family: str, delivery: str, password: int, now: float) -> Reply:
        account = self.users.setdefault(user, SimulatedUser())
        if account.disabled or account.password != password:
            return REFUSED
        self.families[family] = begun = SimulatedFamily(family, user, delivery, rotated_at=now)
        return "ok", {"token": begun.token(0), "generation": 0}

    def refresh(self, family_id: str, generation: int, key: str | None, now: float) -> Reply:
        family = self.families[family_id]
        within = family.delivery != "native" and now - family.rotated_at < WINDOW
        if not family.alive:
            return REFUSED
        how = "replayed"
        if generation == family.generation:
            how = "kept" if within and generation > 0 else "rotated"
        elif generation != family.generation - 1 or not (
            within or (key is not None and key == family.key)
        ):
            family.alive = False
            return REFUSED
        if how == "rotated":
            family.generation, family.key, family.rotated_at = generation + 1, key, now
        current = family.generation
        return "ok", {"how": how, "token": family.token(current), "generation": current}

    def me(self, family_id: str) -> Reply:
        return ("ok", {}) if self.families[family_id].alive else REFUSED

    def logout(self, family_id: str, scope: str) -> Reply:
        family = self.families[family_id]
        if scope != "session" and family.alive:
            self._end_all(family.user, but=family_id if scope == "others" else None)
        elif scope == "session":
            family.alive = False
        return "ok", {}

    def disable(self, user: str) -> Reply:
        self.users[user].disabled = True
        self._end_all(user)
        return "ok", {}

    def enable(self, user: str) -> Reply:
        self.users[user].disabled = False
        return "ok", {}

    def change_password(self, family_id: str, version: int) -> Reply:
        family = self.families[family_id]
        account = self.users[family.user]
        if not family.alive:
            return REFUSED
        if account.password != version - 1:
            return "err", {"status": 403, "code": "current_password_wrong"}
        account.password = version
        self._end_all(family.user, but=family_id)
        return "ok", {}

    def _end_all(self, user: str, but: str | None = None) -> None:
        for family in self.families.values():
            if family.user == user and family.id != but:
                family.alive = False


@dataclass
class SimulatedSession:
    """What a simulated client holds of a session."""

    family: str
    user: str
    delivery: str
    generation: int = 0
    pending: str | None = None


class Simulation:
    """
    Random clients on a perfect service.

    Args:
        lost: The share of answers that are lost.
    """

    def __init__(
        self, random: Random, *, clients: int = 4, users: int = 2, lost: float = 0.05
    ) -> None:
        self._random = random
        self._lost = lost
        self._service = SimulatedService({f"u{number}": SimulatedUser() for number in range(users)})
        self._sessions: list[SimulatedSession] = []
        self._passwords = {f"u{number}": 0 for number in range(users)}
        self._names = count()
        self._order = count()
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._clients = clients
        self._operations = 0
        self.history: list[Operation] = []

    def run(self, operations: int) -> list[Operation]:
        """A history of about so many operations, all of them to their ends."""
        self._operations = operations
        for number in range(self._clients):
            self._at(self._random.random() * 0.01, self._next(f"p{number}"))
        while self._events:
            moment, _, act = heapq.heappop(self._events)
            act(moment)
        return self.history

    def _at(self, moment: float, act: Callable[[float], None]) -> None:
        heapq.heappush(self._events, (moment, next(self._order), act))

    def _next(self, process: str) -> Callable[[float], None]:
        return lambda now: self._choose(process, now)

    def _choose(self, process: str, now: float) -> None:
        random = self._random
        if len(self.history) >= self._operations:
            return
        if not self._sessions or random.random() < 0.04:
            user = random.choice(sorted(self._passwords))
            if self._service.users[user].disabled and random.random() < 0.9:
                self._run(process, "enable", user, {}, now, lambda _: self._service.enable(user))
            else:
                self._login(process, user, now)
            return
        session = random.choice(self._sessions[-6:])
        name = random.choices(list(CHOICES), list(CHOICES.values()))[0]
        match name:
            case "refresh":
                self._refresh(process, session, session.generation, now)
            case "stale":
                self._refresh(process, session, max(0, session.generation - 1), now)
            case "password":
                self._change_password(process, session, now)
            case _:
                self._run_simple(process, name, session, now)

    def _run_simple(self, process: str, name: str, session: SimulatedSession, now: float) -> None:
        service, user, family = self._service, session.user, session.family
        scope = self._random.choice(["session", "others", "all"])
        acts: dict[str, tuple[SimulatedSession | str, dict[str, Any], Callable[[], Reply]]] = {
            "me": (session, {}, lambda: service.me(family)),
            "logout": (session, {"scope": scope}, lambda: service.logout(family, scope)),
            "disable": (user, {}, lambda: service.disable(user)),
            "enable": (user, {}, lambda: service.enable(user)),
        }
        whose, value, act = acts[name]
        self._run(process, name, whose, value, now, lambda _: act())

    def _login(self, process: str, user: str, now: float) -> None:
        family, delivery = f"f{next(self._names)}", self._random.choice(["native", "spa"])
        password = self._passwords[user]
        if self._random.random() < 0.8:  # else what this client remembers may be out of date
            password = self._passwords[user] = self._service.users[user].password
        session = SimulatedSession(family, user, delivery)

        def read(_: dict[str, Any]) -> None:
            self._sessions.append(session)

        self._run(
            process,
            "login",
            session,
            {"delivery": delivery, "password": password},
            now,
            lambda moment: self._service.login(user, family, delivery, password, moment),
            read,
        )

    def _refresh(
        self, process: str, session: SimulatedSession, generation: int, now: float
    ) -> None:
        key = session.pending or (f"k{next(self._names)}" if self._random.random() < 0.7 else None)
        session.pending = key

        def read(result: dict[str, Any]) -> None:
            session.pending = None
            session.generation = max(session.generation, result["generation"])

        value = {
            "token": f"{session.family}/{generation}",
            "generation": generation,
            "delivery": session.delivery,
            "key": key,
        }
        self._run(
            process,
            "refresh",
            session,
            value,
            now,
            lambda moment: self._service.refresh(session.family, generation, key, moment),
            read,
        )

    def _change_password(self, process: str, session: SimulatedSession, now: float) -> None:
        version = self._passwords[session.user] + 1

        def read(_: dict[str, Any]) -> None:
            self._passwords[session.user] = version

        self._run(
            process,
            "password_change",
            session,
            {"password": version},
            now,
            lambda _: self._service.change_password(session.family, version),
            read,
        )

    def _run(
        self,
        process: str,
        name: str,
        whose: SimulatedSession | str,
        value: dict[str, Any],
        invoked: float,
        act: Callable[[float], Reply],
        read: Callable[[dict[str, Any]], None] = lambda _: None,
    ) -> None:
        random = self._random
        effect = invoked + random.expovariate(100)
        returned = effect + random.expovariate(100)
        lost = random.random() < self._lost
        reply: Reply | None = None

        def take_effect(moment: float) -> None:
            nonlocal reply
            reply = act(moment)

        def answer(moment: float) -> None:
            outcome, result = LOST if lost else reply or REFUSED
            user = whose if isinstance(whose, str) else whose.user
            family = None if isinstance(whose, str) else whose.family
            if name == "login" and outcome != "ok":
                family = None
            self.history.append(
                Operation(process, name, outcome, invoked, moment, family, user, value, result)
            )
            if outcome == "ok":
                read(result)
            elif outcome == "err" and whose in self._sessions and random.random() < HOPELESS:
                self._sessions.remove(whose)
            self._at(moment + random.expovariate(20), self._next(process))

        if not lost:
            self._at(effect, take_effect)
        elif random.random() < 0.7:
            self._at(effect + random.choice([0.0, 0.5]), take_effect)
        self._at(returned, answer)
