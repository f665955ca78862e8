"""One session of a user over four weeks, and perhaps a thief who copied its cookie jar."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from proof.honest.browser import Browser, Discipline
from proof.honest.network import (
    ACTIVE_DAY,
    DAY,
    DAYS,
    LENGTH,
    RESTART,
    TABS,
    TIMES_A_DAY,
    Profile,
)
from proof.honest.rules import SECOND, Reply, Rule
from proof.honest.world import World

# How long after a refresh of the user a thief presents his newest token; None: he follows no
# refresh but uses what he stole once, so long after the theft.
STRATEGIES: dict[str, tuple[bool, int]] = {
    "once, at once": (False, 0),
    "once, after an hour": (False, 3600 * SECOND),
    "follows, a minute behind": (True, 60 * SECOND),
    "follows, 3 s behind": (True, 3 * SECOND),
}


@dataclass
class Watched:
    """A rule under observation: what it answered, and when it first refused."""

    rule: Rule
    trace: list[tuple[int, str]] = field(default_factory=list)
    dead_at: int | None = None
    on_success: list[Callable[[], None]] = field(default_factory=list)

    def refresh(self, token: str, key: str | None, now: int) -> Reply | None:
        """For the user's browser."""
        reply = self.refresh_by_thief(token, key, now)
        if reply is not None:
            for tell in self.on_success:
                tell()
        return reply

    def refresh_by_thief(self, token: str, key: str | None, now: int) -> Reply | None:
        """For the thief, whom nobody tells the thief about."""
        reply = self.rule.refresh(token, key, now)
        self.trace.append((now, reply.how if reply else "refused"))
        if reply is None and self.dead_at is None:
            self.dead_at = now
        return reply


@dataclass
class Thief:
    """Has a copy of the jar, and a network that loses nothing."""

    world: World
    server: Watched
    follows: bool
    delay: int
    stolen_at: int | None = None
    access_tokens: int = 0
    _token: str = ""
    _key: str | None = None
    _planned: bool = False

    def steal(self, browser: Browser) -> None:
        """Copy the jar as it is now."""
        self.stolen_at, self._token, self._key = self.world.now, browser.token, browser.pending
        if not self.follows:
            self.world.after(self.delay, self._present)

    def notice(self) -> None:
        """The user has refreshed."""
        if self.stolen_at is not None and self.follows and not self._planned:
            self._planned = True
            self.world.after(self.delay, self._present)

    def _present(self) -> None:
        self._planned = False
        if self.server.dead_at is not None:
            return
        reply = self.server.refresh_by_thief(self._token, self._key, self.world.now)
        self._key = None
        if reply is not None:
            self.access_tokens += 1
            self._token = reply.token or self._token


@dataclass(frozen=True, slots=True)
class Lived:
    """
    What became of a session.

    Args:
        lost: The user was logged out without having asked for it.
        caught: Milliseconds from the theft to the end of the session; None: never.
        trace: When the server answered what.
    """

    lost: bool
    refreshes: int
    stolen: bool
    caught: int | None
    access_tokens: int
    trace: list[tuple[int, str]]


def live(
    rule: Rule,
    profile: Profile,
    discipline: Discipline,
    random: Random,
    *,
    crashes: bool = False,
    strategy: str | None = None,
    days: int = DAYS,
) -> Lived:
    """
    One session.

    Args:
        crashes: Whether the browser crashes, and rolls its jar back.
        strategy: What a thief does; None: there is none.
    """
    world, server = World(), Watched(rule)
    # The thief's choices do not disturb the user's.
    own = Random(random.getrandbits(64))  # noqa: S311 - chance that can be repeated
    browser = Browser(world, server, profile, discipline, own, rule.login(0))
    periods = _periods(random, days)
    for start, end in periods:
        _plan(world, browser, start, end, random)
        if crashes and random.random() < profile.crashes:
            _plan_crash(world, browser, start, end, random)
    thief = None
    if strategy is not None:
        thief = Thief(world, server, *STRATEGIES[strategy])
        server.on_success.append(thief.notice)
        start, end = random.choice(periods[: max(1, len(periods) // 2)])
        world.after(random.randint(start + 5 * SECOND, end), lambda: thief.steal(browser))
    world.run()
    stolen_at = thief.stolen_at if thief else None
    caught = None
    if stolen_at is not None and server.dead_at is not None:
        caught = server.dead_at - stolen_at
    return Lived(
        lost=browser.lost_at is not None,
        refreshes=browser.refreshes,
        stolen=stolen_at is not None,
        caught=caught,
        access_tokens=thief.access_tokens if thief else 0,
        trace=server.trace,
    )


def _periods(random: Random, days: int) -> list[tuple[int, int]]:
    """When the user is there; never absent for so long that the session would idle out."""
    periods: list[tuple[int, int]] = [(1000, 1000 + LENGTH[0])]
    absent = 0
    for day in range(days):
        absent += 1
        if random.random() >= ACTIVE_DAY and absent < 3:
            continue
        absent = 0
        for _ in range(random.randint(*TIMES_A_DAY)):
            start = day * DAY + random.randint(DAY // 3, DAY * 9 // 10)
            periods.append((start, start + random.randint(*LENGTH)))
    periods.sort()
    apart = [periods[0]]
    for start, end in periods[1:]:
        if start > apart[-1][1] + RESTART[1]:
            apart.append((start, end))
    return apart


def _plan(world: World, browser: Browser, start: int, end: int, random: Random) -> None:
    tabs = random.randint(*TABS)
    world.after(start, lambda: browser.open(tabs))
    world.after(end, browser.close)


def _plan_crash(world: World, browser: Browser, start: int, end: int, random: Random) -> None:
    at = random.randint(start, end - 1)
    back = at + random.randint(*RESTART)
    tabs = random.randint(*TABS)
    world.after(at, browser.crash)
    if back < end:
        world.after(back, lambda: browser.open(tabs))
