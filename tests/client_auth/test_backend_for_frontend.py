"""examples/backend-for-frontend runs, before examples/resource-service and a real authsvc."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import httpx
import pytest

from tests.support.examples import example, notes
from tests.support.live import EMAIL, PASSWORD, serving
from tests.support.lossy_proxy import LossyProxy
from tests.support.snippets import ROOT

EXAMPLE = ROOT / "examples" / "backend-for-frontend"
OTHER_SITE = {"origin": "https://attacker.test", "sec-fetch-site": "cross-site"}
OTHER_PORT = {"origin": "http://localhost:1", "sec-fetch-site": "same-site"}


@asynccontextmanager
async def backend(directory: Path, issuer: str, api: str) -> AsyncIterator[httpx.AsyncClient]:
    """The example, and a browser for it."""
    state = str(directory / "sessions")
    async with example("backend-for-frontend", ISSUER=issuer, API=api, STATE=state) as origin:
        page = {"origin": origin, "sec-fetch-site": "same-origin"}
        async with httpx.AsyncClient(base_url=origin, headers=page, timeout=30) as client:
            yield client


async def sign_in(browser: httpx.AsyncClient, password: str = PASSWORD) -> httpx.Response:
    return await browser.post("/sign-in", data={"email": EMAIL, "password": password})


def csrf_token(page: httpx.Response) -> str:
    (first, second) = re.findall(r'name="csrf_token" value="([^"]+)"', page.text)
    assert first == second
    return str(first)


def session_files(directory: Path) -> list[Path]:
    """The sessions on the disk."""
    return sorted((directory / "sessions").glob("*.json"))


@pytest.mark.requirement("C1", "C5", "X1", "X2", "X5")
async def test_the_browser_holds_no_token_and_foreign_pages_write_nothing(
    database_url: str, tmp_path: Path
) -> None:
    async with serving(database_url, tmp_path) as ports:
        issuer = f"http://localhost:{ports[0]}"
        async with notes(issuer, tmp_path) as api, backend(
            tmp_path, issuer, str(api.base_url).rstrip("/")
        ) as browser:  # fmt: skip
            stranger = await browser.get("/notes")
            assert (303, "/sign-in") == (stranger.status_code, stranger.headers["location"])
            wrong = await sign_in(browser, "not the password")
            assert (403, True) == (wrong.status_code, "wrong" in wrong.text)
            for foreign in (OTHER_SITE, OTHER_PORT):
                forged = await browser.post(
                    "/sign-in", data={"email": EMAIL, "password": PASSWORD}, headers=foreign
                )
                assert (403, None) == (forged.status_code, forged.headers.get("set-cookie"))

            entered = await sign_in(browser)
            assert (303, "/notes") == (entered.status_code, entered.headers["location"])
            (cookie,) = entered.headers.get_list("set-cookie")
            assert re.fullmatch(r"notes=[\w-]{43}; HttpOnly; Path=/; SameSite=lax", cookie)
            (file,) = session_files(tmp_path)
            assert 0o600 == file.stat().st_mode & 0o777
            assert browser.cookies["notes"] not in file.name + file.read_text()

            page = await browser.get("/notes")
            token = csrf_token(page)
            written = await browser.post("/notes", data={"text": "<Milk>", "csrf_token": token})
            assert 303 == written.status_code
            for data, headers in (
                ({"text": "x", "csrf_token": "0" * 64}, {}),
                ({"text": "x", "csrf_token": token}, OTHER_SITE),
                ({"text": "x", "csrf_token": token}, OTHER_PORT),
            ):
                refused = await browser.post("/notes", data=data, headers=headers)
                assert 403 == refused.status_code
            assert 422 == (await browser.post("/notes", data={"text": "x"})).status_code
            page = await browser.get("/notes")
            assert ["&lt;Milk&gt;"] == re.findall("<li>(.*?)</li>", page.text)
            assert not re.search(r"eyJ|art1\.|<script", page.text)
            assert "no-store" == page.headers["cache-control"]

            # A second sign-in gets a name of its own and ends the first session.
            first, spent = browser.cookies["notes"], json.loads(file.read_text())["refresh_token"]
            assert 303 == (await sign_in(browser)).status_code
            assert first != browser.cookies["notes"]
            assert [file] != session_files(tmp_path)
            assert 1 == len(session_files(tmp_path))
            async with httpx.AsyncClient(base_url=issuer) as thief:
                dead = await thief.post("/auth/refresh", json={"refresh_token": spent})
            assert 401 == dead.status_code

            token = csrf_token(await browser.get("/notes"))
            stays = await browser.post("/sign-out", data={"csrf_token": token}, headers=OTHER_SITE)
            assert (403, 1) == (stays.status_code, len(session_files(tmp_path)))
            left = await browser.post("/sign-out", data={"csrf_token": token})
            assert (303, "/sign-in") == (left.status_code, left.headers["location"])
            assert {} == dict(browser.cookies)
            assert [] == session_files(tmp_path)


@pytest.mark.requirement("R3", "I7")
async def test_all_requests_of_a_session_share_one_refresh_over_workers_and_lost_answers(
    database_url: str, tmp_path: Path
) -> None:
    async with serving(database_url, tmp_path) as ports, LossyProxy(ports[0], lose=1) as proxy:
        issuer = f"http://localhost:{proxy.listens_on}"
        async with notes(f"http://localhost:{ports[0]}", tmp_path) as api:
            origin = str(api.base_url).rstrip("/")
            async with backend(tmp_path, issuer, origin) as browser:
                await sign_in(browser)
                assert 200 == (await browser.get("/notes")).status_code
                name = browser.cookies["notes"]
            (file,) = session_files(tmp_path)
            stored = json.loads(file.read_text())
            past = {"renew_at": stored["received_at"], "expires_at": stored["received_at"]}
            file.write_text(json.dumps(stored | past))

            # Both workers have restarted, and find a session whose access token has run out.
            async with (
                backend(tmp_path, issuer, origin) as one,
                backend(tmp_path, issuer, origin) as two,
            ):
                for browser in (one, two):
                    browser.cookies.set("notes", name)
                answers = await asyncio.gather(
                    *(browser.get("/notes") for browser in (one, two) for _ in range(8))
                )

    connection = await asyncpg.connect(database_url)
    generations = await connection.fetch(
        "SELECT generation FROM refresh_families WHERE revoked_at IS NULL"
    )
    await connection.close()
    assert {200} == {answer.status_code for answer in answers}
    assert [1] == [row["generation"] for row in generations]


async def test_a_made_up_name_costs_nothing(database_url: str, tmp_path: Path) -> None:
    async with (
        serving(database_url, tmp_path) as ports,
        backend(tmp_path, f"http://localhost:{ports[0]}", "http://localhost:1") as browser,
    ):
        for name in ("x" * 43, "../../etc/passwd", ""):
            browser.cookies.set("notes", name)
            answer = await browser.get("/notes")
            assert (303, "/sign-in") == (answer.status_code, answer.headers["location"])

    assert not (tmp_path / "sessions").exists()


async def test_a_service_that_is_away_is_503_and_signs_nobody_out(
    database_url: str, tmp_path: Path
) -> None:
    async with (
        serving(database_url, tmp_path) as ports,
        backend(tmp_path, f"http://localhost:{ports[0]}", "http://localhost:1") as browser,
    ):
        await sign_in(browser)
        away = await browser.get("/notes")

    assert (503, "5") == (away.status_code, away.headers.get("retry-after"))
    assert "still signed in" in away.text
    assert 1 == len(session_files(tmp_path))


@pytest.mark.finding("11.2")
async def test_the_address_of_the_browser_is_passed_on(database_url: str, tmp_path: Path) -> None:
    """Uvicorn believes the proxy before it (here: this test), authsvc believes the example."""
    trusted = {"TRUSTED_PROXIES": "127.0.0.1/32,::1/128"}
    async with serving(database_url, tmp_path, **trusted) as ports:
        issuer = f"http://localhost:{ports[0]}"
        async with backend(tmp_path, issuer, issuer) as browser:
            browser.headers["x-forwarded-for"] = "203.0.113.9"
            assert 303 == (await sign_in(browser)).status_code

    connection = await asyncpg.connect(database_url)
    try:
        seen = await connection.fetch("SELECT ip FROM refresh_families")
    finally:
        await connection.close()
    assert ["203.0.113.9"] == [row["ip"] for row in seen]
