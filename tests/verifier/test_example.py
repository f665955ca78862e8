"""examples/resource-service runs, as its README says, against a real authsvc."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from tests.support.examples import notes
from tests.support.live import access_token, log_in, serving


@pytest.mark.requirement("X1", "X2", "K4")
async def test_notes_belong_to_who_wrote_them_also_while_authsvc_is_away(
    database_url: str, tmp_path: Path
) -> None:
    async with serving(database_url, tmp_path) as ports:
        issuer = f"http://localhost:{ports[0]}"
        token = await access_token(issuer)
        other = (await log_in(issuer, email="bob@example.com")).json()["access_token"]
        web = await log_in(issuer, "web")
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
