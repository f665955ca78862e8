"""Logout ends what was presented, and its access tokens at once."""

from __future__ import annotations

from datetime import timedelta
from unittest.mock import ANY

import httpx
import pytest

from tests.http.conftest import ClientFactory, MovableClock, log_in, me, refresh

pytestmark = pytest.mark.usefixtures("alice")


async def logout(
    client: httpx.AsyncClient, *, bearer: str | None = None, **body: object
) -> httpx.Response:
    headers = {"authorization": f"Bearer {bearer}"} if bearer else {}
    return await client.post("/auth/logout", json=body, headers=headers)


@pytest.mark.requirement("D2")
async def test_logout_by_refresh_token_ends_the_session_and_its_access_tokens(
    client: httpx.AsyncClient,
) -> None:
    session = (await log_in(client)).json()

    answer = await logout(client, refresh_token=session["refresh_token"])

    assert 204 == answer.status_code
    assert 401 == (await me(client, session["access_token"])).status_code
    assert 401 == (await refresh(client, session["refresh_token"])).status_code


async def test_logout_by_bearer_ends_the_session(client: httpx.AsyncClient) -> None:
    session = (await log_in(client)).json()

    assert 204 == (await logout(client, bearer=session["access_token"])).status_code

    assert 401 == (await refresh(client, session["refresh_token"])).status_code


@pytest.mark.requirement("D1", "D2")
async def test_logout_by_cookie_ends_the_session_and_clears_the_cookies(
    client: httpx.AsyncClient,
) -> None:
    await log_in(client, "spa")
    cookie = client.cookies["authsvc_refresh"]

    answer = await client.post("/auth/logout")

    assert 204 == answer.status_code
    assert "authsvc_refresh" not in client.cookies
    assert "authsvc_device" in client.cookies
    cleared = answer.headers.get_list("set-cookie")
    assert any(
        cookie.startswith("authsvc_refresh=;")
        and "Path=/auth" in cookie
        and "HttpOnly" in cookie
        and "SameSite=Strict" in cookie
        for cookie in cleared
    )
    assert "clear-site-data" not in answer.headers
    assert 401 == (await refresh(client, cookie=cookie)).status_code


async def test_logout_is_idempotent(client: httpx.AsyncClient) -> None:
    token = (await log_in(client)).json()["refresh_token"]

    statuses = [(await logout(client, refresh_token=token)).status_code for _ in range(3)]

    assert [204, 204, 204] == statuses


async def test_logout_takes_a_token_of_any_generation_and_that_is_not_reuse(
    client: httpx.AsyncClient,
) -> None:
    first = (await log_in(client)).json()["refresh_token"]
    second = (await refresh(client, first)).json()["refresh_token"]

    assert 204 == (await logout(client, refresh_token=first)).status_code

    assert 401 == (await refresh(client, second)).status_code


async def test_logout_takes_expired_tokens(client: httpx.AsyncClient, clock: MovableClock) -> None:
    session = (await log_in(client)).json()
    clock.advance(timedelta(hours=2))

    assert 204 == (await logout(client, bearer=session["access_token"])).status_code

    assert 401 == (await refresh(client, session["refresh_token"])).status_code


async def test_logout_ends_every_authentic_session_presented(
    client: httpx.AsyncClient, new_client: ClientFactory
) -> None:
    """Bearer and cookie of two sessions together are fine here."""
    bearer = (await log_in(new_client())).json()
    await log_in(client, "spa")
    cookie = client.cookies["authsvc_refresh"]

    assert 204 == (await logout(client, bearer=bearer["access_token"])).status_code

    assert 401 == (await refresh(client, bearer["refresh_token"])).status_code
    client.cookies.clear()
    assert 401 == (await refresh(client, cookie=cookie)).status_code


async def test_logout_with_nothing_authentic_is_401_and_clears_cookies_all_the_same(
    client: httpx.AsyncClient,
) -> None:
    answer = await client.post("/auth/logout", headers={"cookie": "authsvc_refresh=garbage"})

    assert (401, "unauthenticated") == (answer.status_code, answer.json()["code"])
    assert "authsvc_refresh=; Max-Age=0" in answer.headers["set-cookie"]


async def test_a_foreign_authorization_header_does_not_keep_a_cookie_alive(
    client: httpx.AsyncClient,
) -> None:
    await log_in(client, "spa")
    cookie = client.cookies["authsvc_refresh"]

    answer = await client.post("/auth/logout", headers={"authorization": "Basic YTpi"})

    assert 204 == answer.status_code
    assert 401 == (await refresh(client, cookie=cookie)).status_code


@pytest.mark.requirement("D5")
@pytest.mark.parametrize("by", ["bearer", "refresh_token"])
async def test_logout_all_ends_every_session(client: httpx.AsyncClient, by: str) -> None:
    one, two = [(await log_in(client)).json() for _ in range(2)]

    if by == "bearer":
        answer = await logout(client, bearer=one["access_token"], scope="all")
    else:
        answer = await logout(client, refresh_token=one["refresh_token"], scope="all")

    assert 204 == answer.status_code
    for session in (one, two):
        assert 401 == (await refresh(client, session["refresh_token"])).status_code
        assert 401 == (await me(client, session["access_token"])).status_code


async def test_logout_others_spares_the_session_that_asks(client: httpx.AsyncClient) -> None:
    one, two = [(await log_in(client)).json() for _ in range(2)]

    answer = await logout(client, bearer=one["access_token"], scope="others")

    assert 204 == answer.status_code
    assert "set-cookie" not in answer.headers
    assert 200 == (await me(client, one["access_token"])).status_code
    assert 401 == (await me(client, two["access_token"])).status_code


async def test_logout_others_ends_a_session_that_another_credential_names(
    client: httpx.AsyncClient,
) -> None:
    bob = {"email": "bob@example.com", "password": "another long passphrase"}
    await client.post("/auth/register", json=bob)
    spent = (await log_in(client, **bob)).json()["refresh_token"]
    newest = (await refresh(client, spent)).json()["refresh_token"]
    mine = (await log_in(client)).json()

    answer = await logout(client, bearer=mine["access_token"], refresh_token=spent, scope="others")

    assert 204 == answer.status_code
    assert 200 == (await me(client, mine["access_token"])).status_code
    assert 401 == (await refresh(client, newest)).status_code


@pytest.mark.parametrize("scope", ["others", "all"])
async def test_a_credential_that_is_not_live_ends_only_its_own_session(
    client: httpx.AsyncClient, scope: str
) -> None:
    spent = (await log_in(client)).json()["refresh_token"]
    newest = (await refresh(client, spent)).json()["refresh_token"]
    other = (await log_in(client)).json()["refresh_token"]

    assert 204 == (await logout(client, refresh_token=spent, scope=scope)).status_code

    assert 401 == (await refresh(client, newest)).status_code
    assert 200 == (await refresh(client, other)).status_code


@pytest.mark.requirement("X2")
async def test_a_foreign_page_cannot_log_out(client: httpx.AsyncClient) -> None:
    await log_in(client, "spa")

    answer = await client.post("/auth/logout", headers={"origin": "https://evil.example"})

    assert (403, "csrf_failed") == (answer.status_code, answer.json()["code"])
    assert 200 == (await refresh(client)).status_code


async def test_a_cookie_login_supersedes_the_session_it_arrives_with(
    client: httpx.AsyncClient,
) -> None:
    await log_in(client, "spa")
    old = client.cookies["authsvc_refresh"]

    await log_in(client, "spa")

    current = client.cookies["authsvc_refresh"]
    client.cookies.clear()
    assert 401 == (await refresh(client, cookie=old)).status_code
    assert 200 == (await refresh(client, cookie=current)).status_code


async def test_failed_and_native_logins_supersede_nothing(client: httpx.AsyncClient) -> None:
    await log_in(client, "spa")
    await client.post("/auth/login", json={"email": "alice@example.com", "password": "wrong one"})
    await log_in(client, "native")

    assert 200 == (await refresh(client)).status_code


async def test_sessions_are_listed_and_ended(client: httpx.AsyncClient) -> None:
    one, two = [(await log_in(client)).json() for _ in range(2)]
    headers = {"authorization": f"Bearer {one['access_token']}"}

    listed = (await client.get("/auth/sessions", headers=headers)).json()["sessions"]
    ended = await client.delete(f"/auth/sessions/{two['session_id']}", headers=headers)
    again = await client.delete(f"/auth/sessions/{two['session_id']}", headers=headers)

    assert {one["session_id"]: True, two["session_id"]: False} == {
        entry["id"]: entry["current"] for entry in listed
    }
    assert {
        "id": ANY,
        "current": ANY,
        "created_at": ANY,
        "last_used_at": ANY,
        "ip": "203.0.113.7",
        "user_agent": ANY,
        "delivery": "native",
    } == listed[0]
    assert [204, 404] == [ended.status_code, again.status_code]
    assert 401 == (await me(client, two["access_token"])).status_code


@pytest.mark.requirement("D6", "G2")
@pytest.mark.parametrize(
    "session_id", ["not-a-uuid", "../me", "00000000-0000-0000-0000-000000000000"]
)
async def test_somebody_elses_session_is_not_found(
    client: httpx.AsyncClient, session_id: str
) -> None:
    mine = (await log_in(client)).json()
    bob = {"email": "bob@example.com", "password": "another long passphrase"}
    await client.post("/auth/register", json=bob)
    his = (await log_in(client, **bob)).json()
    headers = {"authorization": f"Bearer {mine['access_token']}"}

    foreign = await client.delete(f"/auth/sessions/{his['session_id']}", headers=headers)
    absent = await client.delete(f"/auth/sessions/{session_id}", headers=headers)

    assert 404 == foreign.status_code
    assert absent.status_code in {404, 405}
    assert 200 == (await me(client, his["access_token"])).status_code


@pytest.mark.finding("11.1", "P38")
@pytest.mark.settings(max_sessions=1000, throttle=False)
async def test_sessions_are_listed_a_hundred_at_a_time(client: httpx.AsyncClient) -> None:
    logins = [(await log_in(client)).json() for _ in range(102)]
    headers = {"authorization": f"Bearer {logins[0]['access_token']}"}

    first = (await client.get("/auth/sessions", headers=headers)).json()
    second = (
        await client.get("/auth/sessions", params={"cursor": first["next"]}, headers=headers)
    ).json()

    assert (100, 2, None) == (len(first["sessions"]), len(second["sessions"]), second["next"])
    assert {login["session_id"] for login in logins} == {
        entry["id"] for entry in first["sessions"] + second["sessions"]
    }


@pytest.mark.finding("11.1")
@pytest.mark.parametrize("cursor", ["", "x", "é", "A" * 32, "_" * 32, "A" * 8000])
async def test_a_forged_cursor_is_refused_or_shows_own_sessions_only(
    client: httpx.AsyncClient, cursor: str
) -> None:
    login = (await log_in(client)).json()

    answer = await client.get(
        "/auth/sessions",
        params={"cursor": cursor},
        headers={"authorization": f"Bearer {login['access_token']}"},
    )

    assert answer.status_code in {200, 400, 422}
    if answer.status_code == 200:
        assert {"sessions": [], "next": None} == answer.json()
