"""
What a server does with a refresh token that comes: our rules and those of its peers.

Each object is one session in virtual time. The peers' rules are those that their documentation
or source states (SECURITY §3.6), reduced to what decides about a session.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

SECOND = 1000  # virtual time is in whole milliseconds
KNOWN_KEYS = 16


@dataclass(frozen=True, slots=True)
class Reply:
    """
    A 200, or the 503 that asks for patience.

    Args:
        how: rotated, replayed or kept; overtaken: nothing was decided, ask again.
        token: The refresh token that comes with it; None: it stays as it is.
    """

    how: str
    token: str | None


class Rule(Protocol):
    """One session of a server."""

    def login(self, now: int) -> str:
        """Begin it; returns its first refresh token."""

    def refresh(self, token: str, key: str | None, now: int) -> Reply | None:
        """Present a token; None is a 401."""


class Linear:
    """A session whose tokens are numbered; subclasses decide what an old one means."""

    def __init__(self) -> None:
        self.generation = 0
        self.rotated_at = 0
        self.keys: list[str | None] = []  # that the generations were spent with, the newest first
        self.dead = False

    def login(self, now: int) -> str:
        """Generation 0."""
        self.rotated_at = now
        return "0"

    def refresh(self, token: str, key: str | None, now: int) -> Reply | None:
        """Rotate the newest; ask the rule about any other; what it does not excuse is theft."""
        if self.dead:
            return None
        behind = self.generation - int(token)
        if behind == 0:
            if self.keeps(now):
                return Reply("kept", None)
            self.generation, self.rotated_at = self.generation + 1, now
            self.keys.insert(0, key)
            return Reply("rotated", str(self.generation))
        if self.excuses(behind, key, now):
            return Reply("replayed", str(self.generation))
        if self.was_overtaken(behind, key, now):
            return Reply("overtaken", None)
        self.dead = True
        return None

    def keeps(self, now: int) -> bool:
        """Whether the newest token stays the newest."""
        del now
        return False

    def excuses(self, behind: int, key: str | None, now: int) -> bool:
        """Whether a token so many generations behind may come again."""
        del behind, key, now
        return False

    def was_overtaken(self, behind: int, key: str | None, now: int) -> bool:
        """Whether it is but a late copy of a request that was answered."""
        del behind, key, now
        return False


class Ours(Linear):
    """CONTRACT §5.3, read once more: the parent within the window, or under its own key."""

    window = 10 * SECOND

    def keeps(self, now: int) -> bool:
        """At most one rotation per window."""
        return self.generation > 0 and now - self.rotated_at < self.window

    def excuses(self, behind: int, key: str | None, now: int) -> bool:
        """One behind, in the window or with the key of the rotation."""
        if behind != 1:
            return False
        return (key is not None and key == self.keys[0]) or now - self.rotated_at < self.window

    def was_overtaken(self, behind: int, key: str | None, now: int) -> bool:
        """2 to 16 behind, with the key of that rotation, within a minute of the last one."""
        if key is None or not 1 < behind <= KNOWN_KEYS:
            return False
        return key == self.keys[behind - 1] and now - self.rotated_at < 60 * SECOND


class OursForPrograms(Ours):
    """`native` delivery: a body token has no window, so the key alone excuses."""

    window = 0


class Strict(Linear):
    """Any second use ends the session: Keycloak, node-oidc-provider."""


class Leeway(Linear):
    """The same successor for 30 s after the rotation: Okta and Auth0 offer this."""

    def excuses(self, behind: int, key: str | None, now: int) -> bool:
        """One behind, for 30 s."""
        del key
        return behind == 1 and now - self.rotated_at < 30 * SECOND


class ParentAlways(Linear):
    """The parent of the newest token gets it, however late; others for 10 s: GoTrue v2."""

    def excuses(self, behind: int, key: str | None, now: int) -> bool:
        """One behind at any time."""
        del key
        return behind == 1 or now - self.rotated_at < 10 * SECOND


class Fork:
    """Each use within 30 s of the first makes another successor: Hydra's grace period."""

    def __init__(self) -> None:
        self.used_at: dict[str, int] = {}
        self.minted = 0
        self.dead = False

    def login(self, now: int) -> str:
        """The root of the tree."""
        del now
        return "0"

    def refresh(self, token: str, key: str | None, now: int) -> Reply | None:
        """Any token of the tree may be used, once and 30 s longer."""
        del key
        if self.dead or now - self.used_at.setdefault(token, now) >= 30 * SECOND:
            self.dead = True
            return None
        self.minted += 1
        return Reply("rotated", str(self.minted))


RULES: dict[str, Callable[[], Rule]] = {
    "authsvc, cookies": Ours,
    "authsvc, programs": OursForPrograms,
    "strict": Strict,
    "30 s leeway": Leeway,
    "parent always": ParentAlways,
    "fork in grace": Fork,
}
OURS = ("authsvc, cookies", "authsvc, programs")
