"""A client that runs one operation at a time against the real service, and records each."""

from __future__ import annotations

import asyncio
import json
import time
from base64 import urlsafe_b64decode
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from proof.history import Operation, Outcome, Recorder, token_id
from tests.support.wire import Answer, Connection, post

PATIENCE = 6.0  # seconds; the service promises an answer within 5
GENERATION = slice(24, 32)  # in the payload of a refresh token, after key id and family id


@dataclass
class Account:
    """A user of the service; `password` is a version, so that histories hold no secret."""

    email: str
    id: str = ""
    password: int = 0

    def secret(self, version: int) -> str:
        """The password of that version."""
        return f"battery staple of version {version}"


@dataclass
class Session:
    """What a client holds of one login: its newest tokens."""

    account: Account
    family: str
    delivery: str
    refresh_token: str
    access_token: str
    csrf_token: str | None = None
    pending_key: str | None = None
    """The Idempotency-Key of a refresh whose answer has not come yet."""
    spent: list[str] = field(default_factory=list)
    """Earlier refresh tokens, the oldest first: what a thief may hold."""

    @property
    def by_cookie(self) -> bool:
        return self.delivery != "native"


class Client:
    """
    One process of a history.

    Args:
        name: Unique in the run.
        ports: The replicas (or proxies before them); each operation goes to the next one,
            unless it says where.
    """

    def __init__(self, name: str, recorder: Recorder, ports: Sequence[int]) -> None:
        self.name = name
        self.ports = list(ports)
        self._recorder = recorder
        self._connections: dict[int, Connection] = {}
        self._turn = 0

    async def close(self) -> None:
        """Close all connections."""
        for port in list(self._connections):
            self._drop(port)

    async def register(self, email: str) -> Account:
        """Make a user; not an operation of the history, and it must succeed."""
        account = Account(email)
        answer = await self._ask(
            self._next_port(),
            post("/auth/register", {"email": email, "password": account.secret(0)}),
        )
        assert isinstance(answer, Answer), answer
        assert answer.status == 201, answer
        account.id = answer.body["id"]
        return account

    async def login(
        self,
        account: Account,
        delivery: str = "native",
        *,
        password: int | None = None,
        port: int | None = None,
    ) -> Session | None:
        """Log in; None if it did not succeed (the history says why)."""
        version = account.password if password is None else password
        body: dict[str, object] = {
            "email": account.email,
            "password": account.secret(version),
            "delivery": delivery,
        }
        session: Session | None = None

        def read(answer: Answer) -> dict[str, Any]:
            nonlocal session
            session = _session(account, delivery, answer)
            return {"token": token_id(session.refresh_token), "generation": 0}

        await self._run(
            "login",
            post("/auth/login", body),
            read,
            port=port,
            user=account.id,
            value={"delivery": delivery, "password": version},
            family_of=lambda: session.family if session else None,
        )
        return session

    async def refresh(
        self,
        session: Session,
        *,
        token: str | None = None,
        key: str | None = None,
        port: int | None = None,
    ) -> Operation:
        """
        Present `token` (by default the session's newest); the session keeps what comes back.

        Args:
            key: The Idempotency-Key; None sends none.
        """
        presented = token or session.refresh_token
        headers: dict[str, str] = {"idempotency_key": key} if key else {}
        if session.by_cookie:
            headers["cookie"] = f"authsvc_refresh={presented}"
            if session.csrf_token:
                headers["x_csrf_token"] = session.csrf_token
            request = post("/auth/refresh", None, **headers)
        else:
            body: dict[str, object] = {"refresh_token": presented}
            request = post("/auth/refresh", body, **headers)

        def read(answer: Answer) -> dict[str, Any]:
            how = answer.headers["authsvc-refresh"]
            successor = (
                answer.cookie("authsvc_refresh")
                if session.by_cookie
                else answer.body["refresh_token"]
            ) or presented  # kept: the cookie is not sent again
            if successor != session.refresh_token:
                session.spent.append(session.refresh_token)
                session.refresh_token = successor
            session.access_token = _access_token(answer)
            return {
                "how": how,
                "token": token_id(successor),
                "generation": generation_of(successor),
                **whose(session.access_token),
            }

        return await self._run(
            "refresh",
            request,
            read,
            port=port,
            user=session.account.id,
            family_of=lambda: session.family,
            value={
                "token": token_id(presented),
                "generation": generation_of(presented),
                "delivery": session.delivery,
                "key": token_id(key) if key else None,
            },
        )

    async def logout(
        self, session: Session, scope: str = "session", *, port: int | None = None
    ) -> Operation:
        """End the session, the others, or all; with the access token."""
        return await self._run(
            "logout",
            post("/auth/logout", {"scope": scope}, authorization=f"Bearer {session.access_token}"),
            lambda _: {},
            port=port,
            user=session.account.id,
            family_of=lambda: session.family,
            value={"scope": scope},
        )

    async def revoke_session(
        self, session: Session, target: str, *, port: int | None = None
    ) -> Operation:
        """End the user's session `target`, with the access token of `session`."""
        request = (
            f"DELETE /auth/sessions/{target} HTTP/1.1\r\nhost: localhost\r\n"
            f"authorization: Bearer {session.access_token}\r\n\r\n"
        )
        return await self._run(
            "revoke_session",
            request.encode(),
            lambda _: {},
            port=port,
            user=session.account.id,
            family_of=lambda: session.family,
            value={"target": target},
        )

    async def me(self, session: Session, *, port: int | None = None) -> Operation:
        """Use the access token."""
        request = (
            "GET /auth/me HTTP/1.1\r\nhost: localhost\r\n"
            f"authorization: Bearer {session.access_token}\r\n\r\n"
        )
        return await self._run(
            "me",
            request.encode(),
            lambda answer: {name: answer.body[name] for name in ("id", "session_id")},
            port=port,
            user=session.account.id,
            family_of=lambda: session.family,
        )

    async def change_password(self, session: Session, *, port: int | None = None) -> Operation:
        """To the next version; the other sessions of the user end."""
        account, old = session.account, session.account.password
        body: dict[str, object] = {
            "current_password": account.secret(old),
            "new_password": account.secret(old + 1),
        }

        def read(_: Answer) -> dict[str, Any]:
            account.password = old + 1
            return {}

        return await self._run(
            "password_change",
            post("/auth/password/change", body, authorization=f"Bearer {session.access_token}"),
            read,
            port=port,
            user=account.id,
            family_of=lambda: session.family,
            value={"password": old + 1},
        )

    async def _run(
        self,
        operation: str,
        request: bytes,
        read: Callable[[Answer], dict[str, Any]],
        *,
        port: int | None,
        user: str,
        family_of: Callable[[], str | None],
        value: dict[str, Any] | None = None,
    ) -> Operation:
        invoked = time.monotonic()
        answer = await self._ask(port or self._next_port(), request)
        returned = time.monotonic()
        outcome: Outcome
        result: dict[str, Any]
        if isinstance(answer, str):
            outcome, result = "info", {"cause": answer}
        elif answer.status < 300:
            outcome, result = "ok", read(answer)
        else:
            outcome = "info" if answer.status >= 500 else "err"
            result = {"status": answer.status, "code": answer.body.get("code")}
            if "retry-after" in answer.headers:
                result["retry_after"] = answer.headers["retry-after"]
        return self._recorder.add(
            Operation(
                process=self.name,
                operation=operation,
                outcome=outcome,
                invoked=invoked,
                returned=returned,
                family=family_of(),
                user=user,
                value=value or {},
                result=result,
            )
        )

    async def _ask(self, port: int, request: bytes) -> Answer | str:
        """The answer, or why there is none."""
        try:
            async with asyncio.timeout(PATIENCE):
                connection = self._connections.get(port)
                if connection is None:
                    connection = self._connections[port] = await Connection.open(port)
                return await connection.ask(request)
        except (OSError, EOFError, TimeoutError, ValueError, IndexError) as exc:
            self._drop(port)
            return type(exc).__name__
        except asyncio.CancelledError:
            self._drop(port)
            raise

    def _drop(self, port: int) -> None:
        connection = self._connections.pop(port, None)
        if connection is not None:
            connection.abort()

    def _next_port(self) -> int:
        self._turn += 1
        return self.ports[self._turn % len(self.ports)]


def generation_of(token: str) -> int:
    """The generation that a refresh token carries in the open (CONTRACT §5.2)."""
    text = token.partition(".")[2]
    return int.from_bytes(urlsafe_b64decode(text + "=" * (-len(text) % 4))[GENERATION])


def whose(access_token: str) -> dict[str, str]:
    """The user and the session that an access token tells of, as /auth/me calls them."""
    payload = access_token.split(".")[1]
    claims = json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return {"id": claims["sub"], "session_id": claims["sid"]}


def _session(account: Account, delivery: str, answer: Answer) -> Session:
    refresh_token = (
        answer.body["refresh_token"] if delivery == "native" else answer.cookie("authsvc_refresh")
    )
    assert refresh_token is not None, answer
    return Session(
        account=account,
        family=answer.body["session_id"],
        delivery=delivery,
        refresh_token=refresh_token,
        access_token=_access_token(answer),
        csrf_token=answer.body.get("csrf_token"),
    )


def _access_token(answer: Answer) -> str:
    token = answer.body.get("access_token") or answer.cookie("authsvc_access")
    assert token is not None, answer
    return str(token)
