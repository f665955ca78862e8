"""POST /oauth/token, as RFC 6749 writes it, and whatever else arrives there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import httpx
import jwt
import pytest
from fastapi import FastAPI

from authsvc.app import create_app
from authsvc.http.oauth.token import GRANTS
from authsvc.protocol.audit import AuditEvent
from authsvc.protocol.clients import AuthMethod, GrantType
from authsvc.settings import Settings
from authsvc.store import clients
from tests.conftest import Statements
from tests.http.conftest import BASE_URL, ClientFactory, MovableClock
from tests.http.oauth import (
    BILLING,
    GRANT,
    INTROSPECT,
    ORDERS,
    REVOKE,
    TOKEN,
    ask,
    assertion,
    basic,
    error,
    jwks,
    register,
    register_with_keys,
)
from tests.support.small import client_of
from tests.support.web import web

FORM = {"content-type": "application/x-www-form-urlencoded"}


def test_every_grant_type_is_granted_by_a_function_of_its_own() -> None:
    assert set(GrantType) == set(GRANTS)
    assert len(GRANTS) == len(set(GRANTS.values()))


def claims_of(answer: httpx.Response) -> dict[str, Any]:
    assert 200 == answer.status_code, answer.text
    claims: dict[str, Any] = jwt.decode(
        answer.json()["access_token"], options={"verify_signature": False}
    )
    return claims


@pytest.mark.requirement("T2", "T15")
async def test_a_client_gets_a_token_of_its_own(client: httpx.AsyncClient, app: FastAPI) -> None:
    secret = await register(app)

    answer = await ask(client, secret)

    assert ("no-store", "no-cache") == (answer.headers["cache-control"], answer.headers["pragma"])
    claims = claims_of(answer)
    assert {
        "token_type": "Bearer",
        "expires_in": 900,
        "scope": "orders:read orders:write",
        "access_token": answer.json()["access_token"],
    } == answer.json()
    assert {
        "iss": BASE_URL,
        "sub": "shop",
        "aud": ORDERS,
        "client_id": "shop",
        "scope": "orders:read orders:write",
        "exp": claims["iat"] + 900,
        "iat": claims["iat"],
        "nbf": claims["iat"] - 30,
        "jti": claims["jti"],
    } == claims


@pytest.mark.requirement("A1")
@pytest.mark.parametrize("registered", AuthMethod)
@pytest.mark.parametrize("used", AuthMethod)
async def test_only_the_registered_method_works(
    client: httpx.AsyncClient, app: FastAPI, registered: AuthMethod, used: AuthMethod
) -> None:
    if registered is AuthMethod.PRIVATE_KEY_JWT:
        await register_with_keys(app)
        secret = "acs1.none"
    else:
        secret = await register(app, auth_method=registered)
    ways: dict[AuthMethod, dict[str, Any]] = {
        AuthMethod.CLIENT_SECRET_BASIC: {"data": GRANT, "headers": basic("shop", secret)},
        AuthMethod.CLIENT_SECRET_POST: {
            "data": {**GRANT, "client_id": "shop", "client_secret": secret}
        },
        AuthMethod.PRIVATE_KEY_JWT: {"data": {**GRANT, **assertion()}},
    }

    answer = await client.post(TOKEN, **ways[used])

    if used is registered:
        assert 200 == answer.status_code, answer.text
    else:
        assert (401, "invalid_client") == error(answer)


@pytest.mark.requirement("A2")
@pytest.mark.parametrize(
    "headers",
    [
        {},
        basic("shop", "wrong"),
        basic("shop", ""),
        basic("nobody", "wrong"),
        basic("Not An Id\0", "wrong"),
        basic("shop", "wrong\0"),
        {"authorization": "Bearer eyJhbGciOiJub25lIn0.e30."},
        {"authorization": "Basic"},
        {"authorization": "Basic !!!"},
        {"authorization": "Basic " + 8000 * "A"},
        {"authorization": "Negotiate abc"},
    ],
    ids=lambda headers: headers.get("authorization", "none")[:24],
)
async def test_failed_authentication_is_401_with_a_challenge(
    client: httpx.AsyncClient, app: FastAPI, headers: dict[str, str]
) -> None:
    await register(app)

    answer = await client.post(TOKEN, data=GRANT, headers=headers)

    assert (401, "invalid_client") == error(answer)
    assert answer.headers["www-authenticate"].startswith('Basic realm="')


@pytest.mark.requirement("A1", "A3", "A8")
@pytest.mark.parametrize(
    "extra",
    [
        {"client_secret": "x"},
        {"client_id": "shop", "client_secret": "x"},
        {"client_assertion": "x"},
        {"client_assertion_type": "x"},
        {"client_id": "another"},
        {"client_id": "shop\n"},
    ],
    ids=repr,
)
async def test_two_credentials_or_two_names_are_invalid_and_not_tried(
    client: httpx.AsyncClient, app: FastAPI, extra: dict[str, str]
) -> None:
    secret = await register(app)

    answer = await ask(client, secret, **extra)

    assert (400, "invalid_request") == error(answer)


@pytest.mark.requirement("A6", "A8")
async def test_an_assertion_works_once(client: httpx.AsyncClient, app: FastAPI) -> None:
    await register_with_keys(app)
    spent = assertion()

    first = await client.post(TOKEN, data={**GRANT, **spent})
    again = await client.post(TOKEN, data={**GRANT, **spent})

    assert 200 == first.status_code
    assert (401, "invalid_client") == error(again)


@pytest.fixture
async def replica(settings: Settings, clock: MovableClock) -> AsyncIterator[FastAPI]:
    """Another process of the same service, as far as the database can tell."""
    application = create_app(settings, clock=clock)
    async with application.router.lifespan_context(application):
        yield application


@pytest.mark.requirement("A6")
async def test_an_assertion_that_one_replica_took_is_refused_by_another(
    client: httpx.AsyncClient, app: FastAPI, replica: FastAPI
) -> None:
    await register_with_keys(app)
    spent = assertion()

    first = await client.post(TOKEN, data={**GRANT, **spent})
    again = await client_of(replica).post(TOKEN, data={**GRANT, **spent})

    assert 200 == first.status_code
    assert (401, "invalid_client") == error(again)


@pytest.mark.requirement("A5")
@pytest.mark.parametrize(
    "claims",
    [
        {"aud": [BASE_URL]},
        {"aud": f"{BASE_URL}{TOKEN}"},
        {"aud": "https://elsewhere.example"},
        {"iss": "another"},
        {"sub": "sh\0op"},
        {"sub": "\ud800"},
        {"jti": ""},
        {"jti": None},
        {"exp": 0},
        {"exp": 10**18},
    ],
    ids=repr,
)
async def test_a_wrong_assertion_is_refused_like_any_other_credential(
    client: httpx.AsyncClient, app: FastAPI, claims: dict[str, Any]
) -> None:
    await register_with_keys(app)

    answer = await client.post(TOKEN, data={**GRANT, **assertion(**claims)})

    assert (401, "invalid_client") == error(answer)


@pytest.mark.requirement("O16")
@pytest.mark.parametrize(
    ("form", "refusal"),
    [
        ({"grant_type": ""}, (400, "invalid_request")),
        ({"grant_type": "password"}, (400, "unsupported_grant_type")),
        ({"grant_type": "CLIENT_CREDENTIALS"}, (400, "unsupported_grant_type")),
        ({"grant_type": "refresh_token"}, (400, "unsupported_grant_type")),
        ({"scope": "admin"}, (400, "invalid_scope")),
        ({"scope": "orders:read admin"}, (400, "invalid_scope")),
        ({"scope": "orders:read  orders:write"}, (400, "invalid_scope")),
        ({"resource": BILLING}, (400, "invalid_target")),
    ],
    ids=repr,
)
async def test_a_grant_that_cannot_be_is_refused_by_its_name(
    client: httpx.AsyncClient, app: FastAPI, form: dict[str, str], refusal: tuple[int, str]
) -> None:
    secret = await register(app)

    assert refusal == error(await ask(client, secret, **form))


@pytest.mark.requirement("O16")
async def test_a_grant_that_the_client_was_not_given_is_refused(
    client: httpx.AsyncClient, app: FastAPI
) -> None:
    secret = await register(app, grant_types=())

    assert (400, "unauthorized_client") == error(await ask(client, secret))


@pytest.mark.requirement("O12")
async def test_a_token_is_for_the_resource_that_was_named(
    client: httpx.AsyncClient, app: FastAPI
) -> None:
    secret = await register(app, resources=(ORDERS, BILLING))
    twice = urlencode({**GRANT, "resource": ORDERS}) + "&" + urlencode({"resource": BILLING})

    named = await ask(client, secret, resource=BILLING, scope="orders:read")
    unnamed = await ask(client, secret)
    both = await client.post(TOKEN, content=twice, headers={**FORM, **basic("shop", secret)})

    assert (BILLING, "orders:read") == (claims_of(named)["aud"], claims_of(named)["scope"])
    assert (400, "invalid_target") == error(unnamed)
    assert (400, "invalid_target") == error(both)


async def test_a_client_without_scopes_gets_a_token_without(
    client: httpx.AsyncClient, app: FastAPI
) -> None:
    secret = await register(app, scopes=())

    answer = await ask(client, secret)

    assert "scope" not in claims_of(answer)
    assert "scope" not in answer.json()


@pytest.mark.requirement("B4")
@pytest.mark.parametrize(
    ("content", "refusal"),
    [
        (b"", (401, "invalid_client")),
        (b"grant_type=client_credentials&grant_type=client_credentials", (400, "invalid_request")),
        (b"grant_type=client_credentials;scope=x", (400, "invalid_request")),
        (b"grant_type=client_credentials&scope=%00", (400, "invalid_request")),
        (b"grant_type=client_credentials&scope=%zz", (400, "invalid_request")),
        (b"grant_type=client_credentials&scope=\xff", (400, "invalid_request")),
        (b"&" * 100, (400, "invalid_request")),
        (b"a=" + 16 * 1024 * b"x", (413, "invalid_request")),
        (b"a=" + 64 * 1024 * b"x", (413, "invalid_request")),
    ],
    ids=lambda value: repr(value)[:40],
)
async def test_a_form_that_is_none_is_refused_in_the_words_of_rfc_6749(
    client: httpx.AsyncClient, content: bytes, refusal: tuple[int, str]
) -> None:
    answer = await client.post(TOKEN, content=content, headers=FORM)

    assert refusal == error(answer)


@pytest.mark.requirement("B4")
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"content-type": "application/json"},
        {"content-type": "multipart/form-data; boundary=x"},
        {"content-type": "text/plain"},
        {"content-type": "application/x-www-form-urlencoded; charset=utf-16"},
        {"content-type": "application/x-www-form-urlencoded, text/plain"},
        {**FORM, "content-encoding": "gzip"},
    ],
    ids=repr,
)
async def test_another_content_type_is_415(
    client: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    answer = await client.post(TOKEN, content=urlencode(GRANT).encode(), headers=headers)

    assert (415, "invalid_request") == error(answer)


@pytest.mark.finding("P27")
@pytest.mark.parametrize("path", [TOKEN, INTROSPECT, REVOKE])
@pytest.mark.parametrize(
    ("request_", "cause"),
    [
        ({"headers": {**FORM, "content-encoding": "gzip"}}, "Content-Encoding"),
        ({"headers": {"content-type": f"{FORM['content-type']}; charset=iso-8859-1"}}, "charset"),
        ({"headers": {"content-type": "text/plain"}}, "x-www-form-urlencoded."),
        ({"content": b"a=\xfc"}, "percent-encode"),
        ({"content": b"\xef\xbb\xbfa=1"}, "percent-encode"),
        ({"content": b"a=1;b=2"}, "percent-encode"),
        ({"content": b"a=1&a=2"}, "more than once"),
        ({"params": {"a": "1"}}, "query"),
        ({"headers": {**FORM, **basic("shop", "x")}, "content": b"client_secret=x"}, "exactly one"),
        ({"headers": {**FORM, **basic("shop", "x")}, "content": b"client_id=y"}, "client_id"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_refused_form_is_told_its_own_cause(
    client: httpx.AsyncClient, path: str, request_: dict[str, Any], cause: str
) -> None:
    answer = await client.post(path, **{"content": b"a=1", "headers": FORM, **request_})

    assert "invalid_request" == error(answer)[1]
    assert cause in answer.json()["error_description"]


@pytest.mark.finding("P27")
@pytest.mark.parametrize(
    ("path", "name"), [(TOKEN, "grant_type"), (INTROSPECT, "token"), (REVOKE, "token")]
)
async def test_a_missing_parameter_is_named(
    client: httpx.AsyncClient, app: FastAPI, path: str, name: str
) -> None:
    secret = await register(app)

    answer = await client.post(path, content=b"", headers={**FORM, **basic("shop", secret)})

    assert (400, "invalid_request") == error(answer)
    assert f"'{name}'" in answer.json()["error_description"]


async def test_the_content_type_may_name_its_charset(
    client: httpx.AsyncClient, app: FastAPI
) -> None:
    secret = await register(app)
    headers = {"content-type": f"{FORM['content-type']}; charset=UTF-8", **basic("shop", secret)}

    answer = await client.post(TOKEN, content=urlencode(GRANT), headers=headers)

    assert 200 == answer.status_code


@pytest.mark.requirement("B4")
async def test_nothing_is_read_from_the_query(client: httpx.AsyncClient, app: FastAPI) -> None:
    secret = await register(app, auth_method=AuthMethod.CLIENT_SECRET_POST)
    query = urlencode({"client_id": "shop", "client_secret": secret})

    answer = await client.post(f"{TOKEN}?{query}", data=GRANT)

    assert (400, "invalid_request") == error(answer)


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH"])
async def test_it_takes_post_only(client: httpx.AsyncClient, method: str) -> None:
    answer = await client.request(method, TOKEN)

    assert (405, "POST") == (answer.status_code, answer.headers["allow"])
    if method != "HEAD":
        assert (405, "invalid_request") == error(answer)


async def test_what_the_edge_refuses_is_refused_in_the_same_words(
    client: httpx.AsyncClient,
) -> None:
    answer = await client.post(TOKEN, data=GRANT, headers={"host": "evil.example"})

    assert (400, "invalid_request") == error(answer)


@pytest.mark.requirement("L4")
@pytest.mark.finding("11.2")
async def test_a_neighbour_with_a_wrong_secret_keeps_nobody_out(
    client: httpx.AsyncClient, app: FastAPI
) -> None:
    """From the same address, with the same client's name, however often."""
    secret = await register(app)

    guesses = [error(await ask(client, "wrong")) for _ in range(60)]

    assert 60 * [(401, "invalid_client")] == guesses
    assert 200 == (await ask(client, secret)).status_code


@pytest.mark.requirement("L4")
@pytest.mark.finding("11.2")
@pytest.mark.settings(client_failures_per_minute=20)
async def test_failures_of_clients_are_capped_per_network_and_right_secrets_never_wait(
    client: httpx.AsyncClient, new_client: ClientFactory, app: FastAPI, clock: MovableClock
) -> None:
    secret = await register(app)

    async def guess(who: httpx.AsyncClient, number: int = 0) -> httpx.Response:
        return await who.post(TOKEN, data=GRANT, headers=basic(f"x{number}", "wrong"))

    guesses = [(await guess(client, number)).status_code for number in range(20)]
    refused = await guess(client)
    clock.advance(timedelta(seconds=int(refused.headers["retry-after"])))

    assert 20 * [401] == guesses
    assert (429, "temporarily_unavailable") == error(refused)
    assert 200 == (await ask(client, secret)).status_code
    assert 401 == (await guess(client)).status_code
    assert 401 == (await guess(new_client("198.51.100.1"))).status_code


async def test_a_disabled_client_is_refused_like_an_unknown_one(
    client: httpx.AsyncClient, app: FastAPI
) -> None:
    secret = await register(app)
    async with app.state.service.db.transaction() as session:
        await clients.set_disabled(session, "shop", disabled=True)

    disabled = await ask(client, secret)
    unknown = await client.post(TOKEN, data=GRANT, headers=basic("nobody", secret))

    assert (401, "invalid_client") == error(disabled)
    assert unknown.content == disabled.content


@pytest.mark.requirement("S4")
async def test_a_failure_is_audited_with_its_cause_and_client(
    client: httpx.AsyncClient, app: FastAPI
) -> None:
    await register(app)

    answer = await ask(client, "wrong")

    async with app.state.service.db.autocommit() as connection:
        row = await connection.fetchrow("SELECT event, details, request_id FROM audit_records")
    assert (
        AuditEvent.CLIENT_AUTHENTICATION_FAILED,
        '{"cause": "wrong_secret", "client_id": "shop"}',
        answer.headers["x-request-id"],
    ) == tuple(row)


@pytest.mark.settings(database_url="postgresql://localhost:1/nowhere")
async def test_without_a_database_the_answer_is_503(client: httpx.AsyncClient) -> None:
    answer = await ask(client, "secret")

    assert (503, "temporarily_unavailable") == error(answer)


@pytest.mark.requirement("T15")
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/auth/me"),
        ("GET", "/auth/sessions"),
        ("DELETE", "/auth/sessions/0199f3a2-0b7e-7d3a-8c51-2e0d5a9c4f10"),
        ("POST", "/auth/logout"),
        ("POST", "/auth/password/change"),
    ],
)
async def test_endpoints_for_users_refuse_the_token_of_a_client(
    client: httpx.AsyncClient, app: FastAPI, method: str, path: str
) -> None:
    """Even one whose `aud` is ours."""
    secret = await register(app, resources=("authsvc",))
    token = (await ask(client, secret)).json()["access_token"]
    body = {"current_password": "x" * 9, "new_password": "y" * 9} if "change" in path else None

    answer = await client.request(
        method, path, json=body, headers={"authorization": f"Bearer {token}"}
    )

    assert (401, "unauthenticated") == (answer.status_code, answer.json()["code"])


async def test_a_token_costs_one_statement_and_with_an_assertion_two(
    client: httpx.AsyncClient, app: FastAPI, statements: Statements
) -> None:
    secret = await register(app)
    await register_with_keys(app, client_id="keyed")
    await ask(client, secret)  # the first connection
    await client.post(TOKEN, data={**GRANT, **assertion("keyed")})

    statements.clear()
    await ask(client, secret)
    by_secret = len(statements)
    statements.clear()
    await client.post(TOKEN, data={**GRANT, **assertion("keyed")})

    assert (1, 2) == (by_secret, len(statements))


async def test_tokens_and_refusals_are_counted(client: httpx.AsyncClient, app: FastAPI) -> None:
    async def count(outcome: str) -> float:
        text = (await client.get("/metrics")).text
        name = f'authsvc_client_token_total{{outcome="{outcome}"}} '
        return next(float(line.removeprefix(name)) for line in text.splitlines() if name in line)

    secret = await register(app)
    before = [await count("issued"), await count("invalid_client"), await count("invalid_scope")]

    await ask(client, secret)
    await ask(client, "wrong")
    await ask(client, secret, scope="admin")

    after = [await count("issued"), await count("invalid_client"), await count("invalid_scope")]
    assert [1, 1, 1] == [now - then for now, then in zip(after, before, strict=True)]


@pytest.mark.requirement("A7")
async def test_keys_that_a_client_publishes_itself_are_used(
    client: httpx.AsyncClient, app: FastAPI
) -> None:
    with web() as shop:
        await register_with_keys(app, jwks=None, jwks_uri=f"http://localhost:{shop.port}/jwks.json")
        shop.body = jwks().encode()

        answers = [await client.post(TOKEN, data={**GRANT, **assertion()}) for _ in range(3)]

        assert [200, 200, 200] == [answer.status_code for answer in answers]
        assert 1 == len(shop.requests)


@pytest.mark.requirement("A7")
async def test_while_its_keys_cannot_be_had_a_client_waits_and_is_not_blamed(
    client: httpx.AsyncClient, app: FastAPI, clock: MovableClock
) -> None:
    with web() as shop:
        await register_with_keys(app, jwks=None, jwks_uri=f"http://localhost:{shop.port}/jwks.json")
        shop.status = 500

        failed = [await client.post(TOKEN, data={**GRANT, **assertion()}) for _ in range(7)]
        shop.status, shop.body = 200, jwks().encode()
        clock.advance(timedelta(seconds=10))
        later = await client.post(TOKEN, data={**GRANT, **assertion(now=clock.now())})

        assert 7 * [(503, "temporarily_unavailable")] == [error(answer) for answer in failed]
        assert 200 == later.status_code
