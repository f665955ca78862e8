"""Two real processes, a verifier that follows them, and a client that never notices."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from authsvc.flows import accounts
from authsvc.flows.revoke_key import announce_key
from authsvc.keys import retirement
from authsvc.store.database import Database
from authsvc_client.session import MemoryStore, NativeSession, SessionAuth
from authsvc_client.tokens.revocation_feed import PATH
from authsvc_client.verifier import (
    InvalidToken,
    RevocationFeed,
    RevocationsUnavailable,
    RevokedToken,
    StaleClaims,
    TokenVerifier,
)
from authsvc_client.verifier.fastapi import CurrentUser, protect
from tests.support.live import EMAIL, PASSWORD, log_in, serving
from tests.support.waiting import HANGS, eventually_true

ISSUER = "http://localhost:1"  # of both, so that either's tokens are the other's


@dataclass
class Live:
    """Two replicas and who trusts them."""

    replicas: tuple[httpx.AsyncClient, httpx.AsyncClient]
    verifier: TokenVerifier
    feed: RevocationFeed
    keys: Path

    async def log_in(self) -> dict[str, str]:
        found: dict[str, str] = (await log_in(str(self.replicas[0].base_url))).json()
        return found

    async def until(self, reached: Callable[[], Awaitable[bool]]) -> None:
        """Fetch the feed again and again."""
        async with asyncio.timeout(HANGS):
            while not await reached():
                await asyncio.to_thread(self.feed.fetch)
                await asyncio.sleep(0.1)

    async def raises(self, refusal: type[Exception], token: str) -> bool:
        try:
            await self.verifier.verify(token)
        except refusal:
            return True
        return False


@pytest.fixture
async def live(database_url: str, tmp_path: Path) -> AsyncIterator[Live]:
    async with serving(database_url, tmp_path, ISSUER=ISSUER) as ports:
        origins = [f"http://localhost:{port}" for port in ports]
        feed = RevocationFeed(
            interval=timedelta(hours=1), max_age=timedelta(seconds=20), uri=origins[1] + PATH
        )
        verifier = TokenVerifier(
            issuer=ISSUER,
            audience="authsvc",
            jwks_uri=f"{origins[1]}/.well-known/jwks.json",
            revocations=feed,
        )
        async with (
            httpx.AsyncClient(base_url=origins[0]) as first,
            httpx.AsyncClient(base_url=origins[1]) as second,
        ):
            yield Live((first, second), verifier, feed, tmp_path / "keys")
        feed.close()


@pytest.mark.requirement("D3", "D4", "T14", "K3")
async def test_what_one_replica_revokes_is_refused_by_who_follows_the_other(
    live: Live, db: Database
) -> None:
    """One authsvc for all of it, since it takes seconds to start."""
    await _the_same_bytes(live)
    await _a_logout(live)
    await _a_change_of_roles(live, db)
    await _a_restore(live, db)
    await _a_revoked_key(live, db)


async def _the_same_bytes(live: Live) -> None:
    async def equal() -> bool:
        documents = [(await replica.get(PATH)).content for replica in live.replicas]
        return documents[0] == documents[1]

    await eventually_true(equal)


async def _a_logout(live: Live) -> None:
    session = await live.log_in()
    token = session["access_token"]
    await live.verifier.verify(token)

    body = {"refresh_token": session["refresh_token"]}
    assert 204 == (await live.replicas[0].post("/auth/logout", json=body)).status_code

    await live.until(lambda: live.raises(RevokedToken, token))


async def _a_change_of_roles(live: Live, db: Database) -> None:
    """A program with our httpx.Auth: 401 stale_claims, a refresh, and the answer."""
    app = FastAPI()
    protect(app, live.verifier)

    @app.get("/roles")
    async def roles(user: CurrentUser) -> list[str]:
        return list(user.roles)

    session = NativeSession(str(live.replicas[0].base_url).rstrip("/"), MemoryStore())
    await asyncio.to_thread(session.login, EMAIL, PASSWORD)
    token = session.held_token()
    assert token is not None
    user = await accounts.find_account(db, EMAIL)
    await accounts.set_account_roles(db, user.id, ["editor"])
    await live.until(lambda: live.raises(StaleClaims, token))

    origin = "http://localhost:9"
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=app),
        base_url=origin,
        auth=SessionAuth(session, origins=[origin]),
    ) as program:
        plain = await program.get("/roles", auth=lambda r: _with(r, token))
        answer = await program.get("/roles")

    assert 401 == plain.status_code
    assert "stale_claims" in plain.headers["www-authenticate"]
    assert plain.json()["detail"].startswith("stale_claims")
    assert (200, ["editor"]) == (answer.status_code, answer.json())
    assert token != session.held_token()


async def _a_restore(live: Live, db: Database) -> None:
    """Another epoch: what was known stays revoked, and following goes on."""
    gone = await live.log_in()
    body = {"refresh_token": gone["refresh_token"]}
    await live.replicas[0].post("/auth/logout", json=body)
    await live.until(lambda: live.raises(RevokedToken, gone["access_token"]))

    async with db.autocommit() as connection:
        await connection.fetchrow("TRUNCATE revocations RESTART IDENTITY")
    other = await live.log_in()
    await live.replicas[0].post("/auth/logout", json={"refresh_token": other["refresh_token"]})

    await live.until(lambda: live.raises(RevokedToken, other["access_token"]))
    assert await live.raises(RevokedToken, gone["access_token"])
    assert live.feed.status().failure is None


async def _a_revoked_key(live: Live, db: Database) -> None:
    session = await live.log_in()
    me = {"authorization": f"Bearer {session['access_token']}"}
    await live.verifier.verify(session["access_token"])
    kid = (await live.replicas[0].get("/.well-known/jwks.json")).json()["keys"][0]["kid"]
    announced: list[str] = []
    await asyncio.to_thread(
        retirement.revoke,
        live.keys,
        kid,
        now=datetime.now(UTC),
        refresh_absolute_ttl=timedelta(days=30),
        announce=announced.append,
    )
    assert [kid] == announced
    await announce_key(db, kid)

    for replica in live.replicas:

        async def refuses(replica: httpx.AsyncClient = replica) -> bool:
            return (await replica.get("/auth/me", headers=me)).status_code == 401

        await eventually_true(refuses)

    # By its entry, or by the JWKS that was fetched for the key of the document with the entry.
    await live.until(lambda: live.raises(InvalidToken, session["access_token"]))
    renewed = await live.replicas[1].post(
        "/auth/refresh", json={"refresh_token": session["refresh_token"]}
    )
    await live.verifier.verify(renewed.json()["access_token"])
    assert live.feed.status().failure is None


def _with(request: httpx.Request, token: str) -> httpx.Request:
    request.headers["Authorization"] = f"Bearer {token}"
    return request


@pytest.mark.requirement("D3", "Z2")
async def test_when_authsvc_is_gone_nobody_is_let_in_on_old_knowledge(live: Live) -> None:
    """`max_age` is 20 s; the verifier's own clock says so, and nothing has to be waited for."""
    token = (await live.log_in())["access_token"]
    await live.verifier.verify(token)

    lent = live.feed._lent
    assert lent is not None
    later = time.monotonic() + 21

    class Later:
        def now(self) -> datetime:
            return datetime.now(UTC)

        def monotonic(self) -> float:
            return later

    object.__setattr__(lent, "clock", Later())

    with pytest.raises(RevocationsUnavailable):
        await live.verifier.verify(token)
