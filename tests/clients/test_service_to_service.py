"""docs/service-to-service.md does what it says: its snippets run as they stand there."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.live import EMAIL, PASSWORD, serving
from tests.verifier.snippets import block, module_of

PAGE = "service-to-service.md"
SHOWN = "http://localhost:8000"
NODE = shutil.which("node")
CLIENTS = Path(__file__).parent
KEYS = "Keys instead of secrets"


@dataclass
class Live:
    """A running authsvc, and a directory in which a reader copies and pastes."""

    origin: str
    home: Path
    environment: dict[str, str] = field(default_factory=dict)

    async def shell(self, source: str) -> str:
        done = await asyncio.to_thread(
            subprocess.run,
            ["bash", "-euc", source.replace(SHOWN, self.origin)],
            cwd=self.home,
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert 0 == done.returncode, done.stderr
        return done.stdout

    def snippet(self, heading: str, number: int = 0) -> Any:
        return module_of(block(PAGE, heading, "python", number).replace(SHOWN, self.origin))


@pytest.fixture
async def live(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Live]:
    async with serving(database_url, tmp_path) as ports:
        bin_directory = Path(sys.executable).parent
        environment = {
            "PATH": f"{bin_directory}:{os.environ['PATH']}",
            "AUTHSVC_DATABASE_URL": database_url,
        }
        monkeypatch.chdir(tmp_path)
        yield Live(f"http://localhost:{ports[0]}", tmp_path, environment)


async def register(live: Live, heading: str, variable: str) -> str:
    """Run the command below a heading, and keep the secret it prints where the page says."""
    out = await live.shell(block(PAGE, heading, "sh"))
    secret = out.split()[-1]
    live.environment[variable] = secret
    return secret


async def call(app: Any, live: Live, auth: httpx.Auth) -> httpx.Response:
    """Call a service in this process; tokens still come from the running authsvc."""
    async with httpx.AsyncClient(
        mounts={"all://orders": httpx.ASGITransport(app=app)}, auth=auth
    ) as client:
        assert live.origin
        return await client.get("http://orders/orders")


async def test_a_reader_gets_from_a_client_to_an_accepted_token(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = await register(live, "1. Make a client", "SHOP_SECRET")
    monkeypatch.setenv("SHOP_SECRET", secret)
    app = live.snippet("3. Accept tokens").app

    by_curl = json.loads(await live.shell(block(PAGE, "curl", "sh")))
    shown = json.loads(block(PAGE, "curl", "json"))
    python = live.snippet("Python")
    python.orders.close()
    answers = [await call(app, live, python.orders.auth) for _ in range(2)]
    nobody = await call(app, live, httpx.Auth())

    assert {**shown, "access_token": by_curl["access_token"]} == by_curl
    assert [(200, "Hello shop.")] * 2 == [(a.status_code, a.json()) for a in answers]
    assert 1 == len({answer.request.headers["authorization"] for answer in answers})
    assert 401 == nobody.status_code


@pytest.mark.skipif(
    NODE is None or not (CLIENTS / "node_modules" / "oauth4webapi").is_dir(),
    reason="needs Node.js and `npm ci --ignore-scripts` in tests/clients (make test does that)",
)
async def test_the_snippet_for_node_gets_one_token_and_keeps_it(live: Live) -> None:
    await register(live, "1. Make a client", "SHOP_SECRET")
    (live.home / "node_modules").symlink_to(CLIENTS / "node_modules")
    (live.home / "token.mjs").write_text(
        block(PAGE, "Node.js", "js").replace(SHOWN, live.origin)
        + "const [one, two] = [await serviceToken(), await serviceToken()];\n"
        + "console.log(one === two ? one : 'two tokens');\n"
    )

    token = (await live.shell("node token.mjs")).strip()

    app = live.snippet("3. Accept tokens").app
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app)) as client:
        answer = await client.get(
            "http://orders/orders", headers={"authorization": f"Bearer {token}"}
        )
    assert (200, "Hello shop.") == (answer.status_code, answer.json())


async def test_revoked_tokens_are_inactive_at_once(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    await register(live, "1. Make a client", "SHOP_SECRET")
    monkeypatch.setenv("ORDERS_SECRET", await register(live, "4. Ask authsvc", "ORDERS_SECRET"))
    introspect = live.snippet("4. Ask authsvc").introspect
    async with httpx.AsyncClient(base_url=live.origin) as client:
        body = {"email": EMAIL, "password": PASSWORD, "delivery": "native"}
        login = (await client.post("/auth/login", json=body)).json()
    service = json.loads(await live.shell(block(PAGE, "curl", "sh")))["access_token"]
    tokens = (service, login["access_token"])

    before = [await asyncio.to_thread(introspect, token) for token in tokens]
    live.environment |= {"ACCESS_TOKEN": service, "REFRESH_TOKEN": login["refresh_token"]}
    said = [await live.shell(block(PAGE, "5. Revoke", "sh", number)) for number in (0, 1)]
    after = [await asyncio.to_thread(introspect, token) for token in tokens]

    assert [(True, "shop"), (True, "authsvc")] == [
        (answer["active"], answer["client_id"]) for answer in before
    ]
    assert ["", ""] == said
    assert [{"active": False}] * 2 == after


async def test_a_rotated_secret_works_beside_the_old_one(live: Live) -> None:
    await register(live, "1. Make a client", "SHOP_SECRET")
    get = block(PAGE, "curl", "sh")

    new = await register(live, "6. Change the secret", "NEW_SECRET")

    assert "access_token" in await live.shell(get)
    live.environment["SHOP_SECRET"] = new
    assert "access_token" in await live.shell(get)


async def test_a_reader_gets_a_token_with_a_key(live: Live) -> None:
    live.snippet(KEYS, 0)
    await live.shell(block(PAGE, KEYS, "sh"))

    snippet = live.snippet(KEYS, 1)
    tokens = [await asyncio.to_thread(snippet.service_token) for _ in range(2)]

    assert 2 == len(set(tokens))
    assert 0o600 == (live.home / "shop.pem").stat().st_mode & 0o777
