"""The revocation feed over HTTP: signed, cacheable for a moment, readable by everybody."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import jwt
import pytest
from fastapi import FastAPI

from authsvc.flows import accounts
from authsvc.http.request.service import Service
from authsvc_client.tokens import base64url, revocation_feed
from authsvc_client.tokens.revocation_feed import PATH, Feed, verify_feed
from authsvc_client.tokens.revocations import Kind, digest
from tests.conftest import Statements
from tests.http.conftest import BASE_URL, PASSWORD, MovableClock, log_in, refresh
from tests.http.oauth import REVOKE, ask, basic, register


@pytest.fixture
async def service(app: FastAPI) -> Service:
    """The service, after its first look."""
    service: Service = app.state.service
    await service.revocations.look()
    return service


@pytest.fixture
def next_step(service: Service, clock: MovableClock) -> Callable[[], Any]:
    async def go_on() -> None:
        clock.advance(timedelta(seconds=5))
        await service.revocations.look()

    return go_on


def read(service: Service, answer: httpx.Response, now: MovableClock) -> Feed:
    document = revocation_feed.read(answer.text)
    key = service.keys.ring.public_key(document.kid, now.now())
    assert key is not None
    return verify_feed(document, key, issuer=BASE_URL, now=now.now())


@pytest.mark.requirement("D3", "T9")
@pytest.mark.usefixtures("service")
async def test_it_is_a_jws_of_a_kind_of_its_own(
    client: httpx.AsyncClient, clock: MovableClock
) -> None:
    answer = await client.get(PATH)

    assert (200, "application/rvk+jwt") == (answer.status_code, answer.headers["content-type"])
    assert "public, max-age=1" == answer.headers["cache-control"]
    assert "*" == answer.headers["access-control-allow-origin"]
    header = jwt.get_unverified_header(answer.text)
    assert ("RS256", "rvk+jwt", {"alg", "typ", "kid"}) == (header["alg"], header["typ"], {*header})
    payload = base64url.decode(answer.text.split(".")[1]).decode()
    now = int(clock.now().timestamp())
    assert payload.startswith(f'{{"iss":"{BASE_URL}","iat":{now},"exp":{now + 60},"epoch":"')
    assert payload.endswith(',"seq":0,"entries":[]}')
    refused = await client.get("/auth/me", headers={"authorization": f"Bearer {answer.text}"})
    assert 401 == refused.status_code


@pytest.mark.usefixtures("alice")
@pytest.mark.requirement("D3", "D4", "D5", "R2")
async def test_whatever_ends_a_session_is_in_the_next_document(
    client: httpx.AsyncClient,
    service: Service,
    clock: MovableClock,
    next_step: Callable[[], Any],
) -> None:
    async def session() -> dict[str, Any]:
        client.cookies.clear()
        found: dict[str, Any] = (await log_in(client)).json()
        return found

    def bearer(found: dict[str, Any]) -> dict[str, str]:
        return {"authorization": f"Bearer {found['access_token']}"}

    reused, ended, others, out, changed, kept = [await session() for _ in range(6)]
    await refresh(client, reused["refresh_token"])
    await refresh(client, reused["refresh_token"])  # without the key: reuse
    path = f"/auth/sessions/{ended['session_id']}"
    assert 204 == (await client.delete(path, headers=bearer(kept))).status_code
    await client.post("/auth/logout", json={"refresh_token": out["refresh_token"]})
    body = {"current_password": PASSWORD, "new_password": "another staple of horses"}
    assert (
        204
        == (await client.post("/auth/password/change", json=body, headers=bearer(kept))).status_code
    )
    await next_step()
    feed = read(service, await client.get(PATH), clock)

    gone = (reused, ended, others, out, changed)
    assert {digest(each["session_id"]) for each in gone} == {e.digest for e in feed.entries}
    assert 5 == len(feed.entries)

    scope = {"scope": "all"}
    assert 204 == (await client.post("/auth/logout", json=scope, headers=bearer(kept))).status_code
    await next_step()
    later = read(service, await client.get(PATH, params={"since": feed.seq}), clock)
    assert feed.seq == later.since
    assert digest(kept["session_id"]) in {entry.digest for entry in later.entries}


@pytest.mark.usefixtures("alice")
async def test_a_new_login_in_a_browser_announces_the_session_it_takes_the_place_of(
    client: httpx.AsyncClient,
    service: Service,
    clock: MovableClock,
    next_step: Callable[[], Any],
) -> None:
    first = (await log_in(client, "spa")).json()["session_id"]
    await log_in(client, "spa")
    await next_step()

    (entry,) = read(service, await client.get(PATH), clock).entries

    assert digest(first) == entry.digest


@pytest.mark.requirement("D4", "Q3")
@pytest.mark.usefixtures("alice")
async def test_what_is_revoked_by_rfc_7009_is_in_the_next_document(
    client: httpx.AsyncClient,
    app: FastAPI,
    service: Service,
    clock: MovableClock,
    next_step: Callable[[], Any],
) -> None:
    secret, session = await register(app), (await log_in(client)).json()
    ended = (await ask(client, secret)).json()["access_token"]
    await ask(client, secret)  # another one, which goes on
    user = {"client_id": "authsvc", "token": session["refresh_token"]}
    await client.post(REVOKE, data={"token": ended}, headers=basic("shop", secret))
    await client.post(REVOKE, data=user)
    await next_step()

    entries = read(service, await client.get(PATH), clock).entries

    claims = service.issuer.verify_for_others(ended, now=clock.now())
    assert {(Kind.JTI, digest(claims.jti)), (Kind.SID, digest(session["session_id"]))} == {
        (entry.kind, entry.digest) for entry in entries
    }


@pytest.mark.requirement("T14")
async def test_a_change_of_roles_is_announced_and_the_next_token_has_the_version(
    client: httpx.AsyncClient,
    alice: dict[str, Any],
    service: Service,
    clock: MovableClock,
    next_step: Callable[[], Any],
) -> None:
    session = (await log_in(client)).json()
    user = await accounts.find_account(service.db, alice["email"])
    await accounts.set_account_roles(service.db, user.id, ["editor"])
    await next_step()

    (entry,) = read(service, await client.get(PATH), clock).entries
    renewed = (await refresh(client, session["refresh_token"])).json()

    old = service.issuer.verify(session["access_token"], now=clock.now())
    new = service.issuer.verify(renewed["access_token"], now=clock.now())
    assert (digest(alice["id"]), 2) == (entry.digest, entry.least_ver)
    assert ((1, ()), (2, ("editor",))) == ((old.ver, old.roles), (new.ver, new.roles))


@pytest.mark.usefixtures("service")
async def test_it_costs_no_sql(client: httpx.AsyncClient, statements: Statements) -> None:
    statements.clear()

    assert 200 == (await client.get(PATH)).status_code

    assert [] == list(statements)


async def test_a_copy_of_this_step_is_not_sent_again_and_that_makes_nothing_younger(
    client: httpx.AsyncClient, next_step: Callable[[], Any]
) -> None:
    first = await client.get(PATH)
    condition = {"if-none-match": first.headers["etag"]}

    same = await client.get(PATH, headers=condition)
    head = await client.head(PATH)
    await next_step()
    other = await client.get(PATH, headers=condition)

    assert (304, b"", first.headers["etag"]) == (
        same.status_code,
        same.content,
        same.headers["etag"],
    )
    assert (200, b"", str(len(first.content))) == (
        head.status_code,
        head.content,
        head.headers["content-length"],
    )
    assert 200 == other.status_code


@pytest.mark.requirement("B2")
@pytest.mark.parametrize(
    "query", ["since=", "since=x", "since=-1", "since=1&since=2", "since=1e3", "since=%00",
              "since=٣", f"since={'9' * 20}"],
)  # fmt: skip
@pytest.mark.usefixtures("service")
async def test_a_number_that_is_none_is_refused(client: httpx.AsyncClient, query: str) -> None:
    answer = await client.get(f"{PATH}?{query}")

    assert (400, "bad_request") == (answer.status_code, answer.json()["code"])


@pytest.mark.requirement("Z2")
@pytest.mark.settings(database_url="postgresql://nobody@127.0.0.1:1/nowhere")
async def test_without_the_database_nothing_is_claimed(client: httpx.AsyncClient) -> None:
    answer = await client.get(PATH)

    assert (503, "database_unavailable") == (answer.status_code, answer.json()["code"])
    assert int(answer.headers["retry-after"]) >= 1
