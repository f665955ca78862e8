"""A sibling host that nobody listed is the same site: the browser sends it every cookie of ours."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.browser.conftest import ADA
from tests.support.live import free_port, serving
from tests.support.node import observed

HOSTS = EVIL, OTHER_SITE = "evil.app.localhost", "evil.localhost"


@pytest.fixture
async def seen(database_url: str, chromium: str, tmp_path: Path) -> AsyncIterator[dict[str, Any]]:
    """What foreign_pages.mjs has observed."""
    page_port = free_port()
    known_at = free_port()
    async with (
        serving(
            database_url,
            tmp_path,
            ISSUER=f"http://auth.app.localhost:{known_at}",
            COOKIE_DOMAIN="app.localhost",
            CORS_ORIGINS=f"http://www.app.localhost:{page_port}",
        ) as ports,
        httpx.AsyncClient(base_url=f"http://localhost:{ports[0]}") as client,
    ):
        assert 201 == (await client.post("/auth/register", json=ADA)).status_code
        script = Path(__file__).parent / "foreign_pages.mjs"
        yield await asyncio.to_thread(
            observed, script, str(ports[0]), str(known_at), str(page_port), chromium, told=ADA
        )


@pytest.mark.requirement("X1", "X2", "X6", "O11")
async def test_an_unlisted_sibling_and_another_site_write_nothing(seen: dict[str, Any]) -> None:
    writes = {"refresh", "refreshWithToken", "endSession", "password", "logout"}

    # The attack is real: this sibling knows the CSRF value, and its requests carry the cookies.
    assert seen["shared"]
    assert seen["stolen"]
    sent = {host: [w for w in seen["writes"] if f"//{host}:" in w["origin"]] for host in HOSTS}
    assert len(seen["writes"]) == len(sent[EVIL]) + len(sent[OTHER_SITE])
    assert {"/auth/refresh", "/auth/logout"} == {write["path"] for write in sent[EVIL]}
    assert {"same-site"} == {write["site"] for write in sent[EVIL]}
    assert [403, 403, 415, 415] == sorted(write["outcome"] for write in sent[EVIL])
    for write in sent[EVIL]:
        assert {"authsvc_access", "authsvc_csrf", "authsvc_refresh"} <= set(write["cookies"])
    assert {"cross-site"} == {write["site"] for write in sent[OTHER_SITE]}
    assert [[""]] * len(sent[OTHER_SITE]) == [write["cookies"] for write in sent[OTHER_SITE]]
    # Nobody but a listed page reads an answer, or gets past a preflight.
    assert dict.fromkeys(writes, "blocked") == seen["evil"] == seen["otherSite"]
    assert [415, 415] == seen["evilForms"]  # forms need no preflight, and bring no JSON
    # It still is what it was: the listed page refreshes it, and ends it.
    assert {
        "refresh": 403,  # without the CSRF value
        "refreshWithToken": 200,
        "endSession": 404,
        "password": 403,
        "logout": 403,
    } == seen["www"]

    # The page that renews cookies cannot be framed, read, or made to go elsewhere.
    assert [0, "blocked"] == [seen["framed"], seen["read"]]
    assert [422, "auth.app.localhost"] == seen["unlisted"]
    assert seen["renewed"]
