"""`httpx.Auth`: the token goes where it should, is renewed when it must, and nowhere else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import flask
import httpx
import pytest

from authsvc_client.session import NativeSession, NotLoggedIn, SessionAuth
from authsvc_client.verifier import TokenVerifier
from authsvc_client.verifier.asgi import AccessTokenMiddleware, Receive, Scope, Send, claims_of
from authsvc_client.verifier.flask import AccessTokens
from tests.client_auth.conftest import Authsvc, NewSession

API = "https://api.example.com"


class Api:
    """A resource service, in this process; `refused` makes it answer 401 whatever comes."""

    def __init__(self, verifier: TokenVerifier) -> None:
        self.refused = 0
        self.seen: list[str] = []
        self._guarded = AccessTokenMiddleware(self._application, verifier=verifier)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        self.seen.append(headers.get(b"authorization", b"").decode())
        if scope["path"] == "/elsewhere":
            location = (b"location", b"https://attacker.test/")
            await send({"type": "http.response.start", "status": 307, "headers": [location]})
            await send({"type": "http.response.body"})
        elif headers[b"host"] != b"api.example.com" or self.refused:
            self.refused -= bool(self.refused)
            await send({"type": "http.response.start", "status": 401, "headers": []})
            await send({"type": "http.response.body"})
        else:
            await self._guarded(scope, receive, send)

    async def _application(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = (await receive())["body"]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": claims_of(scope).sub.encode() + body})


@pytest.fixture
def api(authsvc: Authsvc) -> Api:
    return Api(TokenVerifier(issuer=authsvc.origin, audience="authsvc", clock=authsvc.clock))


@pytest.fixture
async def client(api: Api, session: NativeSession) -> AsyncIterator[httpx.AsyncClient]:
    auth = SessionAuth(session, origins=[API])
    transport = httpx.ASGITransport(app=api)
    async with httpx.AsyncClient(transport=transport, auth=auth, follow_redirects=True) as opened:
        yield opened


async def test_requests_go_through_as_the_user(client: httpx.AsyncClient, authsvc: Authsvc) -> None:
    first = await client.get(f"{API}/")
    authsvc.clock.advance(hours=2)
    second = await client.post(f"{API}/", json={})

    assert [200, 200] == [first.status_code, second.status_code]
    assert second.text == first.text + "{}"
    assert ["rotated"] == authsvc.gateway.answers


async def test_many_requests_at_once_refresh_once(
    client: httpx.AsyncClient, authsvc: Authsvc
) -> None:
    authsvc.clock.advance(hours=2)

    answers = await asyncio.gather(*(client.get(f"{API}/{n}") for n in range(30)))

    assert {200} == {answer.status_code for answer in answers}
    assert ["rotated"] == authsvc.gateway.answers


async def test_a_401_is_answered_once_with_a_renewed_token(
    client: httpx.AsyncClient, api: Api, authsvc: Authsvc
) -> None:
    """A key that was revoked, say: the token has not expired, and does not work."""
    api.refused = 1

    answer = await client.post(f"{API}/", content=b"body")

    assert (200, True) == (answer.status_code, answer.text.endswith("body"))
    assert 2 == len(set(api.seen))
    assert ["rotated"] == authsvc.gateway.answers


async def test_a_service_that_refuses_everything_causes_no_storm(
    client: httpx.AsyncClient, api: Api, authsvc: Authsvc
) -> None:
    api.refused = 100

    for _ in range(10):
        assert 401 == (await client.get(f"{API}/")).status_code
    assert 1 == len(authsvc.gateway.answers)

    authsvc.clock.advance(seconds=61)
    await client.get(f"{API}/")
    assert 2 == len(authsvc.gateway.answers)


async def test_a_stream_is_not_sent_twice(
    client: httpx.AsyncClient, api: Api, authsvc: Authsvc
) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"once"

    api.refused = 1

    answer = await client.post(f"{API}/", content=chunks())

    assert (401, 1) == (answer.status_code, len(api.seen))
    assert [] == authsvc.gateway.answers


@pytest.mark.requirement("T13")
@pytest.mark.parametrize(
    "url",
    [
        "https://attacker.test/",
        "http://api.example.com/",
        "https://api.example.com:444/",
        "https://api.example.com.attacker.test/",
        "https://example.com/",
        f"{API}/elsewhere",
    ],
)
async def test_the_token_goes_to_the_named_services_only(
    url: str, client: httpx.AsyncClient, api: Api
) -> None:
    """Nor to where one of them redirects."""
    answer = await client.get(url)

    assert 401 == answer.status_code
    assert "" == api.seen[-1]


async def test_errors_of_the_session_come_out_of_the_request(
    api: Api, new_session: NewSession
) -> None:
    auth = SessionAuth(new_session(), origins=[API])
    transport = httpx.ASGITransport(app=api)

    async with httpx.AsyncClient(transport=transport, auth=auth) as client:
        with pytest.raises(NotLoggedIn):
            await client.get(f"{API}/")
    assert [] == api.seen


async def test_without_an_event_loop_it_is_the_same(
    session: NativeSession, authsvc: Authsvc
) -> None:
    app = flask.Flask("api")
    verifier = TokenVerifier(issuer=authsvc.origin, audience="authsvc", clock=authsvc.clock)
    access = AccessTokens(verifier)
    refused = [True]

    @app.post("/")
    @access.user_required
    def who() -> Any:
        return (access.claims.sub, 401 if refused and refused.pop() else 200)

    def run() -> tuple[int, int, int]:
        transport = httpx.WSGITransport(app=app)
        auth = SessionAuth(session, origins=[API])
        with httpx.Client(transport=transport, auth=auth) as client:
            first = client.post(f"{API}/", json={})
            authsvc.clock.advance(hours=2)
            second = client.post(f"{API}/", json={})
            return first.status_code, second.status_code, len(authsvc.gateway.answers)

    assert (200, 200, 2) == await asyncio.to_thread(run)


@pytest.mark.parametrize(
    "origins", [[], API, ["http://api.example.com"], ["api.example.com"]], ids=str
)
def test_origins_are_named_and_safe(origins: Any, session: NativeSession) -> None:
    with pytest.raises(ValueError, match="origins"):
        SessionAuth(session, origins=origins)
