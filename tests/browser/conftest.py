"""A real service and a real Chromium for the client in clients/js."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from authsvc.embedded_postgres import EmbeddedPostgres
from tests.conftest import _admin, _url
from tests.support.live import PASSWORD, serving

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "clients" / "js"
NODE = shutil.which("node")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
ADA = {"email": "ada@example.com", "password": PASSWORD}
BOB = {"email": "bob@example.com", "password": PASSWORD}

Scenario = Callable[..., Coroutine[Any, Any, dict[str, Any]]]


def node(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run Node.js in the package."""
    assert NODE is not None
    return subprocess.run(
        [NODE, *arguments],
        cwd=PACKAGE,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        **options,
    )


def documented(language: str) -> str:
    """The one block of that language in docs/single-page-apps.md."""
    page = (ROOT / "docs" / "single-page-apps.md").read_text(encoding="utf-8")
    (block,) = re.findall(rf"^```{language}\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    assert isinstance(block, str)
    return block


@pytest.fixture(scope="session")
def package() -> Path:
    """The client, built now from its source; what it was built to."""
    if NODE is None or not (PACKAGE / "node_modules" / "esbuild").is_dir():
        pytest.skip("needs Node.js and `npm ci --ignore-scripts` in clients/js (make test does it)")
    built = node("build.mjs")
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
    name = f"test_{uuid4().hex}"
    await _admin(postgres.url, f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY file_copy')
    directory = tmp_path_factory.mktemp("service")
    async with serving(_url(postgres, name), directory, REFRESH_RETRY_WINDOW="0") as ports:
        async with httpx.AsyncClient(base_url=f"http://localhost:{ports[0]}") as client:
            for account in (ADA, BOB):
                registered = await client.post("/auth/register", json=account)
                assert 201 == registered.status_code
        yield ports[0]
    await _admin(postgres.url, f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture(scope="session")
def chromium() -> str:
    """The browser, where it can be driven."""
    if CHROMIUM is None:
        pytest.skip("needs Chromium (Debian: apt-get install chromium)")
    if NODE is None or not (ROOT / "tests/clients/node_modules/playwright-core").is_dir():
        pytest.skip("needs Node.js and `npm ci --ignore-scripts` in tests/clients (make test)")
    return CHROMIUM


@pytest.fixture
def scenario(package: Path, service: int, chromium: str) -> Scenario:
    """Play a scenario of scenarios.mjs; returns what it observed."""
    assert package.is_dir()

    async def play(name: str, *arguments: str) -> dict[str, Any]:
        script = str(Path(__file__).parent / "scenarios.mjs")
        told = {"ada": ADA, "bob": BOB, "page": documented("html"), "script": documented("js")}
        done = await asyncio.to_thread(
            node, script, str(service), chromium, name, *arguments, input=json.dumps(told)
        )
        assert 0 == done.returncode, done.stderr
        observed: dict[str, Any] = json.loads(done.stdout)
        return observed

    return play
