"""A sibling host can plant a cookie of our name; it must not keep a user from logging in or out."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from tests.http.conftest import EMAIL, PASSWORD, log_in, refresh

pytestmark = [pytest.mark.finding("11.10"), pytest.mark.usefixtures("alice")]

HOST = "auth.app.example"
ELSEWHERE = {"allowed_hosts": (HOST, "localhost")}
NEW_PASSWORD = "another horse battery staple"


def twins(client: httpx.AsyncClient, name: str = "authsvc_refresh") -> dict[str, str]:
    """The Cookie header with one that was planted before each of ours."""
    own = "; ".join(f"{cookie.name}={cookie.value}" for cookie in client.cookies.jar)
    client.cookies.clear()
    return {"cookie": f"{name}=planted; {own}" if own else f"{name}=a; {name}=b"}


def cleared_on(answer: httpx.Response, name: str) -> set[str]:
    """The domains on which a cookie of that name is removed; "" is the host alone."""
    return {
        line.partition("; Domain=")[2].partition(";")[0]
        for line in answer.headers.get_list("set-cookie")
        if line.startswith(f"{name}=; Max-Age=0")
    }


async def alive(client: httpx.AsyncClient, refresh_token: str) -> bool:
    client.cookies.clear()
    answer = await client.post(
        "/auth/refresh", headers={"cookie": f"authsvc_refresh={refresh_token}"}
    )
    return answer.status_code == 200


@pytest.mark.parametrize("delivery", ["spa", "web", "native"])
async def test_a_login_ignores_twins(client: httpx.AsyncClient, delivery: str) -> None:
    headers = {
        "cookie": "; ".join(
            f"authsvc_{name}={value}"
            for name in ("refresh", "access", "csrf", "device")
            for value in "ab"
        )
    }
    body = {"email": EMAIL, "password": PASSWORD, "delivery": delivery}

    assert 200 == (await client.post("/auth/login", json=body, headers=headers)).status_code


async def test_a_cookie_login_supersedes_every_authentic_twin(
    client: httpx.AsyncClient, new_client: Callable[..., httpx.AsyncClient]
) -> None:
    tokens = []
    for _ in range(2):
        one = new_client()
        await log_in(one, "spa")
        tokens.append(one.cookies["authsvc_refresh"])
    headers = {"cookie": "; ".join(f"authsvc_refresh={token}" for token in tokens)}

    body = {"email": EMAIL, "password": PASSWORD}
    assert 200 == (await client.post("/auth/login", json=body, headers=headers)).status_code

    assert [False, False] == [await alive(client, token) for token in tokens]


async def test_a_logout_ends_every_authentic_twin(
    client: httpx.AsyncClient, new_client: Callable[..., httpx.AsyncClient]
) -> None:
    tokens = []
    for _ in range(2):
        one = new_client()
        await log_in(one, "spa")
        tokens.append(one.cookies["authsvc_refresh"])
    headers = {"cookie": "; ".join(f"authsvc_refresh={token}" for token in ["x", *tokens])}

    assert 204 == (await client.post("/auth/logout", headers=headers)).status_code

    assert [False, False] == [await alive(client, token) for token in tokens]


async def test_of_web_twins_the_csrf_token_need_fit_one(
    client: httpx.AsyncClient, new_client: Callable[..., httpx.AsyncClient]
) -> None:
    planted, own = new_client(), new_client()
    await log_in(planted, "web")
    csrf = (await log_in(own, "web")).json()["csrf_token"]
    cookies = "; ".join(
        f"{name}={jar.cookies[name]}"
        for name in ("authsvc_refresh", "authsvc_access")
        for jar in (planted, own)
    )
    foreign = await client.post("/auth/logout", headers={"cookie": cookies})

    answer = await client.post("/auth/logout", headers={"cookie": cookies, "x-csrf-token": csrf})

    assert [403, 204] == [foreign.status_code, answer.status_code]


async def test_a_logout_by_bearer_ignores_twins(client: httpx.AsyncClient) -> None:
    session = (await log_in(client)).json()
    headers = {
        "authorization": f"Bearer {session['access_token']}",
        "cookie": "authsvc_refresh=a; authsvc_refresh=b; authsvc_access=a; authsvc_access=b",
    }

    assert 204 == (await client.post("/auth/logout", headers=headers)).status_code

    assert 401 == (await refresh(client, session["refresh_token"])).status_code


async def test_a_password_change_by_bearer_ignores_twins(client: httpx.AsyncClient) -> None:
    token = (await log_in(client)).json()["access_token"]
    names = ("refresh", "access", "csrf", "device")
    cookies = "; ".join(f"authsvc_{name}={value}" for name in names for value in "ab")

    answer = await client.post(
        "/auth/password/change",
        json={"current_password": PASSWORD, "new_password": NEW_PASSWORD},
        headers={"authorization": f"Bearer {token}", "cookie": cookies},
    )

    assert 204 == answer.status_code


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        ("POST", "/auth/refresh", "authsvc_refresh"),
        ("GET", "/auth/me", "authsvc_access"),
        ("GET", "/auth/sessions", "authsvc_access"),
        ("GET", "/auth/verify", "authsvc_access"),
    ],
)
async def test_two_of_the_cookie_that_is_the_credential_are_refused(
    client: httpx.AsyncClient, method: str, path: str, name: str
) -> None:
    await log_in(client, "web")

    answer = await client.request(method, path, headers=twins(client, name))

    assert (400, "duplicate_credentials") == (answer.status_code, answer.json()["code"])


async def test_twins_of_another_cookie_do_not_matter(client: httpx.AsyncClient) -> None:
    await log_in(client, "web")

    answer = await client.get("/auth/me", headers=twins(client, "authsvc_device"))

    assert 200 == answer.status_code


@pytest.mark.settings(**ELSEWHERE)
@pytest.mark.parametrize("by", ["bearer", "cookie", "nothing"])
async def test_a_logout_clears_the_names_on_every_parent_domain(
    client: httpx.AsyncClient, new_client: Callable[..., httpx.AsyncClient], by: str
) -> None:
    client = new_client(base_url=f"http://{HOST}")
    headers = {}
    if by == "bearer":
        token = (await log_in(client)).json()["access_token"]
        headers = {"authorization": f"Bearer {token}"}
    if by == "cookie":
        await log_in(client, "spa")
        headers = twins(client)

    answer = await client.post("/auth/logout", headers=headers)

    for name in ("authsvc_refresh", "authsvc_access", "authsvc_csrf"):
        assert {"", "auth.app.example", "app.example"} == cleared_on(answer, name)


@pytest.mark.settings(**ELSEWHERE)
@pytest.mark.parametrize("delivery", ["spa", "web"])
async def test_a_login_clears_the_names_on_every_parent_domain(
    new_client: Callable[..., httpx.AsyncClient], delivery: str
) -> None:
    answer = await log_in(new_client(base_url=f"http://{HOST}"), delivery)

    for name in ("authsvc_refresh", "authsvc_access", "authsvc_csrf"):
        assert {"auth.app.example", "app.example"} == cleared_on(answer, name)


@pytest.mark.settings(
    issuer="https://auth.app.example",
    cookie_domain="app.example",
    allowed_hosts=(HOST, "localhost"),
)
async def test_a_login_never_clears_what_it_sets(
    new_client: Callable[..., httpx.AsyncClient],
) -> None:
    answer = await log_in(new_client(base_url=f"https://{HOST}"), "web")

    assert {"", "auth.app.example"} == cleared_on(answer, "__Secure-authsvc_access")
    assert {"auth.app.example", "app.example"} == cleared_on(answer, "__Secure-authsvc_refresh")
