"""The operations under which the service is killed, and what their client may demand."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from random import Random
from typing import Any

import asyncpg

from proof.client import Account, Client, Session
from proof.experiment import Findings
from proof.history import Operation
from proof.zygote import Service, Zygote

DEADLINE = 5.0  # seconds: for every answer, and for the recovery
# Tabs and restarts fit into it, so that cookies are tested by what decides, not by haste.
SETTINGS = {"REFRESH_RETRY_WINDOW": "60"}
BUSY = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle'
"""


@dataclass
class World:
    """One deployment whose service is killed again and again."""

    zygote: Zygote
    url: str
    client: Client
    database: asyncpg.Connection
    findings: Findings
    random: Random
    service: Service
    account: Account = field(default_factory=lambda: Account("kill@example.com"))
    killed_at: float = 0.0
    where: str = ""

    async def start(self) -> None:
        """A new process on the same port."""
        await self.client.close()
        self.killed_at = time.monotonic()
        self.service = self.zygote.spawn(self.service.port, self.url, SETTINGS)
        await self.service.ready()

    async def warm(self) -> None:
        """Make connections, prepare statements, start threads."""
        for _ in range(2):
            session = await self.client.login(self.account)
            assert session is not None
            await self.client.refresh(session, key=self.key())
            await self.client.logout(session)

    def key(self) -> str:
        """A new Idempotency-Key."""
        return f"{self.random.getrandbits(128):032x}"

    def demand(self, holds: bool, sentence: str) -> None:  # noqa: FBT001 - as assert
        """Note a violation unless it holds."""
        if not holds:
            self.findings.violations.append(f"{self.where}: {sentence}")

    def served(self, operation: Operation) -> bool:
        """Demand that the service recovered with this answer."""
        self.demand(operation.outcome == "ok", f"{operation.operation}: {operation.result}")
        took = operation.returned - self.killed_at
        self.findings.at_most("recovery_seconds", took)
        self.demand(took <= DEADLINE, f"recovered after {took:.1f} s")
        return operation.outcome == "ok"


class Attempt:
    """One operation that is going to be killed, and what must hold afterwards."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def prepare(self) -> None:
        """What comes before it."""
        session = await self.world.client.login(self.world.account, self.delivery)
        assert session is not None
        self.session: Session = session

    delivery = "native"

    async def act(self) -> None:
        """Send the request; the process dies meanwhile."""
        raise NotImplementedError

    async def check(self) -> None:
        """Repeat it, and look at what the database holds."""
        raise NotImplementedError


class RefreshKilled(Attempt):
    """The same request again gives the same successor; nobody is logged out (I1, I7-I9)."""

    keyed = True

    async def act(self) -> None:
        """Refresh."""
        self.key = self.world.key() if self.keyed else None
        self.presented = self.session.refresh_token
        self.first = await self.world.client.refresh(self.session, key=self.key)

    async def check(self) -> None:
        """Repeat, then go on with the successor."""
        world, session = self.world, self.session
        world.demand(self.first.outcome != "err", f"refused: {self.first.result}")
        repeated = await world.client.refresh(session, token=self.presented, key=self.key)
        if not world.served(repeated):
            return
        if self.first.outcome == "ok":
            same = self.first.result["token"] == repeated.result["token"]
            world.demand(same, "two successors of one token")
        world.demand(repeated.result["generation"] == 1, "not the next generation")
        committed = repeated.result["how"] == "replayed"
        world.findings.counted["killed after the commit" if committed else "before"] += 1
        # The window is over, so that a cookie rotates again.
        await world.database.execute(
            "UPDATE refresh_families SET rotated_at = rotated_at - interval '1 hour' WHERE id = $1",
            session.family,
        )
        onward = await world.client.refresh(session, key=world.key())
        world.demand(onward.outcome == "ok", f"logged out: {onward.result}")
        row = await _family(world, session)
        world.demand(row["generation"] == 2, f"generation {row['generation']}, not 2")


class CookieRefreshKilled(RefreshKilled):
    """In a browser's cookie, with a key."""

    delivery = "spa"


class KeylessCookieRefreshKilled(CookieRefreshKilled):
    """Without a key the window has to do."""

    keyed = False


class LoginKilled(Attempt):
    """It is made whole or not at all, and the next one works."""

    async def prepare(self) -> None:
        """Nothing."""

    async def act(self) -> None:
        """Log in."""
        self.made = await self.world.client.login(self.world.account)

    async def check(self) -> None:
        """Log in again; a session that was handed out works."""
        world = self.world
        again = await world.client.login(world.account)
        took = time.monotonic() - world.killed_at
        world.findings.at_most("recovery_seconds", took)
        world.demand(again is not None and took <= DEADLINE, f"no new login in {took:.1f} s")
        for session in (self.made, again):
            if session is not None:
                used = await world.client.refresh(session, key=world.key())
                world.demand(used.outcome == "ok", f"a session that does not work: {used.result}")


class LogoutKilled(Attempt):
    """An acknowledged one stays; repeating it is 204 and ends the session (I5, I6)."""

    async def act(self) -> None:
        """Log out."""
        self.first = await self.world.client.logout(self.session)

    async def check(self) -> None:
        """Repeat it; nothing of the session works."""
        world, session = self.world, self.session
        world.demand(self.first.outcome != "err", f"refused: {self.first.result}")
        row = await _family(world, session)
        committed = row["revoked_at"] is not None
        world.findings.counted["killed after the commit" if committed else "before"] += 1
        world.demand(committed or self.first.outcome != "ok", "an acknowledged logout is lost")
        if not world.served(await world.client.logout(session)):
            return
        used = await world.client.refresh(session, key=world.key())
        world.demand(used.outcome == "err", "a refresh after the logout")
        shown = await world.client.me(session)
        world.demand(shown.outcome == "err", "an access token after the logout")


ATTEMPTS: dict[str, type[Attempt]] = {
    "refresh (native)": RefreshKilled,
    "refresh (cookie)": CookieRefreshKilled,
    "refresh (cookie, no key)": KeylessCookieRefreshKilled,
    "login": LoginKilled,
    "logout": LogoutKilled,
}


async def quiet(database: asyncpg.Connection) -> None:
    """Wait until the statements of the dead process have ended."""
    async with asyncio.timeout(DEADLINE):
        while await database.fetchval(BUSY):  # noqa: ASYNC110
            await asyncio.sleep(0)


async def _family(world: World, session: Session) -> Any:
    await quiet(world.database)
    return await world.database.fetchrow(
        "SELECT generation, revoked_at FROM refresh_families WHERE id = $1", session.family
    )
