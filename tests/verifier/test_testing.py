"""What integrators' tests are given: claims without a token."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from flask import Flask

from authsvc_client.tokens.claims import AccessTokenClaims
from authsvc_client.verifier import AccessRefused, Expired, TokenVerifier
from authsvc_client.verifier.asgi import AccessTokenMiddleware
from authsvc_client.verifier.fastapi import CurrentUser, current_caller, protect, require_roles
from authsvc_client.verifier.flask import AccessTokens
from authsvc_client.verifier.testing import FixedVerifier, claims
from tests.verifier.snippets import block, module_of
from tests.verifier.test_asgi import application

pytestmark = pytest.mark.finding("P33")


async def status(app: FastAPI) -> int:
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
        return (await client.get("/admin")).status_code


async def test_one_override_decides_for_every_dependency() -> None:
    """Roles and the kind of token are still checked, so a test sees the refusals as well."""
    app = FastAPI()

    @app.get("/admin", dependencies=[require_roles("admin")])
    async def admin(user: CurrentUser) -> str:
        return user.sub

    for changes, expected in (
        ({"roles": ("admin",)}, 200),
        ({}, 403),
        ({"roles": ("admin",), "sid": None, "sub": "billing", "client_id": "billing"}, 403),
    ):
        made = claims(**changes)
        app.dependency_overrides[current_caller] = lambda made=made: made
        assert expected == await status(app), changes


def test_an_unknown_claim_is_a_mistake() -> None:
    with pytest.raises(TypeError, match="rolls"):
        claims(rolls=("admin",))


ADMIN = claims(roles=("admin",))
SERVICE = claims(roles=("admin",), sid=None, sub="billing", client_id="billing")
EXPECTED: list[tuple[AccessTokenClaims | AccessRefused, int]] = [
    (ADMIN, 200),
    (claims(), 403),
    (Expired("test"), 401),
]


def unused() -> TokenVerifier:
    """What an application has before its tests exchange it; nothing listens there."""
    return TokenVerifier(issuer="http://localhost:9", audience="authsvc")


@pytest.fixture
def guarded_by_flask() -> tuple[AccessTokens, Flask]:
    app = Flask("service")
    access = AccessTokens(unused())

    @app.get("/admin")
    @access.require_roles("admin")
    def admin() -> str:
        return access.claims.sub

    return access, app


@pytest.mark.parametrize(("outcome", "expected"), EXPECTED, ids=["admin", "no role", "expired"])
def test_flask_takes_any_token_for_that_caller(
    guarded_by_flask: tuple[AccessTokens, Flask],
    outcome: AccessTokenClaims | AccessRefused,
    expected: int,
) -> None:
    access, app = guarded_by_flask
    access.verifier = FixedVerifier(outcome)
    client = app.test_client()

    assert expected == client.get("/admin", headers={"Authorization": "Bearer x"}).status_code
    assert 401 == client.get("/admin").status_code


def test_a_person_is_still_asked_for() -> None:
    app = Flask("service")
    access = AccessTokens(FixedVerifier(SERVICE))
    app.get("/")(access.user_required(lambda: "unreachable"))

    answer = app.test_client().get("/", headers={"Authorization": "Bearer x"})

    assert 403 == answer.status_code


async def asked(app: Any, **headers: str) -> httpx.Response:
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
        return await client.get("/admin", headers=headers)


@pytest.mark.parametrize(("outcome", "expected"), EXPECTED, ids=["admin", "no role", "expired"])
async def test_the_asgi_middleware_and_fastapi_do_so_too(
    outcome: AccessTokenClaims | AccessRefused, expected: int
) -> None:
    guarded = AccessTokenMiddleware(application, verifier=unused(), roles=["admin"])
    guarded.verifier = FixedVerifier(outcome)
    fast = FastAPI()
    protect(fast, FixedVerifier(outcome))
    fast.get("/admin", dependencies=[require_roles("admin")])(lambda: "admin")

    for app in (guarded, fast):
        assert expected == (await asked(app, authorization="Bearer x")).status_code
        assert 401 == (await asked(app)).status_code


async def test_a_start_fetches_no_keys() -> None:
    fixed = FixedVerifier(ADMIN)

    await fixed.prefetch()
    fixed.prefetch_sync()

    assert ADMIN == await fixed.verify("x")


def test_the_page_tells_it_as_it_is(guarded_by_flask: tuple[AccessTokens, Flask]) -> None:
    """docs/protect-a-service.md, "In your tests"."""
    access, app = guarded_by_flask

    module_of(block("protect-a-service.md", "In your tests", "python", 1)).as_admin(access)

    answer = app.test_client().get("/admin", headers={"Authorization": "Bearer test"})
    assert (200, ADMIN.sub) == (answer.status_code, answer.text)
