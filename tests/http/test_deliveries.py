"""The three deliveries: what is in the body, what is in cookies, with which attributes."""

from __future__ import annotations

from datetime import timedelta
from http.cookies import SimpleCookie
from typing import Any

import httpx
import pytest

from tests.http.conftest import MovableClock, log_in, refresh

pytestmark = pytest.mark.usefixtures("alice")
HTTPS = "https://auth.example.com"
ALWAYS = {
    "token_type",
    "expires_in",
    "refresh_expires_in",
    "session_expires_at",
    "session_id",
}


def cookies_of(answer: httpx.Response) -> dict[str, dict[str, Any]]:
    """Name → attributes that are present, lower-cased, with the value."""
    found = {}
    for header in answer.headers.get_list("set-cookie"):
        for name, morsel in SimpleCookie(header).items():
            found[name] = {"value": morsel.value} | {k: v for k, v in morsel.items() if v}
    return found


def without_values(cookies: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {
        name: {k: v for k, v in cookie.items() if k != "value"} for name, cookie in cookies.items()
    }


async def test_spa_has_the_access_token_in_the_body_and_the_refresh_token_in_a_cookie(
    client: httpx.AsyncClient,
) -> None:
    answer = await log_in(client, "spa")

    assert ALWAYS | {"access_token"} == set(answer.json())
    assert {
        "authsvc_refresh": {
            "max-age": "604800", "path": "/auth", "httponly": True, "samesite": "Strict",
        },
        "authsvc_device": {
            "max-age": "34560000", "path": "/", "httponly": True, "samesite": "Lax",
        },
    } == without_values(cookies_of(answer))  # fmt: skip


async def test_spa_is_the_default(client: httpx.AsyncClient) -> None:
    body = {"email": "alice@example.com", "password": "correct horse battery staple"}

    answer = await client.post("/auth/login", json=body)

    assert "authsvc_refresh" in answer.cookies


async def test_native_has_both_tokens_in_the_body_and_no_cookies(
    client: httpx.AsyncClient,
) -> None:
    login = await log_in(client, "native")
    refreshed = await refresh(client, login.json()["refresh_token"])

    tokens = ALWAYS | {"access_token", "refresh_token"}
    assert tokens | {"device_token"} == set(login.json())
    assert tokens == set(refreshed.json())
    for answer in (login, refreshed):
        assert "set-cookie" not in answer.headers


async def test_web_has_no_token_in_the_body(client: httpx.AsyncClient) -> None:
    answer = await log_in(client, "web")

    assert ALWAYS | {"csrf_token"} == set(answer.json())
    cookies = cookies_of(answer)
    assert answer.json()["csrf_token"] == cookies["authsvc_csrf"]["value"]
    assert {
        "authsvc_refresh": {
            "max-age": "604800", "path": "/auth", "httponly": True, "samesite": "Strict",
        },
        "authsvc_access": {"max-age": "900", "path": "/", "httponly": True, "samesite": "Lax"},
        "authsvc_csrf": {"max-age": "2592000", "path": "/", "samesite": "Lax"},
        "authsvc_device": {
            "max-age": "34560000", "path": "/", "httponly": True, "samesite": "Lax",
        },
    } == without_values(cookies)  # fmt: skip


async def test_a_web_refresh_needs_the_csrf_token_and_keeps_it(
    client: httpx.AsyncClient, clock: MovableClock
) -> None:
    csrf = (await log_in(client, "web")).json()["csrf_token"]

    bare = await refresh(client)
    wrong = await refresh(client, x_csrf_token=csrf[:-2])
    first = await refresh(client, x_csrf_token=csrf)
    clock.advance(timedelta(minutes=1))
    second = await refresh(client, x_csrf_token=csrf)

    assert [403, 403, 200, 200] == [a.status_code for a in (bare, wrong, first, second)]
    assert {csrf} == {a.json()["csrf_token"] for a in (first, second)}
    assert "access_token" not in first.json()
    assert "refresh_token" not in first.json()


@pytest.mark.requirement("X1")
async def test_the_csrf_token_of_another_session_does_not_work(client: httpx.AsyncClient) -> None:
    foreign = (await log_in(client, "web")).json()["csrf_token"]
    await log_in(client, "web")

    assert 403 == (await refresh(client, x_csrf_token=foreign)).status_code


async def test_the_access_cookie_reads_and_with_the_csrf_token_writes(
    client: httpx.AsyncClient,
) -> None:
    login = (await log_in(client, "web")).json()

    read = await client.get("/auth/me")
    bare = await client.delete(f"/auth/sessions/{login['session_id']}")
    written = await client.delete(
        f"/auth/sessions/{login['session_id']}", headers={"x-csrf-token": login["csrf_token"]}
    )

    assert [200, 403, 204] == [a.status_code for a in (read, bare, written)]


async def test_authorization_outranks_the_access_cookie(client: httpx.AsyncClient) -> None:
    await log_in(client, "web")

    answer = await client.get("/auth/me", headers={"authorization": "Bearer garbage"})

    assert 401 == answer.status_code
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]


async def test_a_kept_web_session_gets_a_new_access_cookie_and_no_refresh_cookie(
    client: httpx.AsyncClient,
) -> None:
    csrf = (await log_in(client, "web")).json()["csrf_token"]
    await refresh(client, x_csrf_token=csrf)

    kept = await refresh(client, x_csrf_token=csrf)

    assert "kept" == kept.headers["authsvc-refresh"]
    assert {"authsvc_access", "authsvc_csrf"} == set(cookies_of(kept))


async def test_not_to_be_remembered_means_session_cookies_and_twelve_idle_hours(
    client: httpx.AsyncClient, clock: MovableClock
) -> None:
    answer = await log_in(client, "spa", remember=False)
    cookie = cookies_of(answer)["authsvc_refresh"]
    clock.advance(timedelta(hours=11))
    rotated = await refresh(client)
    clock.advance(timedelta(hours=12))

    assert "max-age" not in cookie
    assert 43_200 == answer.json()["refresh_expires_in"]
    assert 43_200 == rotated.json()["refresh_expires_in"]
    assert "max-age" not in cookies_of(rotated)["authsvc_refresh"]
    assert 401 == (await refresh(client)).status_code


@pytest.mark.requirement("C1", "C2")
@pytest.mark.settings(issuer=HTTPS)
async def test_over_https_every_cookie_is_secure_and_prefixed(client: httpx.AsyncClient) -> None:
    client.base_url = httpx.URL(HTTPS)

    login = await log_in(client, "web")
    refreshed = await refresh(client, x_csrf_token=login.json()["csrf_token"])

    cookies = cookies_of(login)
    assert {
        "__Secure-authsvc_refresh",
        "__Host-authsvc_access",
        "__Host-authsvc_csrf",
        "__Host-authsvc_device",
    } == set(cookies)
    assert all(cookie["secure"] for cookie in cookies.values())
    assert not any("domain" in cookie for cookie in cookies.values())
    assert all(len(name) + len(c["value"]) <= 4096 for name, c in cookies.items())
    assert 200 == refreshed.status_code


@pytest.mark.requirement("C3")
@pytest.mark.settings(issuer=HTTPS)
async def test_an_unprefixed_twin_is_not_read(client: httpx.AsyncClient) -> None:
    client.base_url = httpx.URL(HTTPS)
    await log_in(client, "spa")
    token = client.cookies["__Secure-authsvc_refresh"]
    client.cookies.clear()

    twin = await client.post("/auth/refresh", headers={"cookie": f"authsvc_refresh={token}"})
    real = await client.post(
        "/auth/refresh", headers={"cookie": f"__Secure-authsvc_refresh={token}"}
    )

    assert [401, 200] == [twin.status_code, real.status_code]


@pytest.mark.settings(issuer=HTTPS, cookie_domain="example.com")
async def test_a_cookie_domain_shares_access_and_csrf_but_never_the_refresh_cookie(
    client: httpx.AsyncClient,
) -> None:
    client.base_url = httpx.URL(HTTPS)

    cookies = cookies_of(await log_in(client, "web"))

    assert "example.com" == cookies["__Secure-authsvc_access"]["domain"]
    assert "example.com" == cookies["__Secure-authsvc_csrf"]["domain"]
    assert "domain" not in cookies["__Secure-authsvc_refresh"]
    assert "domain" not in cookies["__Host-authsvc_device"]


@pytest.mark.requirement("C3")
async def test_two_cookies_of_one_name_are_refused(client: httpx.AsyncClient) -> None:
    await log_in(client, "spa")
    token = client.cookies["authsvc_refresh"]
    client.cookies.clear()

    answer = await client.post(
        "/auth/refresh", headers={"cookie": f"authsvc_refresh=planted; authsvc_refresh={token}"}
    )

    assert 400 == answer.status_code
    assert "set-cookie" not in answer.headers


@pytest.mark.requirement("H1")
async def test_answers_with_tokens_are_not_stored(client: httpx.AsyncClient) -> None:
    login = await log_in(client)
    refreshed = await refresh(client, login.json()["refresh_token"])
    headers = {"authorization": f"Bearer {refreshed.json()['access_token']}"}
    me = await client.get("/auth/me", headers=headers)

    assert {"no-store"} == {a.headers["cache-control"] for a in (login, refreshed, me)}
