"""The demo in a real Chromium: it works, it asks nobody else, and its policy holds."""

from __future__ import annotations

import asyncio
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from authsvc.http.pages.demo import ASSETS, demo_router
from authsvc.http.pages.static_page import CONTENT_SECURITY_POLICY
from authsvc.settings import Settings, SettingsError
from tests.browser.conftest import ROOT
from tests.support.node import observed
from tests.support.small import application, client_of

STATIC = ROOT / "src" / "authsvc" / "http" / "pages" / "static" / "demo"
PRODUCTION = {
    "env": "production",
    "issuer": "https://auth.example.com",
    "database_url": "postgresql://db/authsvc",
}


def demonstrated(**overrides: object) -> httpx.AsyncClient:
    settings = Settings.load(**overrides)
    return client_of(application(demo_router(settings), **overrides))


def test_its_script_is_what_the_source_builds(package: Path) -> None:
    """After a change: `npm run build` in clients/js, and copy dist/demo.js."""
    assert (package / "demo.js").read_bytes() == (STATIC / "demo.js").read_bytes()


@pytest.mark.requirement("H8")
async def test_the_policy_of_the_demo_allows_our_own_files_only() -> None:
    page = await demonstrated().get("/demo")

    assert 200 == page.status_code
    assert [CONTENT_SECURITY_POLICY] == page.headers.get_list("content-security-policy")
    assert all(f"/{name}" in page.text for name in ASSETS)


async def test_the_demo_can_be_switched_off() -> None:
    assert 404 == (await demonstrated(demo=False).get("/demo")).status_code


async def test_there_is_no_demo_in_production() -> None:
    assert not Settings.load(**PRODUCTION).serves_demo
    with pytest.raises(SettingsError, match="AUTHSVC_DEMO: on is refused in production"):
        Settings.load(**PRODUCTION, demo=True)


@pytest.mark.requirement("H8")
async def test_the_demo_shows_sessions_reuse_and_logout(
    chromium: str, service: int, tmp_path: Path
) -> None:
    origin = f"http://localhost:{service}"
    script = Path(__file__).parent / "demo.mjs"

    result = await asyncio.to_thread(observed, script, origin, chromium, str(tmp_path))

    seen = result["seen"]
    assert {urlsplit(origin).netloc} == {urlsplit(url).netloc for url in seen["requests"]}
    assert [] == seen["violations"]
    provoked = "Failed to load resource: the server responded with a status of 401"
    assert [] == [text for text in seen["complaints"] if not text.startswith(provoked)]
    assert "wrong" in result["wrong"]
    assert result["account"][0] == result["account"][1]
    assert result["left"][0].startswith(("14:", "15:"))
    assert result["refreshed"]
    assert result["answer"].startswith("200 OK")
    assert ["401", "401", "200"] == [
        step.split(": ")[1][:3] for step in result["story"] if ": " in step and step[-1] == "."
    ][-3:]
    assert 1 == result["sessions"]  # the other device's has ended
    assert result["signedOut"]
