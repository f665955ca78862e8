"""The docs page in a real Chromium: it works, it asks nobody else, and its policy holds."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.support.live import EMAIL, PASSWORD, serving

CLIENTS = Path(__file__).parents[1] / "clients"
NODE = shutil.which("node")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)


@pytest.mark.requirement("H8")
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (Debian: apt-get install chromium)")
@pytest.mark.skipif(
    NODE is None or not (CLIENTS / "node_modules" / "playwright-core").is_dir(),
    reason="needs Node.js and `npm ci --ignore-scripts` in tests/clients (make test does that)",
)
async def test_authorize_and_try_it_out_work_without_any_other_host(
    database_url: str, tmp_path: Path
) -> None:
    async with serving(database_url, tmp_path, WORKERS="1") as ports:
        origin = f"http://localhost:{ports[0]}"
        async with httpx.AsyncClient(base_url=origin) as client:
            body = {"email": EMAIL, "password": PASSWORD, "delivery": "native"}
            token = (await client.post("/auth/login", json=body)).json()["access_token"]

        result = await asyncio.to_thread(use_the_page, origin, tmp_path, token)

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


def use_the_page(origin: str, directory: Path, token: str) -> dict[str, Any]:
    assert NODE is not None
    assert CHROMIUM is not None
    done = subprocess.run(
        [NODE, str(CLIENTS / "docs_page.mjs"), origin, CHROMIUM, str(directory)],
        input=json.dumps({"email": EMAIL, "password": PASSWORD, "token": token}),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert 0 == done.returncode, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result
