"""P20: web views of apps have origins of their own schemes; N13: the root of the service."""

from __future__ import annotations

import httpx
import pytest

from authsvc.settings import Settings, SettingsError
from tests.http.conftest import EMAIL, PASSWORD

APPS = ("capacitor://localhost", "ionic://localhost", "tauri://localhost",
        "chrome-extension://abcdefghijklmnop")  # fmt: skip
pytestmark = pytest.mark.usefixtures("alice")


async def log_in_from(client: httpx.AsyncClient, origin: str, delivery: str) -> httpx.Response:
    body = {"email": EMAIL, "password": PASSWORD, "delivery": delivery}
    headers = {"origin": origin, "sec-fetch-site": "cross-site"}
    return await client.post("/auth/login", json=body, headers=headers)


@pytest.mark.finding("P20")
@pytest.mark.settings(cors_origins=APPS)
@pytest.mark.parametrize("origin", APPS)
async def test_a_listed_app_logs_in_natively_and_never_by_cookie(
    client: httpx.AsyncClient, origin: str
) -> None:
    native, spa = [await log_in_from(client, origin, way) for way in ("native", "spa")]

    assert (200, origin) == (native.status_code, native.headers["access-control-allow-origin"])
    assert (400, "cookies_impossible") == (spa.status_code, spa.json()["code"])
    assert [] == spa.headers.get_list("set-cookie")


@pytest.mark.finding("P20")
@pytest.mark.settings(cors_origins=APPS[:1])
@pytest.mark.parametrize("origin", ["capacitor://other", "capacitor://localhost.evil", *APPS[1:]])
async def test_an_app_that_is_not_listed_hears_that_it_is_not(
    client: httpx.AsyncClient, origin: str
) -> None:
    answer = await log_in_from(client, origin, "native")

    assert (403, "csrf_failed") == (answer.status_code, answer.json()["code"])
    assert "origin is not listed" in answer.json()["detail"]
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.finding("P20")
@pytest.mark.parametrize("origin", ["capacitor://", "ionic://a/b", "tauri://*", "ftp://a", "app:x"])
def test_only_exact_origins_of_known_schemes_are_listed(origin: str) -> None:
    with pytest.raises(SettingsError):
        Settings.load(cors_origins=(origin,))


@pytest.mark.finding("N13")
async def test_in_development_the_root_leads_to_the_demo(client: httpx.AsyncClient) -> None:
    answer = await client.get("/")

    assert (307, "/demo") == (answer.status_code, answer.headers["location"])
    assert 307 == (await client.head("/")).status_code


@pytest.mark.finding("N13")
@pytest.mark.settings(demo=False)
async def test_without_the_demo_the_root_is_nothing(client: httpx.AsyncClient) -> None:
    assert 404 == (await client.get("/")).status_code
