"""docs/protect-a-service.md does what it says: its snippets run as they stand there."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from authsvc_client.tokens import errors as token_errors
from authsvc_client.verifier import CookieSessions, RevocationFeed, TokenVerifier, errors
from tests.support.live import EMAIL, PASSWORD, free_port, serving
from tests.verifier.adapters import INVALID, NONE, SCOPE, bearer, cookies
from tests.verifier.snippets import ROOT, block, module_of
from tests.verifier.test_vectors import TOKENS

PAGE = "protect-a-service.md"
TEXT = (ROOT / "docs" / PAGE).read_text(encoding="utf-8")
SHOWN = "http://localhost:8000"

NODE = shutil.which("node")
CLIENTS = ROOT / "tests" / "clients"
needs_jose = pytest.mark.skipif(
    NODE is None or not (CLIENTS / "node_modules" / "jose").is_dir(),
    reason="needs Node.js and `npm ci --ignore-scripts` in tests/clients (make test does that)",
)


@dataclass
class Live:
    origin: str
    token: str
    sub: str


@pytest.fixture
async def live(database_url: str, tmp_path: Path) -> AsyncIterator[Live]:
    """A real authsvc, and the access token of a user without roles."""
    async with serving(database_url, tmp_path) as ports:
        origin = f"http://localhost:{ports[0]}"
        async with httpx.AsyncClient(base_url=origin) as client:
            body = {"email": EMAIL, "password": PASSWORD, "delivery": "native"}
            token = (await client.post("/auth/login", json=body)).json()["access_token"]
            me = await client.get("/auth/me", headers=bearer(token))
        yield Live(origin, token, me.json()["id"])


def snippet(heading: str, live: Live) -> Any:
    return module_of(block(PAGE, heading, "python").replace(SHOWN, live.origin))


async def ask(app: Any, path: str, method: str = "GET", **options: Any) -> httpx.Response:
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
        return await client.request(method, path, **options)


async def test_the_python_snippets_let_in_whom_they_should(
    live: Live, capsys: pytest.CaptureFixture[str]
) -> None:
    """One authsvc for all of them, since it takes seconds to start."""
    greeting = f"Hello {live.sub}, you have the roles []."
    good, bad = bearer(live.token), bearer(live.token[:-8] + "AAAAAAAA")

    app = snippet("FastAPI", live).app
    answers = [await ask(app, "/hello", headers=headers) for headers in (good, bad, {})]
    assert [200, 401, 401] == [answer.status_code for answer in answers]
    assert greeting == answers[0].json()
    assert [INVALID, NONE] == [answer.headers["www-authenticate"] for answer in answers[1:]]
    admin = await ask(app, "/admin", headers=good)
    assert (403, SCOPE) == (admin.status_code, admin.headers["www-authenticate"])

    def ask_flask() -> list[tuple[int, str]]:
        transport = httpx.WSGITransport(app=snippet("Flask", live).app)
        with httpx.Client(transport=transport, base_url="http://service") as client:
            found = [client.get("/hello", headers=headers) for headers in (good, bad, {})]
            found.append(client.get("/admin", headers=good))
            return [(answer.status_code, answer.text) for answer in found]

    flask_answers = await asyncio.to_thread(ask_flask)
    assert [200, 401, 401, 403] == [status for status, _ in flask_answers]
    assert greeting == flask_answers[0][1]

    app = snippet("Any ASGI application", live).app
    answers = [await ask(app, "/", headers=headers) for headers in (good, bad, {})]
    assert [200, 401, 401] == [answer.status_code for answer in answers]
    assert f"Hello {live.sub}." == answers[0].text

    who = snippet("Without a framework", live).who
    assert live.sub == await asyncio.to_thread(who, live.token)
    assert None is await asyncio.to_thread(who, "garbage")
    assert "refused: Malformed\n" == capsys.readouterr().out

    app = snippet("Pages with cookies", live).app
    page = cookies(live.token) | {"origin": "http://localhost:8001"}
    written = await ask(app, "/hello", "POST", headers=page | {"x-csrf-token": "t0ken"})
    forged = await ask(app, "/hello", "POST", headers=page)
    assert [200, 403] == [written.status_code, forged.status_code]


def test_the_arguments_and_exceptions_are_all_there() -> None:
    arguments = set(re.findall(r"^\| `([a-z_]+)` \|", TEXT, re.MULTILINE))
    exceptions = {
        name
        for name, found in {**vars(errors), **vars(token_errors)}.items()
        if isinstance(found, type) and issubclass(found, token_errors.AccessRefused)
    }

    known = set(TokenVerifier.__init__.__annotations__) - {"return"}
    assert known - {"clock"} == arguments
    of_the_feed = set(re.findall(r"^- `([a-z_]+)` \(", TEXT, re.MULTILINE))
    assert set(RevocationFeed.__init__.__annotations__) - {"return"} == of_the_feed
    assert exceptions <= set(re.findall(r"`(\w+)`", TEXT))
    assert "authsvc_csrf" == CookieSessions(origins=["http://localhost"]).csrf_cookie


@pytest.fixture
def node_snippet(tmp_path: Path) -> Path:
    """Where it finds jose."""
    (tmp_path / "node_modules").symlink_to(CLIENTS / "node_modules")
    return tmp_path / "service.mjs"


@needs_jose
@pytest.mark.requirement("T3", "T4", "T5", "T7", "T8", "T9", "T10")
def test_the_node_snippet_agrees_with_the_vectors(node_snippet: Path) -> None:
    """It accepts what it must, and what it must not only where the vector is marked strict."""
    node_snippet.write_text(block(PAGE, "Node.js", "js"), encoding="utf-8")
    runner = shutil.copy(CLIENTS / "vectors_with_jose.mjs", node_snippet.parent)

    done = subprocess.run(
        [str(NODE), str(runner), str(node_snippet), str(ROOT / "vectors" / "access_tokens.json")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert 0 == done.returncode, done.stderr
    found = json.loads(done.stdout)
    for vector in TOKENS["valid"]:
        assert vector["claims"] == found["accepted"].pop(vector["name"], None), vector["name"]
    strict = {vector["name"] for vector in TOKENS["invalid"] if vector["strict"]}
    assert set(found["accepted"]) <= strict
    assert len(found["refused"]) == len(TOKENS["invalid"]) - len(found["accepted"])
    assert all(code.startswith("ERR_J") for code in found["refused"].values()), found["refused"]


@needs_jose
async def test_the_node_snippet_lets_in_whom_it_should(live: Live, node_snippet: Path) -> None:
    port = free_port()
    source = block(PAGE, "Node.js", "js").replace("8001", str(port))
    node_snippet.write_text(source.replace(SHOWN, live.origin), encoding="utf-8")
    away = node_snippet.with_name("away.mjs")
    dead = free_port()
    away.write_text(source.replace(str(port), str(dead)).replace(SHOWN, "http://localhost:1"))

    services = [subprocess.Popen([str(NODE), str(file)]) for file in (node_snippet, away)]
    try:
        async with httpx.AsyncClient() as client:
            for number in (port, dead):
                while not await _listens(client, number):
                    assert [None, None] == [service.poll() for service in services]
                    await asyncio.sleep(0.01)
            url = f"http://localhost:{port}/"
            good = await client.get(url, headers=bearer(live.token))
            bad = await client.get(url, headers=bearer(live.token[:-8] + "AAAAAAAA"))
            none = await client.get(url)
            nobody = await client.get(f"http://localhost:{dead}/", headers=bearer(live.token))
    finally:
        for service in services:
            service.kill()
            service.wait()

    assert (200, f"Hello {live.sub}, you have the roles [].") == (good.status_code, good.text)
    assert [401, 401, 503] == [bad.status_code, none.status_code, nobody.status_code]
    assert 'Bearer realm="authsvc", error="invalid_token"' == bad.headers["www-authenticate"]
    assert NONE == none.headers["www-authenticate"]


async def _listens(client: httpx.AsyncClient, port: int) -> bool:
    try:
        await client.get(f"http://localhost:{port}/")
    except httpx.TransportError:
        return False
    return True
