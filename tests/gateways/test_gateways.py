"""nginx, Caddy and HAProxy, run for real: what reaches the service behind, and what does not."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

import pytest

from authsvc_client.verifier import IdentityAssertionVerifier
from tests.gateways.client import Headers, send, send_once
from tests.gateways.conftest import World
from tests.gateways.upstream import Received

IDENTITY = ("X-User-ID", "X-User-Roles", "X-Session-ID", "X-Identity-Assertion")
FORGED = "forged"

pytestmark = pytest.mark.requirement("Q6")


def spellings() -> Iterator[str]:
    """Every way to write the names that some framework takes for them."""
    for name in IDENTITY:
        words = name.split("-")
        for separators in itertools.product("-_.", repeat=len(words) - 1):
            spelled = "".join(
                w + s for w, s in itertools.zip_longest(words, separators, fillvalue="")
            )
            yield from (spelled, spelled.lower(), spelled.upper(), spelled.swapcase())
            yield spelled.title()


FORGERIES: dict[str, Headers] = {
    "each-name": [(name, FORGED) for name in IDENTITY],
    "twice": [(name, FORGED) for name in IDENTITY for _ in range(2)],
    "empty-and-forged": [(name, value) for name in IDENTITY for value in ("", FORGED, "")],
    "listed-in-connection": [
        ("Connection", "close, X-User-ID, x-user-roles, X-Session-ID, X-Identity-Assertion"),
        *((name, FORGED) for name in IDENTITY),
    ],
    "listed-in-connection-with-underscores": [
        ("Connection", "close, X_User_ID"),
        ("X_User_ID", FORGED),
    ],
    "two-connection-headers": [
        ("Connection", "X-User-ID"),
        ("Connection", "close"),
        ("X-User-ID", FORGED),
    ],
    "as-an-upgrade": [
        ("Connection", "Upgrade, X-User-ID, X-User-Roles, X-Session-ID"),
        ("Upgrade", "websocket"),
        *((name, FORGED) for name in IDENTITY),
    ],
    "as-an-upgrade-to-nothing": [
        ("Connection", "Upgrade, X-User-ID"),
        ("Upgrade", "h2c"),
        *((name, FORGED) for name in IDENTITY),
    ],
    "space-before-the-colon": [("X-User-ID ", FORGED)],
    "folded": [("X-Other", "a\r\n X-User-ID: forged")],
}
ODD = list(dict.fromkeys(spellings()))
for start in range(0, len(ODD), 40):
    FORGERIES[f"spellings-from-{ODD[start]}"] = [(name, FORGED) for name in ODD[start : start + 40]]


def assert_true_identity(received: Received, world: World) -> None:
    """The four headers, once each if they say something, and nothing forged under any name."""
    assert [world.user_id] == received.named("X-User-ID"), received.headers
    assert [world.session_id] == received.named("X-Session-ID"), received.headers
    assert received.named("X-User-Roles") in ([], [""]), received.headers
    (assertion,) = received.named("X-Identity-Assertion")
    assert 3 == len(assertion.split("."))
    assert all(FORGED != value for _, value in received.headers), received.headers


@pytest.mark.parametrize("forgery", FORGERIES.values(), ids=FORGERIES.keys())
async def test_no_forged_identity_reaches_the_service(
    gateway: int, world: World, forgery: Headers
) -> None:
    for headers in ([world.bearer, *forgery], [*forgery, world.bearer]):
        before = len(world.orders.received)

        answer = await send(gateway, headers=headers)

        if 200 == answer.status:
            (received,) = world.orders.received[before:]
            assert_true_identity(received, world)
        else:  # refused as no HTTP
            assert 400 == answer.status
            assert before == len(world.orders.received)


@pytest.mark.parametrize("forgery", FORGERIES.values(), ids=FORGERIES.keys())
async def test_a_forged_identity_is_no_credential(
    gateway: int, world: World, forgery: Headers
) -> None:
    before = len(world.orders.received)

    answer = await send(gateway, headers=forgery)

    assert answer.status in {400, 401}
    assert before == len(world.orders.received)


async def test_the_assertion_can_be_verified(gateway: int, world: World) -> None:
    verifier = IdentityAssertionVerifier(
        issuer=f"http://localhost:{world.authsvc}", upstream="orders"
    )
    await send(gateway, headers=[world.bearer])

    (assertion,) = world.orders.received[-1].named("X-Identity-Assertion")
    claims = await verifier.verify(assertion)

    assert (world.user_id, world.session_id) == (claims.sub, str(claims.sid))


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PROPFIND"])
async def test_every_method_needs_a_token_and_keeps_its_body(
    gateway: int, world: World, method: str
) -> None:
    body = b"quantity=3" if method in {"POST", "PUT"} else b""
    before = len(world.orders.received)

    refused = await send(gateway, method, body=body)
    preflight: Headers = [
        ("Origin", "https://evil.example"),
        ("Access-Control-Request-Method", "GET"),
    ]
    unknown = await send(gateway, method, headers=preflight, body=body)
    answer = await send(gateway, method, headers=[world.bearer], body=body)

    assert [401, 401, 200] == [refused.status, unknown.status, answer.status]
    assert 'Bearer realm="authsvc"' == refused.headers["www-authenticate"]
    (received,) = world.orders.received[before:]
    assert (f"{method} /orders/1 HTTP/1.1", body) == (received.line, received.body)


async def test_a_refused_token_is_said_to_be_bad(gateway: int, world: World) -> None:
    before = len(world.orders.received)

    for token in ("garbage", world.access_token[:-4] + "AAAA", "a" * 6000):
        answer = await send(gateway, headers=[("Authorization", f"Bearer {token}")])

        assert 401 == answer.status
        assert 'error="invalid_token"' in answer.headers["www-authenticate"]
    assert before == len(world.orders.received)


async def test_a_head_that_is_too_long_is_refused(gateway: int, world: World) -> None:
    before = len(world.orders.received)

    long = await send(gateway, headers=[("Authorization", "Bearer " + "a" * 100_000)])
    crowd = [("Authorization", "Bearer x"), *([("X-A", "b")] * 150)]
    many = await send_once(gateway, headers=crowd)

    assert long.status in {400, 401, 431}
    assert many.status in {400, 401, 503}
    assert before == len(world.orders.received)


@pytest.mark.requirement("X1", "X2")
async def test_a_cookie_reads_and_with_the_csrf_token_writes(gateway: int, world: World) -> None:
    csrf = ("X-CSRF-Token", world.csrf_token)
    page = ("Origin", f"http://localhost:{gateway}")
    claims_get = [("X-Forwarded-Method", "GET"), ("X-Original-Method", "GET")]
    before = len(world.orders.received)

    read = await send(gateway, headers=[world.cookie])
    bare = await send(gateway, "POST", headers=[world.cookie], body=b"a=1")
    lied = await send(gateway, "POST", headers=[world.cookie, *claims_get], body=b"a=1")
    hidden = await send(
        gateway,
        "POST",
        headers=[world.cookie, ("Connection", "close, X-Forwarded-Method"), *claims_get],
        body=b"a=1",
    )
    foreign = await send(
        gateway, "POST", headers=[world.cookie, csrf, ("Origin", "https://evil.example")], body=b"a"
    )
    written = await send(gateway, "POST", headers=[world.cookie, csrf, page], body=b"a=1")

    statuses = [answer.status for answer in (read, bare, lied, hidden, foreign, written)]
    assert [200, 403, 403, 403, 403, 200] == statuses
    assert 2 == len(world.orders.received[before:])


@pytest.mark.requirement("X2")
async def test_a_foreign_page_opens_no_websocket(gateway: int, world: World) -> None:
    handshake = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("Sec-WebSocket-Version", "13"),
        world.cookie,
    ]
    before = len(world.orders.received)

    foreign = await send(gateway, headers=[*handshake, ("Origin", "https://evil.example")])
    own = await send(gateway, headers=[*handshake, ("Origin", f"http://localhost:{gateway}")])

    assert [403, 200] == [foreign.status, own.status]
    (received,) = world.orders.received[before:]
    assert ["websocket"] == received.named("Upgrade")
    assert ["upgrade"] == [value.lower() for value in received.named("Connection")]


@pytest.mark.parametrize(
    "offers", [["h2c"], ["websocket, h2c"], ["h2c, websocket"], ["websocket", "h2c"], ["WebSocket"]]
)
async def test_no_protocol_but_websockets_is_passed_on(
    gateway: int, world: World, offers: list[str]
) -> None:
    """A service that takes up h2c would be a tunnel past the gateway."""
    upgrade = [("Upgrade", offer) for offer in offers]
    options = [("Connection", "Upgrade, HTTP2-Settings"), ("HTTP2-Settings", "AAMAAABkAARAAAAA")]
    before = len(world.orders.received)

    answer = await send(gateway, headers=[world.bearer, *options, *upgrade])

    passed_on = world.orders.received[before:]
    assert passed_on or 400 <= answer.status < 500
    for received in passed_on:
        assert received.named("Upgrade") in ([], ["websocket"])
        assert "http2-settings" not in str(received.named("Connection")).lower()


async def test_a_credential_twice_is_never_let_pass(gateway: int, world: World) -> None:
    before = len(world.orders.received)
    two_cookies = [("Cookie", "authsvc_access=planted"), world.cookie]
    two_tokens = [("Authorization", "Bearer planted"), world.bearer]

    for headers in (two_cookies, two_cookies[::-1], two_tokens, two_tokens[::-1]):
        answer = await send(gateway, headers=headers)

        assert 400 == answer.status
    assert before == len(world.orders.received)


async def test_the_bearer_token_outranks_the_cookie(gateway: int, world: World) -> None:
    answer = await send(gateway, headers=[("Authorization", "Bearer garbage"), world.cookie])

    assert 401 == answer.status


@pytest.mark.parametrize(
    "path",
    [
        "/auth/verify",
        "/auth/%76erify",
        "/auth//verify",
        "/auth/./verify",
        "/x/../auth/verify",
        "/auth/verify?upstream=orders",
        "/auth/verify/",
        "/auth/verify%2f",
        "/.gateway/verify",
        "/.gateway/verify?x=1",
    ],
)
async def test_nobody_asks_authsvc_about_a_request_but_the_gateway(
    gateway: int, world: World, path: str
) -> None:
    """Whoever is behind a trusted proxy would be believed what only that proxy may tell."""
    answer = await send(gateway, path=path, headers=[world.bearer])

    assert "x-identity-assertion" not in answer.headers
    assert "x-user-id" not in answer.headers


@pytest.mark.parametrize(
    "path",
    [
        "/auth/../orders/1",
        "/.well-known/../orders/1",
        "/auth/..%2forders/1",
        "/auth/%2e%2e/orders/1",
        "//auth/../orders/1",
        "/auth;/../orders/1",
        "/orders/1?/auth/",
        "/orders/1#/auth/",
        "http://localhost/orders/1",
    ],
)
async def test_no_spelling_of_a_path_leads_past_the_gateway(
    gateway: int, world: World, path: str
) -> None:
    before = len(world.orders.received)

    answer = await send(gateway, path=path)

    assert answer.status in {400, 401, 404}
    assert before == len(world.orders.received)


async def test_an_old_client_is_treated_alike(gateway: int, world: World) -> None:
    refused = await send(gateway, headers=[("X-User-ID", FORGED)], version="1.0")
    answer = await send(gateway, headers=[world.bearer, ("X_User_ID", FORGED)], version="1.0")

    assert [401, 200] == [refused.status, answer.status]
    assert_true_identity(world.orders.received[-1], world)


async def test_sessions_are_authsvcs_own(gateway: int, world: World) -> None:
    """Its own endpoints and its keys are reached through the gateway without being asked."""
    me = await send(gateway, path="/auth/me", headers=[world.bearer])
    keys = await send(gateway, path="/.well-known/jwks.json")

    assert [200, 200] == [me.status, keys.status]
    assert re.search(rb'"kid":"[\w-]{43}"', keys.body)
