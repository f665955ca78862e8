"""Clients that hang up in the middle of everything, and others that share a service with them."""

from __future__ import annotations

import asyncio
import socket
import statistics
import struct
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random

from proof.client import Account, Client, Session, generation_of, whose
from proof.experiment import Findings
from proof.history import Operation, Recorder
from tests.support.wire import post

ABORTERS = 24  # far more than the service has connections to the database
BYSTANDERS = 4
MAX_DELAY = 0.060  # seconds until a client hangs up
STEP = 0.0002  # seconds; the sweep hangs up a step later each time
SWEEPING = 0.5  # the share of aborts in the sweep; the others come at any time
TRIES = 20
LOGINS = 3  # when more is to be hashed than there is time for, a 503 is a good answer


class Refused(Exception):  # noqa: N818 - what the service did, not what went wrong here
    """An honest client was refused, which is recorded; its session is over."""


@dataclass
class Storm:
    """All clients of one service, and what they must find again."""

    recorder: Recorder
    findings: Findings
    random: Random
    port: int
    _clients: list[Client] = field(default_factory=list)
    _idle: deque[tuple[Client, Session]] = field(default_factory=deque)
    _over: asyncio.Event = field(default_factory=asyncio.Event)
    alive: list[tuple[Client, Session]] = field(default_factory=list)
    ended: list[tuple[Client, Session]] = field(default_factory=list)
    _service_time: float = 0.0
    _swept: int = 0

    async def rage(self, units: int) -> None:
        """Until so many requests were aborted."""
        await self._measure()
        bystanders = [asyncio.create_task(self._stand_by(n)) for n in range(BYSTANDERS)]
        try:
            await asyncio.gather(*(self._abort_until(units) for _ in range(ABORTERS)))
        finally:
            self._over.set()
            await asyncio.gather(*bystanders)
        self.alive += self._idle

    async def leave(self) -> None:
        """Close every connection."""
        for client in self._clients:
            await client.close()

    async def _enter(self, name: str) -> tuple[Client, Session]:
        client = Client(f"f08-{name}-{self.key()[:8]}", self.recorder, [self.port])
        self._clients.append(client)
        account = await client.register(f"{client.name}@example.com")
        return client, await self._logged_in(client, account)

    async def _logged_in(self, client: Client, account: Account) -> Session:
        for _ in range(LOGINS):
            if (session := await client.login(account)) is not None:
                break
        if session is None:
            self.findings.violations.append("an honest login was refused")
            raise Refused
        self._check_own(session)
        return session

    async def _measure(self) -> None:
        """The sweep covers twice the time that a refresh takes."""
        client, session = await self._enter("measure")
        times = []
        for _ in range(TRIES):
            answer = await client.refresh(session, key=self.key())
            times.append(answer.returned - answer.invoked)
        self._service_time = statistics.median(times)
        self.alive.append((client, session))

    async def _stand_by(self, number: int) -> None:
        """An ordinary client: everything it gets is its own."""
        with suppress(Refused):
            client, session = await self._enter(f"bystander-{number}")
            self.alive.append((client, session))
            while not self._over.is_set():
                self._demand(await client.refresh(session, key=self.key()), session)
                self._demand(await client.me(session), session)
                self.findings.counted["answers to bystanders"] += 2

    async def _abort_until(self, units: int) -> None:
        """Abort something, then do the same in earnest."""
        acts = {
            self._refresh: 45,
            self._me: 10,
            self._login: 15,
            self._change_password: 15,
            self._logout: 15,
        }
        while self.findings.done < units:
            with suppress(Refused):
                client, session = (
                    self._idle.popleft() if self._idle else await self._enter("aborter")
                )
                (act,) = self.random.choices(list(acts), weights=list(acts.values()))
                session = await act(client, session)
                self._idle.append((client, session))

    async def _refresh(self, client: Client, session: Session) -> Session:
        key, presented = self.key(), session.refresh_token
        request = post("/auth/refresh", {"refresh_token": presented}, idempotency_key=key)
        for _ in range(self.random.randint(1, 3)):
            await self._abort(client, "refresh", request, session)
        self._demand(await client.refresh(session, key=key), session)
        if generation_of(session.refresh_token) != generation_of(presented) + 1:
            self.findings.violations.append("I8: an abort changed the successor")
        return session

    async def _me(self, client: Client, session: Session) -> Session:
        head = "GET /auth/me HTTP/1.1\r\nhost: localhost\r\n"
        request = f"{head}authorization: Bearer {session.access_token}\r\n\r\n".encode()
        await self._abort(client, "me", request, session)
        self._demand(await client.me(session), session)
        return session

    async def _login(self, client: Client, session: Session) -> Session:
        account = session.account
        body: dict[str, object] = {
            "email": account.email,
            "password": account.secret(account.password),
            "delivery": "native",
        }
        await self._abort(client, "login", post("/auth/login", body), session)
        return session

    async def _change_password(self, client: Client, session: Session) -> Session:
        """An ORM transaction; whether the aborted one took effect, the second one finds out."""
        account, version = session.account, session.account.password
        body: dict[str, object] = {
            "current_password": account.secret(version),
            "new_password": account.secret(version + 1),
        }
        bearer = f"Bearer {session.access_token}"
        request = post("/auth/password/change", body, authorization=bearer)
        await self._abort(client, "password_change", request, session)
        answer = await client.change_password(session)
        if answer.outcome == "err" and answer.result["code"] != "current_password_wrong":
            self.findings.violations.append(f"I9: {answer.result}")
        account.password = version + 1
        await self._logged_in(client, account)
        return session

    async def _logout(self, client: Client, session: Session) -> Session:
        """
        Of this session or of all; then go on as somebody else.

        An aborted logout of all may take effect at any later moment, on any later session.
        """
        other = await self._logged_in(client, session.account)
        scope = self.random.choice(("session", "all"))
        bearer = f"Bearer {session.access_token}"
        request = post("/auth/logout", {"scope": scope}, authorization=bearer)
        await self._abort(client, "logout", request, session)
        answer = await client.logout(session, scope)
        if answer.outcome != "ok":
            self.findings.violations.append(f"a logout was answered {answer.result}")
        ended = [session, other] if scope == "all" else [session]
        for gone in ended:
            if (await client.me(gone)).outcome != "err":
                self.findings.violations.append(f"I6: a session lives after logout ({scope})")
        self.ended += [(client, gone) for gone in ended[: self.random.randint(0, 2)]]
        if scope == "session":
            return other
        account = await client.register(f"{self.key()}@example.com")
        return await self._logged_in(client, account)

    async def _abort(self, client: Client, operation: str, request: bytes, of: Session) -> None:
        """Send, wait a moment, reset the connection: with RST, not with a polite end."""
        invoked = time.monotonic()
        loop = asyncio.get_running_loop()
        with socket.socket() as connection:
            connection.setblocking(False)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            await loop.sock_connect(connection, ("127.0.0.1", self.port))
            await loop.sock_sendall(connection, request)
            if self.random.random() < SWEEPING:
                self._swept += 1
                moment = self._swept * STEP % (2 * self._service_time)
                until = time.monotonic() + moment
                # A timer would be no finer than a millisecond.
                while time.monotonic() < until:  # noqa: ASYNC110 - no event tells the time
                    await asyncio.sleep(0)
            else:
                await asyncio.sleep(self.random.uniform(0, MAX_DELAY))
        self.findings.done += 1
        self.findings.counted[f"aborted {operation}"] += 1
        self.recorder.add(
            Operation(
                process=f"{client.name}-aborted-{self.findings.done}",
                operation=operation,
                outcome="info",
                invoked=invoked,
                returned=time.monotonic(),
                family=None if operation == "login" else of.family,
                user=of.account.id,
                result={"cause": "aborted"},
            )
        )

    def _demand(self, answer: Operation, session: Session) -> None:
        if not self.judge(answer, session):
            raise Refused

    def judge(self, answer: Operation, session: Session) -> bool:
        """An honest answer: given, in time, and the caller's own (I17)."""
        self.findings.at_most("honest answer, seconds", answer.returned - answer.invoked)
        if answer.outcome != "ok":
            self.findings.violations.append(f"I7: {answer.operation}: {answer.result}")
            return False
        self._check_own(session)
        if answer.operation == "me" and answer.result != {
            "id": session.account.id,
            "session_id": session.family,
        }:
            self.findings.violations.append("I17: /auth/me showed somebody else")
        return True

    def _check_own(self, session: Session) -> None:
        self.findings.counted["tokens read"] += 1
        own = {"id": session.account.id, "session_id": session.family}
        if whose(session.access_token) != own:
            self.findings.violations.append("I17: a token of somebody else")

    def key(self) -> str:
        return f"{self.random.getrandbits(128):032x}"
