"""Flask: the decorators, in front of real WSGI."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from flask import Flask, request

from authsvc_client.tokens.errors import PROBLEM_JSON
from authsvc_client.verifier import CookieSessions
from authsvc_client.verifier.flask import AccessTokens
from tests.support.key_server import KeyServer, MovableClock
from tests.verifier.adapters import PAGE, bearer, cases, cookies
from tests.verifier.conftest import NewToken, NewVerifier


@pytest.fixture
def app(new_verifier: NewVerifier) -> Flask:
    app = Flask("service")
    access = AccessTokens(new_verifier(), cookies=CookieSessions(origins=[PAGE]))

    @app.route("/hello", methods=["GET", "POST"])
    @access.user_required
    def hello() -> str:
        return access.claims.sub

    @app.route("/preflighted", methods=["GET", "OPTIONS"])
    @access.user_required
    def preflighted() -> str:
        return access.claims.sub

    @app.get("/any")
    @access.required
    def anybody() -> str:
        return access.claims.client_id

    @app.get("/admin")
    @access.require_roles("admin", "root")
    def admin() -> str:
        return "admin"

    @app.get("/orders")
    @access.require_scope("orders:read", "orders:list")
    def orders() -> str:
        return access.claims.scope

    @app.post("/named/<name>")
    @access.required
    def named(name: str) -> str:
        return f"{name} {request.form['name']}"

    @app.get("/open")
    def unguarded() -> str:
        return access.claims.sub

    return app


@pytest.fixture
def client(app: Flask) -> Iterator[httpx.Client]:
    app.testing = True
    transport = httpx.WSGITransport(app=app)
    with httpx.Client(transport=transport, base_url="http://service") as opened:
        yield opened


@pytest.mark.requirement("T13", "X1", "X2")
def test_every_case_is_answered_as_by_the_others(
    client: httpx.Client, token: NewToken, clock: MovableClock
) -> None:
    old = token()
    clock.advance(931)

    for case in cases(
        token(roles=["reader"]),
        expired=old,
        service=token(sid=None, sub="billing", client_id="billing"),
        admin=token(roles=["root"]),
        scoped=token(scope="orders:list orders:read"),
    ):
        case.check(client.request(**({"method": "GET"} | case.request)))


def test_a_refusal_is_a_problem_document(client: httpx.Client) -> None:
    answer = client.get("/hello")

    assert PROBLEM_JSON == answer.headers["content-type"]
    assert {
        "type": "about:blank",
        "title": "Unauthorized",
        "status": 401,
        "detail": "The request needs an access token.",
        "code": "unauthenticated",
    } == answer.json()


def test_the_view_still_gets_its_arguments_and_the_form(
    client: httpx.Client, token: NewToken
) -> None:
    answer = client.post(
        "/named/a",
        headers=cookies(token()) | {"origin": PAGE},
        data={"csrf_token": "t0ken", "name": "b"},
    )

    assert (200, "a b") == (answer.status_code, answer.text)


def test_nobody_is_blamed_while_the_keys_cannot_be_had(
    client: httpx.Client, server: KeyServer, token: NewToken
) -> None:
    server.status = 500

    answer = client.get("/hello", headers=bearer(token()))

    assert (503, "1") == (answer.status_code, answer.headers["retry-after"])


def test_claims_without_a_decorator_are_a_mistake(client: httpx.Client) -> None:
    with pytest.raises(RuntimeError, match="no decorator"):
        client.get("/open")


@pytest.mark.finding("P35")
def test_a_preflight_needs_no_token_and_does_not_reach_the_view(client: httpx.Client) -> None:
    answer = client.options("/preflighted", headers={"origin": PAGE})

    assert (200, "") == (answer.status_code, answer.text)
    assert {"GET", "HEAD", "OPTIONS"} == set(answer.headers["allow"].split(", "))
    assert 401 == client.get("/preflighted").status_code
