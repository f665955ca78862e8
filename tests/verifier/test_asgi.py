"""The plain middleware: nothing reaches the application without a valid token."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from authsvc_client.verifier import CookieSessions, TokenVerifier
from authsvc_client.verifier.asgi import AccessTokenMiddleware, Receive, Scope, Send, claims_of
from tests.support.key_server import KeyServer, MovableClock
from tests.verifier.adapters import INVALID, NONE, PAGE, SCOPE, bearer, cookies
from tests.verifier.conftest import NewToken


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Says who calls, on any path."""
    del receive
    if scope["type"] == "http":
        who = b"public" if scope["path"] == "/healthz" else claims_of(scope).sub.encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": who})
    elif scope["type"] == "websocket":
        await send({"type": "websocket.accept", "who": claims_of(scope).sub})
    else:
        await send({"type": f"{scope['type']}.passed"})


async def ask(verifier: TokenVerifier, path: str = "/", **options: Any) -> httpx.Response:
    guarded = AccessTokenMiddleware(
        application,
        verifier=verifier,
        cookies=CookieSessions(origins=[PAGE]),
        public={"/healthz"},
        **options.pop("guard", {}),
    )
    transport = httpx.ASGITransport(app=guarded)
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
        return await client.request(options.pop("method", "GET"), path, **options)


async def handshake(
    verifier: TokenVerifier, headers: dict[str, str], *, type_: str = "websocket"
) -> dict[str, Any]:
    """The first message that the server is told to send."""
    guarded = AccessTokenMiddleware(
        application, verifier=verifier, cookies=CookieSessions(origins=[PAGE])
    )
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    await guarded({"type": type_, "path": "/", "headers": raw}, receive, send)
    return sent[0]


async def test_the_application_learns_who_calls(verifier: TokenVerifier, token: NewToken) -> None:
    presented = token(sub="alice")

    assert "alice" == (await ask(verifier, headers=bearer(presented))).text
    assert "alice" == (await ask(verifier, headers=cookies(presented))).text


async def test_without_a_valid_token_nothing_gets_through(
    verifier: TokenVerifier, token: NewToken, clock: MovableClock
) -> None:
    old = token()
    clock.advance(931)

    nothing, expired = await ask(verifier), await ask(verifier, headers=bearer(old))

    assert (401, NONE) == (nothing.status_code, nothing.headers["www-authenticate"])
    assert (401, INVALID) == (expired.status_code, expired.headers["www-authenticate"])
    assert "invalid_token" == expired.json()["code"]


@pytest.mark.parametrize(
    "path", ["/healthz/", "/healthz%2f", "//healthz", "/x/../healthz/y", "/HEALTHZ", "/healthz;x"]
)
async def test_public_paths_are_exact(path: str, verifier: TokenVerifier) -> None:
    assert "public" == (await ask(verifier, "/healthz")).text
    assert 401 == (await ask(verifier, path)).status_code


@pytest.mark.requirement("X1", "X2")
async def test_a_write_by_cookie_proves_its_origin(
    verifier: TokenVerifier, token: NewToken
) -> None:
    headers = cookies(token()) | {"origin": PAGE, "x-csrf-token": "t0ken"}

    assert 200 == (await ask(verifier, method="POST", headers=headers)).status_code
    for changes in ({"origin": "https://attacker.test"}, {"x-csrf-token": "other"}):
        answer = await ask(verifier, method="POST", headers=headers | changes)
        assert (403, "csrf_failed") == (answer.status_code, answer.json()["code"])
        assert "www-authenticate" not in answer.headers


async def test_roles_and_scope_hold_for_everything(
    verifier: TokenVerifier, token: NewToken
) -> None:
    guard = {"roles": ["admin", "root"], "scope": ["orders:read"]}
    good = bearer(token(roles=["root"], scope="orders:read orders:write"))
    poor = bearer(token(roles=["root"]))
    weak = bearer(token(roles=["reader"], scope="orders:read"))

    assert 200 == (await ask(verifier, guard=guard, headers=good)).status_code
    without_role = await ask(verifier, guard=guard, headers=weak)
    without_scope = await ask(verifier, guard=guard, headers=poor)

    assert (403, SCOPE) == (without_role.status_code, without_role.headers["www-authenticate"])
    assert f'{SCOPE}, scope="orders:read"' == without_scope.headers["www-authenticate"]


async def test_head_has_no_body(verifier: TokenVerifier) -> None:
    answer = await ask(verifier, method="HEAD")

    assert (401, b"") == (answer.status_code, answer.content)
    assert int(answer.headers["content-length"]) > 0


async def test_nobody_is_blamed_while_the_keys_cannot_be_had(
    verifier: TokenVerifier, server: KeyServer, token: NewToken
) -> None:
    server.status = 500

    answer = await ask(verifier, headers=bearer(token()))

    assert (503, "1") == (answer.status_code, answer.headers["retry-after"])


@pytest.mark.requirement("X2")
async def test_a_websocket_needs_a_token_and_by_cookie_a_page_of_ours(
    verifier: TokenVerifier, token: NewToken
) -> None:
    """A foreign page can open a socket with the user's cookies; it cannot hide where it is."""
    presented = token(sub="alice")
    closed = {"type": "websocket.close", "code": 1008}
    accepted = {"type": "websocket.accept", "who": "alice"}

    assert accepted == await handshake(verifier, bearer(presented))
    assert accepted == await handshake(verifier, cookies(presented) | {"origin": PAGE})
    assert closed == await handshake(verifier, cookies(presented))
    assert closed == await handshake(verifier, cookies(presented) | {"origin": "https://x.test"})
    assert closed == await handshake(verifier, {})


@pytest.mark.finding("P05")
async def test_a_websocket_may_bring_its_token_as_a_subprotocol(
    verifier: TokenVerifier, token: NewToken
) -> None:
    """A browser can set no header; a token that it brings so needs no origin."""
    offered = {"sec-websocket-protocol": f"chat, bearer, {token(sub='alice')}"}
    closed = {"type": "websocket.close", "code": 1008}

    assert "alice" == (await handshake(verifier, offered))["who"]
    assert closed == await handshake(verifier, offered | bearer(token()))
    assert closed == await handshake(verifier, {"sec-websocket-protocol": "bearer"})
    assert closed == await handshake(verifier, {"sec-websocket-protocol": "bearer, a, bearer, b"})


async def test_lifespan_passes(verifier: TokenVerifier) -> None:
    assert {"type": "lifespan.passed"} == await handshake(verifier, {}, type_="lifespan")


def test_mistakes_are_told_at_once(verifier: TokenVerifier) -> None:
    with pytest.raises(ValueError, match="public"):
        AccessTokenMiddleware(application, verifier=verifier, public="/healthz")
    with pytest.raises(ValueError, match="role"):
        AccessTokenMiddleware(application, verifier=verifier, roles=["two words"])
    with pytest.raises(RuntimeError, match="no claims"):
        claims_of({"type": "http"})
