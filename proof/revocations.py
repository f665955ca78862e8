"""What ends sessions, each way there is; and what it does to a login in the same moment."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from authsvc.flows.accounts import disable_account, enable_account
from authsvc.flows.administer_sessions import revoke_user_sessions
from authsvc.store.database import Database
from proof.client import Account, Client, Session
from proof.history import Operation, Recorder

OVERTAKEN, TRIES = 503, 3


@dataclass
class Actor:
    """
    Who revokes.

    Args:
        victim: The session that is refreshed in the same moment.
        other: Another session of the same user.
        overtaken: How often a reused token was answered with 503, because the family moved
            between its arrival and its judgement (decision 0011).
    """

    client: Client
    administrator: Administrator
    victim: Session
    other: Session
    overtaken: int = 0


@dataclass(frozen=True, slots=True)
class Administrator:
    """Runs what the command line runs, in a process that is not the service's."""

    database: Database
    recorder: Recorder
    name: str

    async def run(
        self, operation: str, account: Account, act: Callable[[], Awaitable[object]]
    ) -> Operation:
        """Record an act on an account; it must succeed."""
        invoked = time.monotonic()
        await act()
        return self.recorder.add(
            Operation(
                process=self.name,
                operation=operation,
                outcome="ok",
                invoked=invoked,
                returned=time.monotonic(),
                user=account.id,
                value={"scope": "all"} if operation == "logout" else {},
            )
        )

    async def disable(self, account: Account) -> Operation:
        """End all sessions and let none begin."""
        return await self.run(
            "disable", account, lambda: disable_account(self.database, UUID(account.id))
        )

    async def enable(self, account: Account) -> Operation:
        """Let logins succeed again."""
        return await self.run(
            "enable", account, lambda: enable_account(self.database, UUID(account.id))
        )

    async def revoke_all(self, account: Account) -> Operation:
        """End all sessions."""
        return await self.run(
            "logout", account, lambda: revoke_user_sessions(self.database, UUID(account.id))
        )


async def _logout(actor: Actor) -> Operation:
    return await actor.client.logout(actor.victim, "session")


async def _logout_others(actor: Actor) -> Operation:
    return await actor.client.logout(actor.other, "others")


async def _logout_all(actor: Actor) -> Operation:
    return await actor.client.logout(actor.victim, "all")


async def _disable(actor: Actor) -> Operation:
    return await actor.administrator.disable(actor.victim.account)


async def _change_password(actor: Actor) -> Operation:
    return await actor.client.change_password(actor.other)


async def _end_session(actor: Actor) -> Operation:
    return await actor.client.revoke_session(actor.other, actor.victim.family)


async def _revoke_all(actor: Actor) -> Operation:
    return await actor.administrator.revoke_all(actor.victim.account)


async def _reuse(actor: Actor) -> Operation:
    stolen = Session(
        account=actor.victim.account,
        family=actor.victim.family,
        delivery=actor.victim.delivery,
        refresh_token=actor.victim.spent[0],
        access_token="",
        csrf_token=actor.victim.csrf_token,
    )
    answer = await actor.client.refresh(stolen)
    while answer.result.get("status") == OVERTAKEN and actor.overtaken < TRIES:
        # Nothing was decided, and the repetition must be.
        actor.overtaken += 1
        answer = await actor.client.refresh(stolen)
    return answer


@dataclass(frozen=True, slots=True)
class Revocation:
    """
    One way to end sessions.

    Args:
        act: Does it.
        login: What becomes of a login with the old password in the same moment. `untouched`: its
            session lives. `either`: it lives if the login comes after the revocation, which is
            allowed, and is dead if it comes before. `never`: refused or dead.
        spares_other: Whether the session that acts lives on.
        refused: Whether the answer that ends the session is a refusal (reuse).
    """

    name: str
    act: Callable[[Actor], Awaitable[Operation]]
    login: Literal["untouched", "either", "never"]
    spares_other: bool
    refused: bool = False


REVOCATIONS = (
    Revocation("logout-session", _logout, "untouched", spares_other=True),
    Revocation("logout-others", _logout_others, "either", spares_other=True),
    Revocation("logout-all", _logout_all, "either", spares_other=False),
    Revocation("disable", _disable, "never", spares_other=False),
    Revocation("password-change", _change_password, "never", spares_other=True),
    Revocation("end-session", _end_session, "untouched", spares_other=True),
    Revocation("revoke-user-sessions", _revoke_all, "either", spares_other=False),
    Revocation("reuse", _reuse, "untouched", spares_other=True, refused=True),
)
