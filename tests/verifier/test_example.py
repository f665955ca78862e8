"""examples/resource-service runs, as its README says, against a real authsvc."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from tests.support.live import EMAIL, PASSWORD, free_port, serving
from tests.verifier.snippets import ROOT

EXAMPLE = ROOT / "examples" / "resource-service"


@asynccontextmanager
async def notes(issuer: str, directory: Path) -> AsyncIterator[httpx.AsyncClient]:
    """The example as a process of its own."""
    port = free_port()
    origin = f"http://localhost:{port}"
    process = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "service:app", "--port", str(port), "--log-level=error"],
        cwd=EXAMPLE,
        env={
            **os.environ,
            "ISSUER": issuer,
            "ORIGIN": origin,
            "KEY_FILE": str(directory / "state" / "keys.json"),
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        stdout=subprocess.DEVNULL,
    )
    try:
        async with httpx.AsyncClient(base_url=origin) as client:
            async with asyncio.timeout(20):
                while not await _answers(client):
                    assert None is process.poll()
                    await asyncio.sleep(0.02)
            yield client
    finally:
        process.terminate()
        process.wait(10)


async def _answers(client: httpx.AsyncClient) -> bool:
    try:
        await client.get("/healthz")
    except httpx.TransportError:
        return False
    return True


async def log_in(origin: str, email: str, delivery: str) -> httpx.Response:
    async with httpx.AsyncClient(base_url=origin) as client:
        await client.post("/auth/register", json={"email": email, "password": PASSWORD})
        body = {"email": email, "password": PASSWORD, "delivery": delivery}
        return await client.post("/auth/login", json=body)


@pytest.mark.requirement("X1", "X2", "K4")
async def test_notes_belong_to_who_wrote_them_also_while_authsvc_is_away(
    database_url: str, tmp_path: Path
) -> None:
    async with serving(database_url, tmp_path) as ports:
        issuer = f"http://localhost:{ports[0]}"
        token = (await log_in(issuer, EMAIL, "native")).json()["access_token"]
        other = (await log_in(issuer, "bob@example.com", "native")).json()["access_token"]
        web = await log_in(issuer, EMAIL, "web")
        mine, his = ({"authorization": f"Bearer {each}"} for each in (token, other))

        async with notes(issuer, tmp_path) as client:
            written = await client.post("/notes", headers=mine, json={"text": "Buy milk."})
            assert (201, {"text": "Buy milk."}) == (written.status_code, written.json())
            assert ["Buy milk."] == (await client.get("/notes", headers=mine)).json()
            assert [] == (await client.get("/notes", headers=his)).json()
            assert 401 == (await client.get("/notes")).status_code
            assert 403 == (await client.get("/statistics", headers=mine)).status_code
            assert 200 == (await client.get("/healthz")).status_code

            # The real cookies: a browser shares them between the ports of one host.
            client.cookies = httpx.Cookies(
                {name: web.cookies[name] for name in ("authsvc_access", "authsvc_csrf")}
            )
            page = {"origin": str(client.base_url).rstrip("/")}
            csrf = {"x-csrf-token": web.json()["csrf_token"]}
            foreign = {"origin": "https://attacker.test"} | csrf
            assert 200 == (await client.get("/notes")).status_code
            assert 204 == (await client.delete("/notes", headers=page | csrf)).status_code
            assert 403 == (await client.delete("/notes", headers=page)).status_code
            assert 403 == (await client.delete("/notes", headers=foreign)).status_code

    async with notes(issuer, tmp_path) as client:
        assert [] == (await client.get("/notes", headers=mine)).json()
        assert 401 == (await client.get("/notes", headers=foreign)).status_code
