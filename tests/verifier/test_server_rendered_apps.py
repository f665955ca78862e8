"""The snippets of docs/server-rendered-apps.md run, as they stand, against a real authsvc."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from tests.support.examples import notes
from tests.support.live import EMAIL, PASSWORD, log_in, serving
from tests.support.snippets import ROOT, block, module_of

PAGE = "server-rendered-apps.md"
APP = "http://localhost:8001"


def test_the_script_of_the_page_is_that_of_the_example() -> None:
    """Which tests/browser/test_server_rendered.py runs in a browser."""
    script = (ROOT / "examples" / "server-rendered" / "static" / "app.js").read_text("utf-8")

    assert script == block(PAGE, "With the cookies of authsvc", "js")


@pytest.mark.requirement("X1", "X2")
async def test_the_application_of_the_page_takes_cookies_and_sends_browsers_to_renew_them(
    database_url: str, tmp_path: Path
) -> None:
    source = block(PAGE, "With the cookies of authsvc", "python")
    async with serving(database_url, tmp_path) as ports:
        issuer = f"http://localhost:{ports[0]}"
        app = module_of(source.replace("http://localhost:8000", issuer)).app
        web = await log_in(issuer, "web")
        cookies = httpx.Cookies(
            {name: web.cookies[name] for name in ("authsvc_access", "authsvc_csrf")}
        )
        transport = httpx.ASGITransport(app=app)
        async with (
            httpx.AsyncClient(transport=transport, base_url=APP, cookies=cookies) as browser,
            httpx.AsyncClient() as authsvc,
        ):
            page = await browser.get("/notes")
            (value,) = re.findall(r'name="csrf_token" value="([^"]+)"', page.text)
            assert web.json()["csrf_token"] == value
            form = {"csrf_token": value, "text": "Milk"}
            foreign = {"origin": "http://localhost:1", "sec-fetch-site": "same-site"}
            written = await browser.post("/notes", data=form, headers={"origin": APP})
            forged = await browser.post("/notes", data=form, headers=foreign)
            bare = await browser.post("/notes", data={"text": "x"}, headers={"origin": APP})
            assert [303, 403, 403] == [each.status_code for each in (written, forged, bare)]

            browser.cookies.delete("authsvc_access")
            away = await browser.get("/notes?page=2&q=a b")
            late = await browser.post("/notes", data=form, headers={"origin": APP})
            renewal = away.headers["location"]
            assert [303, 401] == [away.status_code, late.status_code]
            assert renewal.startswith(f"{issuer}/auth/continue?")
            assert {
                "return_to": [f"{APP}/notes?page=2&q=a+b"],
                "sign_in": [f"{APP}/sign-in"],
            } == parse_qs(urlsplit(renewal).query)
            assert 200 == (await authsvc.get(renewal)).status_code


async def test_the_backend_of_the_page_keeps_the_tokens(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    source = block(PAGE, "Without a token in the browser", "python")
    async with serving(database_url, tmp_path) as ports:
        issuer = f"http://localhost:{ports[0]}"
        async with notes(issuer, tmp_path) as api:
            origin = str(api.base_url).rstrip("/")
            backend = module_of(
                source.replace("http://localhost:8000", issuer).replace(APP, origin)
            )
            name = backend.sign_in(EMAIL, PASSWORD, address="203.0.113.9")

            assert [] == backend.ask(name, "/notes").json()
            assert name not in str(list((tmp_path / "state").iterdir()))
