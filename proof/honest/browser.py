"""
A browser of one user: a cookie jar, some tabs, and what they do to keep an access token.

A discipline is what a client library does. Ours is: one refresh at a time for all tabs (Web
Locks), the access token shared among them, and an Idempotency-Key that is written down before it
is sent and repeated until a 200 has come.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Protocol

from proof.honest.network import (
    ACCESS,
    FLUSH,
    MARGIN,
    PAUSES,
    TIMEOUT,
    Profile,
)
from proof.honest.rules import Reply
from proof.honest.world import World


@dataclass(frozen=True, slots=True)
class Discipline:
    """
    What a client does.

    Args:
        lock: One refresh at a time, and one access token for all tabs.
        key: It sends an Idempotency-Key and repeats it.
        keeps_key: It keeps the last key, and repeats it in the first refresh after a start.
    """

    lock: bool
    key: bool
    keeps_key: bool = False


DISCIPLINES = {
    "key and lock": Discipline(lock=True, key=True),
    "key": Discipline(lock=False, key=True),
    "lock": Discipline(lock=True, key=False),
    "neither": Discipline(lock=False, key=False),
    "key kept, lock": Discipline(lock=True, key=True, keeps_key=True),
}


class Server(Protocol):
    """Where requests arrive."""

    def refresh(self, token: str, key: str | None, now: int) -> Reply | None:
        """Answer at once; the network delays, not the server."""


@dataclass(eq=False)
class Tab:
    """One tab; `request` counts its requests, so that answers find the one they belong to."""

    access_until: int = 0
    busy: bool = False
    request: int = 0
    tries: int = 0
    refused: int = 0
    key: str | None = None


@dataclass
class Browser:
    """
    Args:
        token: The refresh cookie.
        pending: The key of a refresh whose answer has not come; it survives a crash.
    """

    world: World
    server: Server
    profile: Profile
    discipline: Discipline
    random: Random
    token: str
    pending: str | None = None
    last_key: str | None = None
    access_until: int = 0
    lost_at: int | None = None
    refreshes: int = 0
    tabs: list[Tab] = field(default_factory=list)
    _holder: Tab | None = None
    _waiting: list[Tab] = field(default_factory=list)
    _written: list[tuple[int, str]] = field(default_factory=list)
    _just_started: bool = True

    def open(self, tabs: int) -> None:
        """Wake up with so many tabs, which all look at their access token at once."""
        self.tabs = [Tab() for _ in range(tabs)]
        for tab in self.tabs:
            self._later(self.random.randint(0, 50), tab)

    def close(self) -> None:
        """Sleep: timers stop, connections end; what was on its way is not heard."""
        self.tabs = []
        self._holder, self._waiting = None, []

    def crash(self) -> None:
        """Lose the memory, and the cookies that were not written to the disk yet."""
        self.close()
        flushed = self.world.now - self.world.now % FLUSH
        kept = [token for at, token in self._written if at <= flushed]
        if kept:
            self.token = kept[-1]
        self._written = [(at, token) for at, token in self._written if at <= flushed][-1:]
        self.access_until, self._just_started = 0, True

    def _later(self, delay: int, tab: Tab) -> None:
        self.world.after(delay, lambda: self._ensure(tab))

    def _ensure(self, tab: Tab) -> None:
        """See to it that the tab has an access token."""
        if tab not in self.tabs or tab.busy or self.lost_at is not None:
            return
        until = self.access_until if self.discipline.lock else tab.access_until
        left = until - self.world.now
        if left > MARGIN:
            self._later(left - MARGIN + self.random.randint(0, 5_000), tab)
            return
        if self.discipline.lock:
            if self._holder is not None:
                if tab not in self._waiting:
                    self._waiting.append(tab)
                return
            self._holder = tab
        tab.busy, tab.tries, tab.refused = True, 0, 0
        if self.discipline.key:
            again = self.last_key if self.discipline.keeps_key and self._just_started else None
            self.pending = tab.key = self.pending or again or f"{self.random.getrandbits(64):016x}"
        self._just_started = False
        self._send(tab)

    def _send(self, tab: Tab) -> None:
        """Send the cookie as it is now; ask again when no answer comes."""
        if tab not in self.tabs:
            return
        tab.request += 1
        request, token, key, random = tab.request, self.token, tab.key, self.random
        for _ in range(2 if random.random() < self.profile.twice else 1):
            if random.random() >= self.profile.request_lost:
                way = self.profile.way(random)
                self.world.after(way, lambda: self._arrive(tab, request, token, key))
        pause = PAUSES[min(tab.tries, len(PAUSES) - 1)]
        self.world.after(TIMEOUT + pause, lambda: self._ask_again(tab, request))

    def _arrive(self, tab: Tab, request: int, token: str, key: str | None) -> None:
        """At the server."""
        reply = self.server.refresh(token, key, self.world.now)
        if self.random.random() >= self.profile.answer_lost:
            way = self.profile.way(self.random)
            self.world.after(way, lambda: self._answered(tab, request, reply))

    def _ask_again(self, tab: Tab, request: int) -> None:
        if tab.busy and tab.request == request:
            tab.tries += 1
            self._send(tab)

    def _answered(self, tab: Tab, request: int, reply: Reply | None) -> None:
        """A cookie is set by any answer, also by one that nobody waits for any more."""
        if tab not in self.tabs or self.lost_at is not None:
            return
        if reply is not None and reply.token is not None:
            self.token = reply.token
            self._written = [*self._written[-20:], (self.world.now, reply.token)]
        if not tab.busy or (reply is not None and reply.how == "overtaken"):
            return
        if reply is None:
            # Another tab's cookie may have come meanwhile: once more before giving up.
            if request == tab.request:
                tab.refused += 1
                if tab.refused > 1:
                    self.lost_at = self.world.now
                    self.world.stop()
                else:
                    self._send(tab)
            return
        self.refreshes += 1
        tab.busy = False
        tab.access_until = self.access_until = self.world.now + ACCESS
        if self.pending == tab.key:
            self.pending = None
        self.last_key = tab.key
        if self._holder is tab:
            self._holder = None
            for waiting in self._waiting:
                self._later(0, waiting)
            self._waiting = []
        self._later(0, tab)
