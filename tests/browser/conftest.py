"""A real service and a real Chromium for the client in clients/js."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import httpx
import pytest

from authsvc.embedded_postgres import EmbeddedPostgres
from tests.support.databases import database
from tests.support.live import PASSWORD, serving
from tests.support.node import CHROMIUM, has, node, observed

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "clients" / "js"
ADA = {"email": "ada@example.com", "password": PASSWORD}
BOB = {"email": "bob@example.com", "password": PASSWORD}

Scenario = Callable[..., Coroutine[Any, Any, dict[str, Any]]]


def documented(language: str) -> str:
    """The one block of that language in docs/single-page-apps.md."""
    page = (ROOT / "docs" / "single-page-apps.md").read_text(encoding="utf-8")
    (block,) = re.findall(rf"^```{language}\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    assert isinstance(block, str)
    return block


@pytest.fixture(scope="session")
def package() -> Path:
    """The client, built now from its source; what it was built to."""
    if not has("esbuild", PACKAGE):
        pytest.skip("needs Node.js and `npm ci --ignore-scripts` in clients/js (make test does it)")
    built = node("build.mjs", cwd=PACKAGE)
    assert 0 == built.returncode, built.stdout + built.stderr
    return PACKAGE / "dist"


@pytest.fixture(scope="module")
async def service(
    postgres: EmbeddedPostgres, template: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[int]:
    """
    The port of a service without a retry window: only the client's care can save a session.

    Ada and Bob have accounts.
    """
    directory = tmp_path_factory.mktemp("service")
    async with (
        database(postgres, template) as url,
        serving(url, directory, REFRESH_RETRY_WINDOW="0") as ports,
    ):
        async with httpx.AsyncClient(base_url=f"http://localhost:{ports[0]}") as client:
            for account in (ADA, BOB):
                registered = await client.post("/auth/register", json=account)
                assert 201 == registered.status_code
        yield ports[0]


@pytest.fixture(scope="session")
def chromium() -> str:
    """The browser, where it can be driven."""
    if CHROMIUM is None:
        pytest.skip("needs Chromium (Debian: apt-get install chromium)")
    if not has("playwright-core"):
        pytest.skip("needs Node.js and `npm ci --ignore-scripts` in tests/clients (make test)")
    return CHROMIUM


@pytest.fixture
def scenario(package: Path, service: int, chromium: str) -> Scenario:
    """Play a scenario of scenarios.mjs; returns what it observed."""
    assert package.is_dir()

    async def play(name: str, *arguments: str) -> dict[str, Any]:
        script = Path(__file__).parent / "scenarios.mjs"
        told = {"ada": ADA, "bob": BOB, "page": documented("html"), "script": documented("js")}
        seen: dict[str, Any] = await asyncio.to_thread(
            observed, script, str(service), chromium, name, *arguments, told=told
        )
        return seen

    return play
