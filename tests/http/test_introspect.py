"""POST /oauth/introspect: the truth of this moment, for those whom a token is meant for."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import httpx
import pytest
import structlog.testing
from fastapi import FastAPI

from authsvc.app import Application
from authsvc.protocol.clients import AuthMethod
from authsvc.store import clients, users
from tests.http.conftest import BASE_URL, EMAIL, ClientFactory, MovableClock, log_in, refresh
from tests.http.oauth import (
    BILLING,
    INTROSPECT,
    ORDERS,
    REVOKE,
    TOKEN,
    ask,
    assertion,
    basic,
    error,
    register,
    register_with_keys,
)

INACTIVE = b'{"active":false}'


@pytest.fixture
async def orders(app: FastAPI) -> dict[str, str]:
    """Credentials of a service that gets tokens from users and from `shop`."""
    secret = await register(
        app, client_id="orders", resources=(), scopes=(), audiences=("authsvc", ORDERS)
    )
    return basic("orders", secret)


async def introspected(
    client: httpx.AsyncClient, credentials: dict[str, str], token: str, **form: str
) -> httpx.Response:
    return await client.post(INTROSPECT, data={"token": token, **form}, headers=credentials)


async def is_active(client: httpx.AsyncClient, credentials: dict[str, str], token: str) -> bool:
    answer = await introspected(client, credentials, token)
    assert 200 == answer.status_code
    active: bool = answer.json()["active"]
    assert active or answer.content == INACTIVE
    return active


@pytest.mark.requirement("Q1")
async def test_a_clients_token_says_what_it_says(
    client: httpx.AsyncClient, app: FastAPI, orders: dict[str, str]
) -> None:
    token = (await ask(client, await register(app))).json()["access_token"]

    answer = await introspected(client, orders, token)

    body = answer.json()
    assert "no-store" == answer.headers["cache-control"]
    assert {
        "active": True,
        "token_type": "Bearer",
        "iss": BASE_URL,
        "sub": "shop",
        "aud": ORDERS,
        "client_id": "shop",
        "scope": "orders:read orders:write",
        "exp": body["iat"] + 900,
        "iat": body["iat"],
        "nbf": body["iat"] - 30,
        "jti": body["jti"],
    } == body


@pytest.mark.requirement("Q1")
async def test_a_users_token_tells_of_the_user_as_they_are_now(
    client: httpx.AsyncClient, app: FastAPI, alice: dict[str, Any], orders: dict[str, str]
) -> None:
    login = (await log_in(client)).json()
    async with app.state.service.db.transaction() as session:
        await users.set_roles(session, alice["id"], ["editor"])

    body = (await introspected(client, orders, login["access_token"])).json()

    assert (alice["id"], login["session_id"], ["editor"], "authsvc", "authsvc", ["pwd"]) == tuple(
        body[name] for name in ("sub", "sid", "roles", "aud", "client_id", "amr")
    )
    assert EMAIL not in str(body)


@pytest.mark.requirement("Q1", "Q2")
async def test_whatever_is_not_good_is_inactive_in_the_same_bytes(
    client: httpx.AsyncClient, app: FastAPI, alice: dict[str, Any], orders: dict[str, str]
) -> None:
    assert alice
    login = (await log_in(client)).json()
    secret = await register(app, resources=(ORDERS, BILLING))
    for_billing = (await ask(client, secret, resource=BILLING)).json()["access_token"]
    for_orders = (await ask(client, secret, resource=ORDERS)).json()["access_token"]
    tokens = {
        "for another service": for_billing,
        "refresh token": login["refresh_token"],
        "a secret": secret,
        "garbage": "x",
        "no signature": for_orders.rpartition(".")[0] + ".",
        "another's signature": f"{for_orders.rpartition('.')[0]}.{for_billing.rpartition('.')[2]}",
        "unsigned": "eyJhbGciOiJub25lIn0.e30.x",
        "an assertion": assertion()["client_assertion"],
        "text": "ü\U0001f600",
        "long": "e" * 15_000,
    }

    answers = {name: await introspected(client, orders, token) for name, token in tokens.items()}

    assert dict.fromkeys(tokens, (200, INACTIVE)) == {
        name: (answer.status_code, answer.content) for name, answer in answers.items()
    }
    changing = {"x-request-id"}
    heads = {
        tuple(item for item in answer.headers.multi_items() if item[0] not in changing)
        for answer in answers.values()
    }
    assert 1 == len(heads)


@pytest.mark.requirement("Q1", "T14")
@pytest.mark.parametrize("ending", ["logout", "disabled", "reused", "expired"])
async def test_what_ends_a_session_is_seen_at_once(
    client: httpx.AsyncClient,
    app: FastAPI,
    alice: dict[str, Any],
    orders: dict[str, str],
    clock: MovableClock,
    ending: str,
) -> None:
    login = (await log_in(client)).json()
    token = login["access_token"]
    before = await is_active(client, orders, token)

    if ending == "logout":
        await client.post("/auth/logout", json={"refresh_token": login["refresh_token"]})
    elif ending == "disabled":
        async with app.state.service.db.transaction() as session:
            await users.set_disabled(session, alice["id"], disabled=True)
    elif ending == "reused":
        await refresh(client, login["refresh_token"])
        assert 401 == (await refresh(client, login["refresh_token"])).status_code
    else:
        clock.advance(timedelta(seconds=931))

    assert (True, False) == (before, await is_active(client, orders, token))


@pytest.mark.requirement("Q1", "Q3")
@pytest.mark.parametrize("ending", ["revoked", "disabled", "expired"])
async def test_what_ends_a_clients_token_is_seen_at_once(
    client: httpx.AsyncClient,
    app: FastAPI,
    orders: dict[str, str],
    clock: MovableClock,
    ending: str,
) -> None:
    secret = await register(app)
    token = (await ask(client, secret)).json()["access_token"]
    other = (await ask(client, secret)).json()["access_token"]
    before = await is_active(client, orders, token)

    if ending == "revoked":
        await client.post(REVOKE, data={"token": token}, headers=basic("shop", secret))
    elif ending == "disabled":
        async with app.state.service.db.transaction() as session:
            await clients.set_disabled(session, "shop", disabled=True)
    else:
        clock.advance(timedelta(seconds=931))

    assert (True, False) == (before, await is_active(client, orders, token))
    assert (ending == "revoked") == await is_active(client, orders, other)


@pytest.mark.requirement("Q1")
async def test_the_client_of_a_token_may_not_look_into_it(
    client: httpx.AsyncClient, app: FastAPI
) -> None:
    """CVE-2026-37979: a token is told to whom it is for, not to whoever holds it."""
    secret = await register(app)
    token = (await ask(client, secret)).json()["access_token"]

    assert not await is_active(client, basic("shop", secret), token)


@pytest.mark.requirement("Q1", "A1")
@pytest.mark.parametrize(
    ("headers", "form"),
    [
        ({}, {}),
        ({}, {"client_id": "orders"}),
        ({}, {"client_id": "authsvc"}),
        ({}, {"client_id": "orders", "client_secret": "wrong"}),
        (basic("orders", "wrong"), {}),
        (basic("orders", ""), {}),
        ({"authorization": "Bearer x"}, {}),
    ],
    ids=repr,
)
@pytest.mark.usefixtures("orders")
async def test_only_confidential_clients_may_ask(
    client: httpx.AsyncClient, headers: dict[str, str], form: dict[str, str]
) -> None:
    answer = await client.post(INTROSPECT, data={"token": "x", **form}, headers=headers)

    assert (401, "invalid_client") == error(answer)


@pytest.mark.requirement("L4")
@pytest.mark.settings(client_failures_per_minute=5)
async def test_guesses_count_over_all_endpoints(
    new_client: ClientFactory, orders: dict[str, str]
) -> None:
    elsewhere = new_client("198.51.100.1")
    wrong = basic("orders", "wrong")
    for path in (TOKEN, INTROSPECT, REVOKE, TOKEN, INTROSPECT):
        guess = await elsewhere.post(path, data={"token": "x"}, headers=wrong)
        assert (401, "invalid_client") == error(guess)

    throttled = await elsewhere.post(INTROSPECT, data={"token": "x"}, headers=wrong)

    assert (429, "temporarily_unavailable") == error(throttled)
    assert 200 == (await introspected(elsewhere, orders, "x")).status_code


@pytest.mark.requirement("A6")
async def test_an_assertion_is_used_up_by_whatever_endpoint_took_it(
    client: httpx.AsyncClient, app: FastAPI
) -> None:
    await register_with_keys(app, audiences=(ORDERS,))
    spent = assertion()

    first = await client.post(INTROSPECT, data={"token": "x", **spent})
    again = await client.post(TOKEN, data={"grant_type": "client_credentials", **spent})

    assert INACTIVE == first.content
    assert (401, "invalid_client") == error(again)


async def test_without_a_token_there_is_nothing_to_ask(
    client: httpx.AsyncClient, orders: dict[str, str]
) -> None:
    for body in ({}, {"token": ""}, {"token_type_hint": "access_token"}):
        assert (400, "invalid_request") == error(
            await client.post(INTROSPECT, data={**body, "x": "y"}, headers=orders)
        )


async def test_a_hint_changes_nothing(
    client: httpx.AsyncClient, app: FastAPI, orders: dict[str, str]
) -> None:
    token = (await ask(client, await register(app))).json()["access_token"]

    for hint in ("refresh_token", "nonsense", "access_token"):
        answer = await introspected(client, orders, token, token_type_hint=hint)
        assert answer.json()["active"]


@pytest.mark.requirement("A1")
async def test_every_method_of_authentication_works_here(
    client: httpx.AsyncClient, app: FastAPI
) -> None:
    secret = await register(app, auth_method=AuthMethod.CLIENT_SECRET_POST)

    answer = await client.post(
        INTROSPECT, data={"token": "x", "client_id": "shop", "client_secret": secret}
    )

    assert (200, INACTIVE) == (answer.status_code, answer.content)


@pytest.mark.finding("N27")
async def test_the_log_has_client_and_outcome(
    client: httpx.AsyncClient,
    app: Application,
    orders: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log = structlog.testing.CapturingLogger()
    monkeypatch.setattr(app.edge, "_log", log)

    await client.post(INTROSPECT, data={"token": "nonsense"}, headers=orders)

    (line,) = [call.kwargs for call in log.calls]
    assert (INTROSPECT, "orders", "inactive") == (line["route"], line["client_id"], line["outcome"])
