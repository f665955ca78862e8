"""Which pages may use a session's cookies."""

from __future__ import annotations

import httpx
import pytest

from tests.http.conftest import EMAIL, PASSWORD, log_in, refresh

pytestmark = pytest.mark.usefixtures("alice")

OWN = "http://localhost:8000"
PUBLIC = {"issuer": "https://auth.example.com", "cors_origins": ("https://app.example.com",)}


@pytest.mark.requirement("X2")
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        pytest.param({}, 200, id="not-a-browser"),
        pytest.param({"origin": OWN, "sec-fetch-site": "same-origin"}, 200, id="own-page"),
        pytest.param({"origin": OWN}, 200, id="own-page-of-an-old-browser"),
        pytest.param({"origin": "http://127.0.0.1:8000"}, 200, id="own-in-the-other-spelling"),
        pytest.param({"referer": f"{OWN}/docs?x=1"}, 200, id="referer-only"),
        pytest.param(
            {"origin": "http://localhost:5173", "sec-fetch-site": "same-site"}, 200,
            id="development-server-on-another-port",
        ),
        pytest.param({"sec-fetch-site": "none"}, 200, id="typed-by-the-user"),
        pytest.param({"origin": "https://evil.example"}, 403, id="foreign"),
        pytest.param({"origin": "null"}, 403, id="null-is-foreign"),
        pytest.param({"origin": "null", "sec-fetch-site": "same-origin"}, 200,
            id="own-page-under-no-referrer", marks=pytest.mark.finding("P06")),
        pytest.param({"origin": "null", "sec-fetch-site": "same-site"}, 403, id="null-same-site"),
        pytest.param({"origin": "null", "sec-fetch-site": "cross-site"}, 403, id="null-cross-site"),
        pytest.param({"origin": "null", "sec-fetch-site": "none"}, 403, id="null-none"),
        pytest.param({"referer": "http://[bad", "sec-fetch-site": "same-origin"}, 403,
            id="broken-referer-of-the-own-page"),
        pytest.param({"origin": ""}, 403, id="empty"),
        pytest.param({"origin": "http://localhost:8000.evil.example"}, 403, id="prefix"),
        pytest.param({"origin": "http://localhost:8000@evil.example"}, 403, id="userinfo"),
        pytest.param({"origin": "https://localhost:5173"}, 403, id="other-scheme"),
        pytest.param({"referer": "https://evil.example/?http://localhost:8000"}, 403,
            id="foreign-referer"),
        pytest.param({"referer": "http://[bad"}, 403, id="broken-referer"),
        pytest.param({"sec-fetch-site": "cross-site"}, 403, id="cross-site"),
        pytest.param({"sec-fetch-site": "same-site"}, 403, id="same-site-of-nobody"),
        pytest.param({"sec-fetch-site": "nonsense"}, 403, id="unknown-word"),
        pytest.param({"origin": OWN, "sec-fetch-site": "cross-site"}, 403, id="contradiction"),
    ],
)  # fmt: skip
async def test_a_cookie_refresh_comes_from(
    client: httpx.AsyncClient, headers: dict[str, str], status: int
) -> None:
    await log_in(client, "spa")

    answer = await client.post("/auth/refresh", headers=headers)

    assert status == answer.status_code
    if status == 403:
        assert "csrf_failed" == answer.json()["code"]
        assert 200 == (await refresh(client)).status_code


@pytest.mark.finding("P17")
async def test_the_refusal_says_what_is_wrong(client: httpx.AsyncClient) -> None:
    token = (await log_in(client, "web")).json()["csrf_token"]

    no_token = await refresh(client, origin=OWN)
    opaque = await refresh(client, origin="null", x_csrf_token=token)
    foreign = await refresh(client, origin="https://evil.example", x_csrf_token=token)

    answers = [answer.json() for answer in (no_token, opaque, foreign)]
    assert {"csrf_failed"} == {answer["code"] for answer in answers}
    said = [answer["detail"] for answer in answers]
    assert ("X-CSRF-Token" in said[0], "not listed" in said[0]) == (True, False)
    assert ("Origin: null" in said[1], "not listed" in said[1]) == (True, False)
    assert "origin is not listed" in said[2]


@pytest.mark.requirement("X2")
@pytest.mark.settings(**PUBLIC)
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        pytest.param({"origin": "https://app.example.com", "sec-fetch-site": "same-site"}, 200,
            id="listed-sibling"),
        pytest.param({"origin": "https://other.example.com", "sec-fetch-site": "same-site"}, 403,
            id="unlisted-sibling"),
        pytest.param({"origin": "https://auth.example.com", "sec-fetch-site": "same-site"}, 403,
            id="own-origin-is-never-same-site"),
        pytest.param({"origin": "https://APP.example.com"}, 403, id="exact-spelling"),
        pytest.param({"origin": "http://localhost:5173"}, 403, id="no-local-pages"),
    ],
)  # fmt: skip
async def test_on_a_public_issuer_only_listed_siblings(
    client: httpx.AsyncClient, headers: dict[str, str], status: int
) -> None:
    client.base_url = httpx.URL("https://auth.example.com")
    await log_in(client, "spa")

    assert status == (await client.post("/auth/refresh", headers=headers)).status_code


@pytest.mark.requirement("X5")
@pytest.mark.parametrize("path", ["/auth/login", "/auth/register"])
async def test_a_foreign_page_cannot_log_in_or_register(
    client: httpx.AsyncClient, path: str
) -> None:
    answer = await client.post(
        path,
        json={"email": "bob@example.com", "password": PASSWORD},
        headers={"origin": "https://evil.example", "sec-fetch-site": "cross-site"},
    )

    assert (403, "csrf_failed") == (answer.status_code, answer.json()["code"])


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://127.0.0.1:5173", "sec-fetch-site": "cross-site"},
        {"origin": "http://127.0.0.1:5173"},
    ],
    ids=["told-by-the-browser", "told-by-the-names"],
)
async def test_a_cookie_login_from_a_cross_site_page_says_why_it_cannot_work(
    client: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    body = {"email": EMAIL, "password": PASSWORD}

    cookies = await client.post("/auth/login", json=body, headers=headers)
    native = await client.post("/auth/login", json={**body, "delivery": "native"}, headers=headers)

    assert (400, "cookies_impossible") == (cookies.status_code, cookies.json()["code"])
    assert "localhost" in cookies.json()["detail"]
    assert 200 == native.status_code


@pytest.mark.requirement("X4")
@pytest.mark.parametrize("path", ["/auth/logout", "/auth/refresh", "/auth/login"])
async def test_a_get_changes_nothing(client: httpx.AsyncClient, path: str) -> None:
    await log_in(client, "spa")

    answer = await client.get(path)

    assert 405 == answer.status_code
    assert 200 == (await refresh(client)).status_code


@pytest.mark.requirement("X3")
@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"]
)
async def test_only_json_is_read(client: httpx.AsyncClient, content_type: str) -> None:
    answer = await client.post(
        "/auth/login",
        content=b'{"email": "alice@example.com", "password": "correct horse battery staple"}',
        headers={"content-type": content_type},
    )

    assert (415, "unsupported_media_type") == (answer.status_code, answer.json()["code"])


@pytest.mark.finding("P10")
@pytest.mark.parametrize("delivery", ["spa", "web"])
@pytest.mark.parametrize("access", ["none", "inactive"])
async def test_a_cookie_login_in_a_frame_without_storage_says_why_it_cannot_work(
    client: httpx.AsyncClient, delivery: str, access: str
) -> None:
    headers = {"origin": OWN, "sec-fetch-site": "same-origin", "sec-fetch-storage-access": access}
    body = {"email": EMAIL, "password": PASSWORD}

    answer = await client.post("/auth/login", json={**body, "delivery": delivery}, headers=headers)
    native = await client.post("/auth/login", json={**body, "delivery": "native"}, headers=headers)
    active = headers | {"sec-fetch-storage-access": "active"}
    granted = await client.post("/auth/login", json={**body, "delivery": delivery}, headers=active)

    assert (400, "cookies_impossible") == (answer.status_code, answer.json()["code"])
    assert "frame" in answer.json()["detail"]
    assert "set-cookie" not in answer.headers
    assert [200, 200] == [native.status_code, granted.status_code]
