"""FastAPI: the dependencies, and what they say in the OpenAPI document."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, MutableMapping
from typing import Annotated, Any

import httpx
import pytest
from fastapi import FastAPI, Form, WebSocket

from authsvc_client.verifier import AccessTokenClaims, CookieSessions
from authsvc_client.verifier.fastapi import (
    CurrentCaller,
    CurrentUser,
    protect,
    require_roles,
    require_scope,
)
from tests.support.key_server import KeyServer, MovableClock
from tests.verifier.adapters import PAGE, bearer, cases, cookies
from tests.verifier.conftest import NewToken, NewVerifier


def application() -> FastAPI:
    app = FastAPI()

    @app.get("/hello")
    async def hello(user: CurrentUser) -> str:
        return user.sub

    @app.post("/hello")
    async def greet(user: CurrentUser) -> str:
        return user.sub

    @app.get("/any")
    async def anybody(caller: CurrentCaller) -> str:
        return caller.client_id

    @app.get("/admin", dependencies=[require_roles("admin", "root")])
    async def admin() -> str:
        return "admin"

    @app.get("/orders")
    async def orders(
        caller: Annotated[AccessTokenClaims, require_scope("orders:read", "orders:list")],
    ) -> str:
        return caller.scope

    @app.post("/named")
    async def named(user: CurrentUser, name: Annotated[str, Form()]) -> str:
        return f"{user.sub} {name}"

    return app


NewClient = Callable[..., httpx.AsyncClient]


@pytest.fixture
async def client(new_verifier: NewVerifier) -> AsyncIterator[httpx.AsyncClient]:
    app = application()
    protect(app, new_verifier(), cookies=CookieSessions(origins=[PAGE]))
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as opened:
        yield opened


@pytest.mark.requirement("T13", "X1", "X2")
async def test_every_case_is_answered_as_by_the_others(
    client: httpx.AsyncClient, token: NewToken, clock: MovableClock
) -> None:
    old = token()
    clock.advance(931)
    service = token(sid=None, sub="billing", client_id="billing")

    for case in cases(
        token(roles=["reader"]),
        expired=old,
        service=service,
        admin=token(roles=["root"]),
        scoped=token(scope="orders:list orders:read"),
    ):
        case.check(await client.request(**({"method": "GET"} | case.request)))


async def test_the_endpoint_still_gets_the_form(client: httpx.AsyncClient, token: NewToken) -> None:
    """Though the dependency has read its CSRF field."""
    presented = token()
    for encoding in ("data", "files"):
        fields: Any = {"csrf_token": "t0ken", "name": "n"}
        if encoding == "files":
            fields = {name: (None, value) for name, value in fields.items()}
        answer = await client.post(
            "/named", headers=cookies(presented) | {"origin": PAGE}, **{encoding: fields}
        )
        assert (200, True) == (answer.status_code, answer.text.endswith(' n"')), answer.text


async def test_the_form_of_a_stranger_is_not_parsed(client: httpx.AsyncClient) -> None:
    """Nor is its body waited for beyond what FastAPI itself reads."""
    body = "&".join(f"f{number}=" for number in range(5000))  # more fields than Starlette takes
    headers = cookies("a.b.c") | {
        "origin": PAGE,
        "content-type": "application/x-www-form-urlencoded",
    }

    answer = await client.post("/hello", headers=headers, content=body)

    assert 401 == answer.status_code


async def test_header_twice_is_refused(client: httpx.AsyncClient, token: NewToken) -> None:
    presented = f"Bearer {token()}"

    answer = await client.get(
        "/hello", headers=[("authorization", presented), ("authorization", presented)]
    )

    assert 400 == answer.status_code


async def test_nobody_is_blamed_while_the_keys_cannot_be_had(
    client: httpx.AsyncClient, server: KeyServer, token: NewToken
) -> None:
    server.status = 500

    answer = await client.get("/hello", headers=bearer(token()))

    assert (503, "1") == (answer.status_code, answer.headers["retry-after"])
    assert "www-authenticate" not in answer.headers


async def test_one_request_is_verified_once(new_verifier: NewVerifier, token: NewToken) -> None:
    """However many dependencies ask."""
    asked: list[str] = []

    class Counting:
        def check(self, claims: AccessTokenClaims, *, now: object) -> None:
            del now
            asked.append(claims.jti)

    app = FastAPI()
    protect(app, new_verifier(revocations=Counting()))

    @app.get("/", dependencies=[require_roles("admin"), require_roles("root")])
    async def both(user: CurrentUser, caller: CurrentCaller) -> bool:
        return user is caller

    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
        answer = await client.get("/", headers=bearer(token(roles=["admin", "root"])))

    assert (200, True) == (answer.status_code, answer.json())
    assert 1 == len(asked)


async def test_a_forgotten_protect_is_a_mistake_and_no_open_door(token: NewToken) -> None:
    transport = httpx.ASGITransport(app=application(), raise_app_exceptions=False)

    async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
        answer = await client.get("/hello", headers=bearer(token()))

    assert 500 == answer.status_code


def test_the_document_has_the_scheme_on_every_guarded_operation() -> None:
    document = application().openapi()

    (name,) = document["components"]["securitySchemes"]
    assert "bearer" == document["components"]["securitySchemes"][name]["scheme"]
    for path in document["paths"].values():
        for operation in path.values():
            assert [{name: []}] == operation["security"]


@pytest.mark.parametrize("names", [(), ("",), ("two words",), ('quote"',), ("é",), ("x" * 65,)])
def test_names_that_no_token_can_have_are_mistakes(names: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="at least one role"):
        require_roles(*names)


@pytest.mark.parametrize("names", [(), ("",), ("two words",), ('quote"',), ("é",), ("a\\b",)])
def test_scopes_that_no_token_can_have_are_mistakes(names: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="at least one scope"):
        require_scope(*names)


@pytest.fixture
def sockets(new_verifier: NewVerifier) -> FastAPI:
    app = FastAPI()
    protect(app, new_verifier(), cookies=CookieSessions(origins=[PAGE]))

    @app.websocket("/user")
    async def of_user(socket: WebSocket, user: CurrentUser) -> None:
        await socket.accept(subprotocol="bearer" if socket.scope["subprotocols"] else None)
        await socket.send_text(user.sub)

    @app.get("/user-http")
    async def of_request(user: CurrentUser) -> str:
        return user.sub

    @app.websocket("/admin", dependencies=[require_roles("admin")])
    async def of_admin(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text("admin")

    @app.websocket("/orders", dependencies=[require_scope("orders:read")])
    async def of_orders(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text("orders")

    return app


async def first_message(app: FastAPI, path: str, headers: dict[str, str]) -> str | int:
    """What a socket says first; if it is closed before it was accepted, the code."""
    offered = headers.get("sec-websocket-protocol", "")
    scope = {
        "type": "websocket",
        "path": path,
        "query_string": b"",
        "headers": [(k.encode(), v.encode()) for k, v in headers.items()],
        "subprotocols": [name.strip() for name in offered.split(",") if name],
    }
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> dict[str, str]:
        return {"type": "websocket.connect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    await app(scope, receive, send)
    if sent[0]["type"] == "websocket.close":
        return int(sent[0]["code"])
    assert sent[0].get("subprotocol") in ({None, "bearer"} if offered else {None})
    return str(sent[1]["text"])


@pytest.mark.finding("P05")
async def test_a_websocket_is_accepted_with_a_token_and_closed_before_it_without(
    sockets: FastAPI, token: NewToken
) -> None:
    user = token(sub="alice", roles=["admin"], scope="orders:read")
    service = token(sid=None, sub="billing", client_id="billing", roles=[], scope="")

    assert "alice" == await first_message(sockets, "/user", bearer(user))
    assert "admin" == await first_message(sockets, "/admin", bearer(user))
    assert "orders" == await first_message(sockets, "/orders", bearer(user))
    for path in ("/user", "/admin", "/orders"):
        assert 1008 == await first_message(sockets, path, {})
        assert 1008 == await first_message(sockets, path, bearer("a.b.c"))
        assert 1008 == await first_message(sockets, path, bearer(service))


@pytest.mark.finding("P05")
@pytest.mark.requirement("X2")
async def test_a_websocket_by_cookie_needs_the_origin_of_a_page_of_ours(
    sockets: FastAPI, token: NewToken
) -> None:
    """A foreign page can open a socket with the user's cookies; it cannot hide where it is."""
    presented = cookies(token(sub="alice"))

    assert "alice" == await first_message(sockets, "/user", presented | {"origin": PAGE})
    assert 1008 == await first_message(sockets, "/user", presented)
    assert 1008 == await first_message(sockets, "/user", presented | {"origin": "null"})
    assert 1008 == await first_message(sockets, "/user", presented | {"origin": "https://x.test"})


@pytest.mark.finding("P05")
async def test_a_browser_brings_the_token_as_a_subprotocol(
    sockets: FastAPI, token: NewToken
) -> None:
    """`new WebSocket(url, ["bearer", token])`: a browser can set no header."""
    offered = {"sec-websocket-protocol": f"bearer, {token(sub='alice')}"}

    assert "alice" == await first_message(sockets, "/user", offered)
    assert "alice" == await first_message(sockets, "/user", offered | cookies("a.b.c"))
    assert 1008 == await first_message(sockets, "/user", offered | bearer(token()))
    transport = httpx.ASGITransport(app=sockets)
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
        assert 401 == (await client.get("/user-http", headers=offered)).status_code
    for refused in ("bearer", "bearer, a.b.c", f"{token()}, bearer", f"x, {token()}"):
        headers = {"sec-websocket-protocol": refused}
        assert (refused, 1008) == (refused, await first_message(sockets, "/user", headers))
