"""Forward authentication: what a gateway is told about a request."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI

from authsvc.flows.accounts import disable_account, set_account_roles
from authsvc.flows.follow_revocations import FollowedRevocations
from authsvc.http.request.service import Service
from authsvc.keys import pem
from authsvc.keys.key_files import KeyKind, file_name
from authsvc.observe.metrics import VERIFY_OUTCOMES
from authsvc.protocol.grants import ClientGrant, Grant
from authsvc_client.tokens.errors import WrongAudience
from authsvc_client.tokens.identity_assertion import TYP, IdentityClaims, verify_identity_assertion
from authsvc_client.tokens.jwk import rsa_public_key
from authsvc_client.tokens.jws import read as read_jws
from authsvc_client.tokens.secret import Secret
from tests.conftest import CALLER, START, Statements
from tests.http.conftest import ClientFactory, MovableClock, log_in, refresh
from tests.http.test_metrics import read, value
from tests.support.key_material import put

GATEWAY = "10.0.0.2"
BEHIND = {"trusted_proxies": (ip_network("10.0.0.0/8"),)}
TOKENS: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "vectors" / "access_tokens.json").read_text()
)
IDENTITY = ("x-user-id", "x-user-roles", "x-session-id", "x-identity-assertion")

pytestmark = [pytest.mark.usefixtures("alice"), pytest.mark.requirement("Q5")]


async def verify(
    client: httpx.AsyncClient, token: str | None = None, *, query: str = "", **headers: str
) -> httpx.Response:
    """As a gateway asks; underscores in names of headers become hyphens."""
    sent = {name.replace("_", "-"): text for name, text in headers.items()}
    if token is not None:
        sent["authorization"] = f"Bearer {token}"
    return await client.get(f"/auth/verify{query and '?' + query}", headers=sent)


@pytest.fixture
def new_client(new_client: ClientFactory, app: FastAPI) -> ClientFactory:
    """Its service has looked for revocations just before, however busy this machine is."""
    known = app.state.service.revocations

    async def look(request: httpx.Request) -> None:
        del request
        await known.look()

    def make(*args: Any, **kwargs: Any) -> httpx.AsyncClient:
        client = new_client(*args, **kwargs)
        client.event_hooks = client.event_hooks | {"request": [look]}
        return client

    return make


@pytest.fixture
def gateway(new_client: ClientFactory) -> httpx.AsyncClient:
    return new_client(GATEWAY)


def issued(app: FastAPI, **changes: object) -> Secret:
    """An access token that says what it is told to."""
    grant = Grant(
        user_id=UUID(int=7),
        session_id=UUID(int=8),
        client_id="authsvc",
        roles=(),
        scope="",
        auth_time=START,
        amr=("pwd",),
        ver=1,
    )
    token: Secret = app.state.service.issuer.access_token(replace(grant, **changes), now=START)  # type: ignore[arg-type]  # fields by name
    return token


@pytest.mark.requirement("Q7")
async def test_a_valid_token_is_answered_with_whose_it_is(
    client: httpx.AsyncClient, alice: dict[str, Any]
) -> None:
    login = (await log_in(client)).json()

    answer = await verify(client, login["access_token"])

    assert (200, b"") == (answer.status_code, answer.content)
    assert alice["id"] == answer.headers["x-user-id"]
    assert login["session_id"] == answer.headers["x-session-id"]
    assert "no-store" == answer.headers["cache-control"]


@pytest.mark.requirement("Q6")
async def test_every_success_has_every_identity_header_though_it_be_empty(
    client: httpx.AsyncClient, app: FastAPI
) -> None:
    """A header that is missing would leave in place what the client has sent."""
    answer = await verify(client, issued(app))

    assert [str(UUID(int=7)), "", str(UUID(int=8)), ""] == [
        answer.headers[name] for name in IDENTITY
    ]


async def test_no_refusal_has_an_identity_header(client: httpx.AsyncClient) -> None:
    answer = await verify(client, "garbage")

    assert 401 == answer.status_code
    assert set(IDENTITY).isdisjoint(answer.headers)


async def test_roles_are_one_sorted_list(client: httpx.AsyncClient, app: FastAPI) -> None:
    answer = await verify(client, issued(app, roles=("editor", "a.b:c-d_E", "billing")))

    assert "a.b:c-d_E,billing,editor" == answer.headers["x-user-roles"]


async def test_a_role_that_is_no_name_never_stands_in_the_header(
    client: httpx.AsyncClient, app: FastAPI
) -> None:
    """However it came into the database."""
    for role in ("a,admin", "a\r\nX-User-ID: 1", "admin ", "", "ä", "x" * 65):
        answer = await verify(client, issued(app, roles=(role, "editor")))

        assert (200, "editor") == (answer.status_code, answer.headers["x-user-roles"])


async def test_head_is_answered_alike(client: httpx.AsyncClient) -> None:
    bearer = {"authorization": f"Bearer {(await log_in(client)).json()['access_token']}"}

    head = await client.head("/auth/verify", headers=bearer)
    refused = await client.head("/auth/verify")

    assert [200, 401] == [head.status_code, refused.status_code]
    assert all(name in head.headers for name in IDENTITY)


async def test_no_credential_is_a_bare_challenge(client: httpx.AsyncClient) -> None:
    answer = await verify(client)

    assert (401, "unauthenticated") == (answer.status_code, answer.json()["code"])
    assert 'Bearer realm="authsvc"' == answer.headers["www-authenticate"]


async def test_a_bad_token_is_a_challenge_that_says_so(client: httpx.AsyncClient) -> None:
    answer = await verify(client, "garbage")

    assert 'error="invalid_token"' in answer.headers["www-authenticate"]


@pytest.mark.requirement("T13")
async def test_a_token_counts_in_the_header_alone(client: httpx.AsyncClient) -> None:
    token = (await log_in(client)).json()["access_token"]
    twice = [("authorization", f"Bearer {token}"), ("authorization", f"Bearer {token}")]

    in_query = await verify(client, query=f"access_token={token}")
    beside = await verify(client, token, query=f"access_token={token}")
    basic = await verify(client, authorization="Basic YTpi")
    doubled = await client.get("/auth/verify", headers=twice)

    answers = (in_query, beside, basic, doubled)
    assert [422, 422, 401, 400] == [answer.status_code for answer in answers]


@pytest.mark.requirement("T13")
async def test_authorization_outranks_the_cookie(client: httpx.AsyncClient) -> None:
    await log_in(client, "web")

    assert 401 == (await verify(client, "garbage", x_forwarded_method="GET")).status_code


async def test_nothing_is_asked_of_the_database(
    client: httpx.AsyncClient, statements: Statements
) -> None:
    token = (await log_in(client)).json()["access_token"]
    statements.clear()

    assert 200 == (await verify(client, token)).status_code
    assert [] == list(statements)


async def test_an_expired_token_is_refused(client: httpx.AsyncClient, clock: MovableClock) -> None:
    token = (await log_in(client)).json()["access_token"]
    clock.advance(timedelta(seconds=900 + 30))

    assert 401 == (await verify(client, token)).status_code


# Users of this audience only


async def test_a_service_is_no_user(client: httpx.AsyncClient, app: FastAPI) -> None:
    grant = ClientGrant(client_id="billing", audience="authsvc", scope="")

    answer = await verify(client, app.state.service.issuer.client_access_token(grant, now=START))

    assert (403, "forbidden") == (answer.status_code, answer.json()["code"])
    assert 'error="insufficient_scope"' in answer.headers["www-authenticate"]


@pytest.mark.requirement("T7")
async def test_a_token_for_another_audience_is_forbidden(
    client: httpx.AsyncClient, app: FastAPI
) -> None:
    grant = ClientGrant(client_id="billing", audience="orders", scope="")

    answer = await verify(client, app.state.service.issuer.client_access_token(grant, now=START))

    assert 403 == answer.status_code


# What is demanded


async def test_any_of_the_roles_and_all_of_the_scope(
    client: httpx.AsyncClient, app: FastAPI
) -> None:
    token = issued(app, roles=("editor",), scope="orders:read orders:write")

    for query, status in {
        "": 200,
        "roles=editor": 200,
        "roles=admin,editor": 200,
        "roles=admin": 403,
        "roles=Editor": 403,
        "scope=orders:read": 200,
        "scope=orders:read+orders:write": 200,
        "scope=orders:write%20orders:read": 200,
        "scope=orders:read+orders:delete": 403,
        "scope=orders": 403,
        "roles=editor&scope=orders:delete": 403,
        "roles=admin&scope=orders:read": 403,
        "roles=editor,admin&scope=orders:read": 200,
    }.items():
        assert (query, status) == (query, (await verify(client, token, query=query)).status_code)


async def test_a_demand_that_makes_no_sense_lets_nobody_pass(
    client: httpx.AsyncClient, app: FastAPI
) -> None:
    """A slip in a gateway's configuration must not open the door."""
    token = issued(app, roles=("editor", "admin"), scope="a b")

    for query in (
        "roles=",
        "roles",
        "roles=admin,",
        "roles=admin+editor",
        "roles=ädmin",
        "roles=%C3%A4",
        "roles=%ff",
        "roles=%00",
        "roles=" + "x" * 65,
        "roles=editor&roles=admin",
        "scope=",
        "scope=+",
        "scope=a++b",
        'scope="',
        "scope=%0d%0aX-User-ID:1",
        "scope=editor&scope=admin",
        "role=admin",
        "Roles=admin",
        "roles=editor;scope=a",
        "roles=editor&",
        "&",
        "=",
        "roles=editor&rd=https://evil.example",
        "x=1&" * 1000,
    ):
        answer = await verify(client, token, query=query)

        assert (query, 422) == (query, answer.status_code)
        assert "query" == answer.json()["errors"][0]["loc"][0]


# Cookies


@pytest.mark.requirement("X1", "X2")
@pytest.mark.settings(**BEHIND)
async def test_a_cookie_alone_is_enough_only_to_read(gateway: httpx.AsyncClient) -> None:
    csrf = {"x-csrf-token": (await log_in(gateway, "web")).json()["csrf_token"]}
    post, get = "POST", "GET"

    for told, status in (
        ({"x-forwarded-method": get}, 200),
        ({"x-forwarded-method": "HEAD"}, 200),
        ({"x-original-method": "OPTIONS"}, 200),
        ({"x-forwarded-method": get, "x-original-method": get}, 200),
        ({}, 403),
        ({"x-forwarded-method": post}, 403),
        ({"x-forwarded-method": "PROPFIND"}, 403),
        ({"x-forwarded-method": "get"}, 403),
        ({"x-forwarded-method": ""}, 403),
        ({"x-forwarded-method": "GET, POST"}, 403),
        ({"x-forwarded-method": post, "x-original-method": get}, 403),
        ({"x-http-method-override": get}, 403),
        ({"x_forwarded_method": get}, 403),
    ):
        bare = await gateway.get("/auth/verify", headers=told)
        proved = await gateway.get("/auth/verify", headers=told | csrf)

        assert (told, status, 200) == (told, bare.status_code, proved.status_code)
        assert 200 == status or "csrf_failed" == bare.json()["code"]


@pytest.mark.requirement("L3", "X2")
@pytest.mark.settings(**BEHIND)
async def test_only_a_trusted_proxy_tells_the_method(
    client: httpx.AsyncClient, new_client: ClientFactory
) -> None:
    await log_in(client, "web")
    told = {"x-forwarded-method": "GET", "x-forwarded-for": GATEWAY}
    behind = new_client(GATEWAY, cookies=client.cookies)

    stranger = await client.get("/auth/verify", headers=told)
    proxy = await behind.get("/auth/verify", headers=told)

    assert [403, 200] == [stranger.status_code, proxy.status_code]


@pytest.mark.settings(**BEHIND)
async def test_a_method_told_twice_is_unknown(gateway: httpx.AsyncClient) -> None:
    await log_in(gateway, "web")
    told = [("x-forwarded-method", "GET"), ("x-forwarded-method", "POST")]

    assert 403 == (await gateway.get("/auth/verify", headers=told)).status_code


@pytest.mark.requirement("X1", "X2")
@pytest.mark.settings(**BEHIND)
async def test_a_write_comes_from_a_page_of_ours(gateway: httpx.AsyncClient) -> None:
    csrf = (await log_in(gateway, "web")).json()["csrf_token"]
    told = {"x-forwarded-method": "DELETE", "x-csrf-token": csrf}

    for page, status in (
        ({"origin": "http://localhost:8000"}, 200),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"referer": "https://evil.example/"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-origin"}, 200),
    ):
        answer = await gateway.get("/auth/verify", headers=told | page)

        assert (page, status) == (page, answer.status_code)


@pytest.mark.requirement("X1")
@pytest.mark.settings(**BEHIND)
async def test_the_csrf_token_of_another_session_does_not_work(gateway: httpx.AsyncClient) -> None:
    foreign = (await log_in(gateway, "web")).json()["csrf_token"]
    await log_in(gateway, "web")

    answer = await verify(gateway, x_forwarded_method="POST", x_csrf_token=foreign)

    assert 403 == answer.status_code


@pytest.mark.requirement("X2")
@pytest.mark.settings(**BEHIND)
async def test_a_foreign_page_opens_no_websocket_by_cookie(gateway: httpx.AsyncClient) -> None:
    """Its handshake is a GET, and CORS does not stop it."""
    await log_in(gateway, "web")

    for handshake in (
        {"sec-websocket-key": "AAAA"},
        {"sec-websocket-version": "13"},
        {"upgrade": "WebSocket"},
    ):
        for page, status in (
            ({"origin": "http://localhost:8000"}, 200),
            ({"origin": "https://evil.example"}, 403),
            ({}, 403),
        ):
            told = {"x-forwarded-method": "GET"} | handshake | page
            answer = await gateway.get("/auth/verify", headers=told)

            assert (told, status) == (told, answer.status_code)


async def test_a_bearer_token_needs_no_csrf_proof(client: httpx.AsyncClient) -> None:
    token = (await log_in(client)).json()["access_token"]

    answer = await verify(client, token, x_forwarded_method="POST", origin="https://evil.example")

    assert 200 == answer.status_code


async def test_two_access_cookies_are_refused(client: httpx.AsyncClient) -> None:
    await log_in(client, "web")
    token = client.cookies["authsvc_access"]
    client.cookies.clear()

    answer = await verify(client, cookie=f"authsvc_access=planted; authsvc_access={token}")

    assert (400, "duplicate_credentials") == (answer.status_code, answer.json()["code"])


async def test_a_refresh_cookie_is_no_access_cookie(client: httpx.AsyncClient) -> None:
    await log_in(client, "spa")

    assert 401 == (await verify(client)).status_code


# No way around


async def test_no_other_method_is_ever_a_2xx(client: httpx.AsyncClient) -> None:
    """A gateway may pass the method on; a preflight's 204 would let it pass unknown."""
    preflight = {"origin": "http://localhost:5173", "access-control-request-method": "GET"}

    for method in ("OPTIONS", "POST", "PUT", "DELETE", "TRACE", "PROPFIND"):
        answer = await client.request(method, "/auth/verify", headers=preflight)
        spelled = await client.request(method, "/auth/%76erify", headers=preflight)

        assert (405, "GET, HEAD") == (answer.status_code, answer.headers["allow"])
        assert 404 == spelled.status_code


@pytest.mark.finding("11.16")
async def test_other_spellings_of_the_path_are_not_found(client: httpx.AsyncClient) -> None:
    for path in (
        "verify/",
        "/verify",
        "verify/healthz",
        "verify%2fx",
        "%76erify",
        "VERIFY",
        "verify;a",
    ):
        assert 404 == (await client.get(f"/auth/{path}")).status_code


@pytest.mark.settings(**BEHIND)
async def test_nothing_that_is_told_stands_for_a_credential(gateway: httpx.AsyncClient) -> None:
    for name, told in (
        ("x-forwarded-uri", "/healthz"),
        ("x-original-url", "/auth/login"),
        ("x-forwarded-host", "localhost"),
        ("x-forwarded-method", "OPTIONS"),
        ("user-agent", "kube-probe/1.30"),
        ("user-agent", "GoogleHC/1.0"),
    ):
        assert 401 == (await gateway.get("/auth/verify", headers={name: told})).status_code


async def test_a_body_changes_nothing(client: httpx.AsyncClient) -> None:
    token = (await log_in(client)).json()["access_token"]

    answer = await client.request(
        "GET",
        "/auth/verify",
        content=b'{"a": 1, "a": 2}',
        headers={"authorization": f"Bearer {token}", "content-type": "application/json"},
    )

    assert 200 == answer.status_code


@pytest.mark.requirement("T10")
async def test_an_oversized_token_is_refused(client: httpx.AsyncClient) -> None:
    assert 401 == (await verify(client, "a" * 1_000_000)).status_code


# The vectors


@pytest.fixture
def vector_keys(keys_dir: Path) -> None:
    """The vectors' keys among ours, as public halves; ours has succeeded them."""
    (ours,) = keys_dir.glob("*.pem")
    ours.rename(keys_dir / file_name(KeyKind.SIGNING, START - timedelta(minutes=1)))
    activation = START - timedelta(minutes=50)
    for jwk in TOKENS["jwks"]["keys"]:
        if jwk.get("alg") != "RS256" or jwk.get("use") != "sig":
            continue
        key = rsa_public_key(jwk)
        put(keys_dir, file_name(KeyKind.SIGNING, activation), pem.public_pem(key))
        activation += timedelta(minutes=1)


def vectors(kind: str) -> Iterator[dict[str, Any]]:
    """Those that come through a header as they are."""
    for vector in TOKENS[kind]:
        if vector["token"] and vector["token"].isprintable() and " " not in vector["token"]:
            yield vector


@pytest.mark.usefixtures("vector_keys")
@pytest.mark.settings(issuer=TOKENS["issuer"], audience=TOKENS["audience"])
async def test_every_good_vector_of_a_user_is_let_pass(new_client: ClientFactory) -> None:
    client = new_client(base_url="http://auth.example.com")

    for vector in vectors("valid"):
        answer = await verify(client, vector["token"])

        claims = vector["claims"]
        if "sid" not in claims or claims["sub"].startswith("grüße"):
            assert 403 == answer.status_code, vector["name"]
        else:
            assert (200, claims["sub"]) == (answer.status_code, answer.headers["x-user-id"])


@pytest.mark.requirement("T3", "T4", "T5", "T6", "T7", "T8", "T9", "T10", "T11")
@pytest.mark.usefixtures("vector_keys")
@pytest.mark.settings(issuer=TOKENS["issuer"], audience=TOKENS["audience"])
async def test_every_bad_vector_is_refused(new_client: ClientFactory) -> None:
    client = new_client(base_url="http://auth.example.com")
    refused = 0

    for vector in vectors("invalid"):
        answer = await verify(client, vector["token"])

        expected = 403 if "wrong_audience" == vector["reason"] else 401
        assert expected == answer.status_code, vector["name"]
        refused += 1
    assert 150 < refused


# What cannot be known


@pytest.fixture
def passed(app: FastAPI) -> list[float]:
    """Seconds that this process has run; what it knows from now on ages with them."""
    seconds = [1000.0]
    service: Service = app.state.service
    known = FollowedRevocations(
        service.db,
        service.keys,
        issuer=service.settings.issuer,
        monotonic=lambda: seconds[0],
    )
    app.state.service = replace(service, revocations=known)
    return seconds


@pytest.mark.requirement("D3", "D7")
async def test_what_is_revoked_is_refused_from_the_next_look_on(
    client: httpx.AsyncClient, app: FastAPI, passed: list[float]
) -> None:
    token = (await log_in(client)).json()["access_token"]
    known = app.state.service.revocations
    unknown = await verify(client, token)
    await known.look()
    before = await verify(client, token)
    authorized = {"Authorization": f"Bearer {token}"}
    assert 204 == (await client.post("/auth/logout", headers=authorized)).status_code
    await known.look()

    after = await verify(client, token)

    assert (503, "1") == (unknown.status_code, unknown.headers["retry-after"])
    assert 200 == before.status_code
    assert 401 == after.status_code
    assert 'error="invalid_token"' in after.headers["www-authenticate"]
    assert 1000.0 == passed[0]


@pytest.mark.requirement("T14")
async def test_a_change_of_roles_makes_a_token_stale(
    client: httpx.AsyncClient, app: FastAPI, alice: dict[str, Any], passed: list[float]
) -> None:
    """Refreshed, it says what is true now; nobody is logged out."""
    session = (await log_in(client)).json()
    service = app.state.service
    await set_account_roles(service.db, UUID(alice["id"]), ["editor"], caller=CALLER)
    await service.revocations.look()

    assert 401 == (await verify(client, session["access_token"])).status_code
    fresh = (await refresh(client, session["refresh_token"])).json()["access_token"]
    answer = await verify(client, fresh)

    assert (200, "editor") == (answer.status_code, answer.headers["x-user-roles"])
    assert 1000.0 == passed[0]


@pytest.mark.requirement("D5", "T14")
async def test_a_disabled_user_is_refused(
    client: httpx.AsyncClient, app: FastAPI, alice: dict[str, Any], passed: list[float]
) -> None:
    token = (await log_in(client)).json()["access_token"]
    service = app.state.service
    await disable_account(service.db, UUID(alice["id"]), caller=CALLER)
    await service.revocations.look()

    assert 401 == (await verify(client, token)).status_code
    assert 1000.0 == passed[0]


@pytest.mark.requirement("D7")
async def test_knowledge_that_is_too_old_lets_nobody_in(
    client: httpx.AsyncClient, app: FastAPI, passed: list[float]
) -> None:
    token = (await log_in(client)).json()["access_token"]
    await app.state.service.revocations.look()

    passed[0] += 1.0
    assert 200 == (await verify(client, token)).status_code
    passed[0] += 0.1
    assert 503 == (await verify(client, token)).status_code


# What operators see


async def test_every_request_counts_under_its_outcome(
    client: httpx.AsyncClient, app: FastAPI
) -> None:
    before = await read(client)
    await verify(client, issued(app))
    await verify(client, issued(app), query="roles=admin")
    await verify(client)
    await verify(client, "garbage")
    await verify(client, query="role=admin")

    after = await read(client)

    for outcome in ("allowed", "roles", "no_credential", "malformed", "validation_error"):
        name = "authsvc_verify_total"
        grown = value(after, name, outcome=outcome) - value(before, name, outcome=outcome)
        assert (outcome, 1) == (outcome, grown)
        assert outcome in VERIFY_OUTCOMES


# Identity assertions

ASSERTING = {
    **BEHIND,
    "assertion_upstreams": "orders, billing=role:billing role:admin scope:invoices.read",
}


def read_assertion(app: FastAPI, assertion: str, upstream: str = "orders") -> IdentityClaims:
    """As the service behind the gateway reads it."""
    jws = read_jws(assertion, TYP)
    return verify_identity_assertion(
        jws,
        app.state.service.keys.ring.public_key(jws.kid, START),
        issuer="http://localhost:8000",
        upstream=upstream,
        now=START,
    )


@pytest.mark.settings(**ASSERTING)
async def test_a_trusted_proxy_gets_an_assertion_for_the_service_it_names(
    gateway: httpx.AsyncClient, app: FastAPI
) -> None:
    token = issued(app, roles=("editor",), scope="orders:read")

    answer = await verify(gateway, token, query="upstream=orders&roles=editor")

    claims = read_assertion(app, answer.headers["x-identity-assertion"])
    assert (str(UUID(int=7)), UUID(int=8)) == (claims.sub, claims.sid)
    assert (("editor",), "orders:read") == (claims.roles, claims.scope)
    with pytest.raises(WrongAudience):
        read_assertion(app, answer.headers["x-identity-assertion"], "billing")


@pytest.mark.requirement("L3")
@pytest.mark.settings(**ASSERTING)
async def test_nobody_else_gets_one(
    gateway: httpx.AsyncClient, client: httpx.AsyncClient, app: FastAPI
) -> None:
    token = issued(app)

    stranger = await verify(client, token, query="upstream=orders", x_forwarded_for=GATEWAY)
    unlisted = await verify(gateway, token, query="upstream=payments")
    unasked = await verify(gateway, token)

    assert [403, 422, 200] == [a.status_code for a in (stranger, unlisted, unasked)]
    assert "" == unasked.headers["x-identity-assertion"]


@pytest.mark.requirement("T9")
@pytest.mark.settings(**ASSERTING)
async def test_no_endpoint_takes_an_assertion_for_an_access_token(
    gateway: httpx.AsyncClient, app: FastAPI
) -> None:
    asked = await verify(gateway, issued(app), query="upstream=orders")
    bearer = {"authorization": f"Bearer {asked.headers['x-identity-assertion']}"}

    for method, path in (
        ("GET", "/auth/verify"),
        ("GET", "/auth/me"),
        ("GET", "/auth/sessions"),
        ("POST", "/auth/logout"),
    ):
        answer = await gateway.request(method, path, headers=bearer)

        assert (path, 401) == (path, answer.status_code)


@pytest.mark.finding("11.16")
@pytest.mark.parametrize(
    ("roles", "scope", "query", "status"),
    [
        (("billing",), "invoices.read", "", 200),
        (("admin", "editor"), "invoices.read orders:read", "", 200),
        (("editor",), "invoices.read", "", 403),
        (("billing",), "orders:read", "", 403),
        # What the query says counts besides, and never instead.
        (("editor",), "invoices.read", "&roles=editor", 403),
        (("billing",), "orders:read", "&scope=orders:read", 403),
        (("billing",), "invoices.read", "&roles=editor", 403),
        (("billing", "editor"), "invoices.read", "&roles=editor", 200),
        (("billing",), "invoices.read", "&scope=orders:read", 403),
    ],
)
@pytest.mark.settings(**ASSERTING)
async def test_what_an_upstream_demands_is_bound_to_its_name(
    gateway: httpx.AsyncClient,
    app: FastAPI,
    roles: tuple[str, ...],
    scope: str,
    query: str,
    status: int,
) -> None:
    """A query can name the upstream and add demands; it cannot relax those of the setting."""
    token = issued(app, roles=roles, scope=scope)

    answer = await verify(gateway, token, query=f"upstream=billing{query}")

    assert status == answer.status_code
    assert (status == 200) is ("x-identity-assertion" in answer.headers)


@pytest.mark.settings(**BEHIND)
async def test_without_the_setting_nothing_is_signed(
    gateway: httpx.AsyncClient, app: FastAPI
) -> None:
    assert 422 == (await verify(gateway, issued(app), query="upstream=orders")).status_code


@pytest.mark.finding("N08")
@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("upstream=orders", "query.upstream: Name one of AUTHSVC_ASSERTION_UPSTREAMS."),
        ("roles=a%20b", "query.roles: Name roles"),
        ("rolle=admin", "query: Give each of"),
    ],
)
async def test_a_slip_of_the_gateway_is_a_warning_that_names_it(
    client: httpx.AsyncClient, capsys: pytest.CaptureFixture[str], query: str, told: str
) -> None:
    """Nginx and HAProxy throw the body away and answer 500 or 503."""
    tokens = (await log_in(client)).json()
    capsys.readouterr()

    answer = await verify(client, tokens["access_token"], query=query)

    (line,) = capsys.readouterr().out.splitlines()
    assert 422 == answer.status_code
    assert {"level": "warning", "code": "validation_error"}.items() <= json.loads(line).items()
    assert json.loads(line)["detail"].startswith(told)
