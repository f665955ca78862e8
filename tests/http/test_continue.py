"""GET /auth/continue: where it goes back to, and that asking for the page changes nothing."""

from __future__ import annotations

import html
import re
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from starlette.requests import Request

from authsvc.http.pages.continue_session import ASSETS
from authsvc.http.pages.return_address import return_address
from authsvc.http.pages.static_page import CONTENT_SECURITY_POLICY
from authsvc.http.request.csrf import Origins
from authsvc.protocol.errors import ValidationFailed
from authsvc.settings import Settings
from tests.http.conftest import log_in, refresh

PUBLIC: dict[str, Any] = {
    "issuer": "https://auth.example.com",
    "cors_origins": ("https://app.example.com",),
}
APP = "https://app.example.com"
public: pytest.MarkDecorator = pytest.mark.settings(**PUBLIC)


@pytest.fixture
def browser(client: httpx.AsyncClient) -> httpx.AsyncClient:
    """A client that asks at the public address."""
    client.base_url = httpx.URL("https://auth.example.com")
    return client


async def ask(client: httpx.AsyncClient, **query: str) -> httpx.Response:
    return await client.get("/auth/continue", params=query)


def data(answer: httpx.Response, name: str) -> str:
    """What the page tells its script."""
    (value,) = re.findall(rf'data-{name}="([^"]*)"', answer.text)
    return html.unescape(value)


@public
async def test_it_goes_back_to_listed_origins(browser: httpx.AsyncClient) -> None:
    for address in (
        APP,
        f"{APP}/",
        f"{APP}/notes?page=2&q=%C3%A4%20'b'",
        f"{APP}//evil.example/",  # a path of the application's, however it looks
        f"{APP}/?next=https://evil.example/",
        "https://auth.example.com/docs",
    ):
        answer = await ask(browser, return_to=address, sign_in=f"{APP}/sign-in")

        assert 200 == answer.status_code
        assert address == data(answer, "return-to")
        assert f"{APP}/sign-in" == data(answer, "sign-in")
        assert "__Host-authsvc_csrf" == data(answer, "csrf-cookie")


REFUSED = [
    "https://evil.example/",
    "//app.example.com/",
    "///app.example.com",
    "/notes",
    "notes",
    "",
    " https://app.example.com/",
    "https://app.example.com/ ",
    "https://app.example.com/\n",
    "\thttps://app.example.com/",
    "https://app.example.com\t/",
    "https://app.example.com/\x00",
    "https://app.example.com\x00.evil.example/",
    "https:app.example.com/",
    "https:/app.example.com/",
    "https:\\\\app.example.com/",
    "https://app.example.com\\@evil.example/",
    "https://app.example.com/\\evil.example",
    "https://app.example.com@evil.example/",
    "https://user:password@app.example.com/",
    "https://evil.example#@app.example.com/",
    "https://app.example.com/#fragment",
    "https://app.example.com.evil.example/",
    "https://app.example.community/",
    "https://evil-app.example.com/",
    "https://app.example.com./",
    "https://app%2eexample.com/",
    "https://app.example.com%2f@evil.example/",
    "https://app.example.com%00.evil.example/",
    "https://APP.example.com/",
    "HTTPS://app.example.com/",
    "https://app.example.com:443/",
    "https://app.example.com:8443/",
    "https://app.example.com:/",
    "http://app.example.com/",
    "ftp://app.example.com/",
    "javascript://app.example.com/%0aalert(1)",
    "javascript:alert(1)",
    "data:text/html,x",
    "https://app。example.com/",
    "https://\uff41pp.example.com/",
    "https://app.example.com/ä",
    'https://app.example.com/"><script>',
    "https://app.example.com/%zz",
    "https://app.example.com/{CSRF_COOKIE}",
    "http://localhost:5173/",
    "http://127.0.0.1/",
    "null",
    f"{APP}/{'a' * 2048}",
]


ORIGINS = Origins.configured(Settings.load(**PUBLIC, env="development"))


@pytest.mark.requirement("O1", "O2")
@pytest.mark.parametrize("address", REFUSED)
def test_it_goes_nowhere_else(address: str) -> None:
    request = Request({"type": "http", "query_string": urlencode({"to": address}).encode()})

    with pytest.raises(ValidationFailed) as refusal:
        return_address(request, "to", ORIGINS)

    assert [("query", "to")] == [error.loc for error in refusal.value.errors]


@public
@pytest.mark.requirement("O2")
async def test_an_address_that_is_refused_is_neither_followed_nor_repeated(
    browser: httpx.AsyncClient,
) -> None:
    for name in ("return_to", "sign_in"):
        for address in ("https://evil.example/", "javascript:alert(1)", "//evil.example"):
            answer = await ask(browser, **{"return_to": f"{APP}/", name: address})

            assert (422, "validation_error") == (answer.status_code, answer.json()["code"])
            assert ["query", name] == answer.json()["errors"][0]["loc"]
            assert "location" not in answer.headers
            assert address not in answer.text


@public
async def test_it_must_be_told_once(browser: httpx.AsyncClient) -> None:
    for query in (
        "",
        f"sign_in={APP}/",
        f"return_to={APP}/&return_to={APP}/",
        f"return_to={APP}/&return_to=https://evil.example/",
        f"return_to={APP}/&sign_in={APP}/&sign_in={APP}/",
    ):
        answer = await browser.get(f"/auth/continue?{query}")

        assert (422, "validation_error") == (answer.status_code, answer.json()["code"])


async def test_in_development_it_goes_back_to_any_port_of_this_machine(
    client: httpx.AsyncClient,
) -> None:
    assert 200 == (await ask(client, return_to="http://localhost:8001/notes")).status_code
    assert 422 == (await ask(client, return_to="http://localhost.evil.example/")).status_code


@pytest.mark.requirement("O11", "H8")
async def test_the_page_allows_our_own_files_only(client: httpx.AsyncClient) -> None:
    answer = await ask(client, return_to="http://localhost:8001/")
    files = re.findall(r'(?:src|href)="(/[^"]+)"', answer.text)

    assert [CONTENT_SECURITY_POLICY] == answer.headers.get_list("content-security-policy")
    assert ["no-store"] == answer.headers.get_list("cache-control")
    assert ("DENY", "no-referrer", "same-origin") == tuple(
        answer.headers[name]
        for name in ("x-frame-options", "referrer-policy", "cross-origin-opener-policy")
    )
    assert set(ASSETS) == {file.rpartition("/")[2] for file in files}
    assert {200} == {(await client.get(file)).status_code for file in files}
    assert re.search(r"<noscript>.*http://localhost:8001/.*</noscript>", answer.text, re.DOTALL)
    assert not re.search(r"<script(?! type=\"module\" src=)|<style| style=| on[a-z]+=", answer.text)


@pytest.mark.requirement("X4")
@pytest.mark.usefixtures("alice")
async def test_asking_for_the_page_changes_nothing(client: httpx.AsyncClient) -> None:
    csrf = (await log_in(client, "web")).json()["csrf_token"]
    before = dict(client.cookies)

    answer = await ask(client, return_to="http://localhost:8001/")

    assert "set-cookie" not in answer.headers
    assert before == dict(client.cookies)
    assert not any(value in answer.text for value in before.values())
    first = await refresh(client, x_csrf_token=csrf)
    assert (200, "rotated") == (first.status_code, first.headers["authsvc-refresh"])


async def test_the_page_is_for_reading(client: httpx.AsyncClient) -> None:
    for method in ("POST", "PUT", "DELETE"):
        answer = await client.request(
            method, "/auth/continue", params={"return_to": "http://localhost:8001/"}
        )

        assert (405, "method_not_allowed") == (answer.status_code, answer.json()["code"])
