"""The docs page in a real Chromium: it works, it asks nobody else, and its policy holds."""

from __future__ import annotations

import asyncio
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.live import EMAIL, PASSWORD, access_token, serving
from tests.support.node import CHROMIUM, CLIENTS, needs, needs_chromium, observed


@pytest.mark.requirement("H8")
@needs_chromium
@needs("playwright-core")
async def test_authorize_and_try_it_out_work_without_any_other_host(
    database_url: str, tmp_path: Path
) -> None:
    async with serving(database_url, tmp_path, WORKERS="1") as ports:
        origin = f"http://localhost:{ports[0]}"
        result = await asyncio.to_thread(
            observed,
            CLIENTS / "docs_page.mjs",
            origin,
            str(CHROMIUM),
            str(tmp_path),
            told={"email": EMAIL, "password": PASSWORD, "token": await access_token(origin)},
        )

    seen = result["seen"]
    assert {urlsplit(origin).netloc} == {
        urlsplit(url).netloc for url in seen["requests"] if not url.startswith("data:")
    }
    assert [] == seen["violations"]
    # The browser itself reports the one refusal that the script provokes.
    provoked = "Failed to load resource: the server responded with a status of 401"
    assert [] == [text for text in seen["complaints"] if not text.startswith(provoked)]
    assert "401" == result["refused"]["status"]
    assert EMAIL in result["authorized"]["text"]
    assert "200" == result["login"]["status"]
    assert EMAIL in result["afterLogin"]["text"]
    assert "200" == result["refresh"]["status"]
