"""Cookies know no ports: two instances on one host tell theirs apart by a suffix."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from authsvc.app import create_app
from authsvc.settings import Settings
from authsvc_client.verifier import CookieSessions
from tests.http.conftest import MovableClock, log_in, refresh

pytestmark = [pytest.mark.finding("P30"), pytest.mark.usefixtures("alice")]

HTTPS = "https://auth.example.com"
NAMES = ("refresh", "access", "csrf", "device")


def names_in(answer: httpx.Response) -> set[str]:
    """The cookies that it sets."""
    lines = answer.headers.get_list("set-cookie")
    return {line.partition("=")[0] for line in lines if "; Max-Age=0" not in line}


def to(client: httpx.AsyncClient, app: FastAPI) -> httpx.AsyncClient:
    """The same browser, which asks another instance: one cookie jar."""
    other = httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url=client.base_url)
    other.cookies = client.cookies.jar
    return other


@pytest.mark.parametrize("delivery", ["spa", "web"])
async def test_two_instances_on_one_host_leave_each_others_session_alone(
    client: httpx.AsyncClient, settings: Settings, clock: MovableClock, delivery: str
) -> None:
    second = create_app(settings.model_copy(update={"cookie_suffix": "two"}), clock=clock)
    async with second.router.lifespan_context(second), to(client, second) as elsewhere:
        first_login = await log_in(client, delivery)
        second_login = await log_in(elsewhere, delivery)

        first = await refresh(client, x_csrf_token=csrf(first_login))
        out = await elsewhere.post("/auth/logout", headers={"x-csrf-token": csrf(second_login)})
        again = await refresh(client, x_csrf_token=csrf(first))

    assert [200, 204, 200] == [first.status_code, out.status_code, again.status_code]


def csrf(answer: httpx.Response) -> str:
    """The token for writes by cookie; `spa` has none."""
    body: dict[str, Any] = answer.json()
    return str(body.get("csrf_token", ""))


@pytest.mark.settings(cookie_suffix="blue")
async def test_every_cookie_has_the_suffix(client: httpx.AsyncClient) -> None:
    assert {f"authsvc_{name}_blue" for name in NAMES} == names_in(await log_in(client, "web"))


@pytest.mark.settings(issuer=HTTPS, cookie_suffix="blue")
async def test_the_prefixes_stay(client: httpx.AsyncClient) -> None:
    client.base_url = httpx.URL(HTTPS)

    names = names_in(await log_in(client, "web"))

    assert {
        "__Secure-authsvc_refresh_blue",
        "__Host-authsvc_access_blue",
        "__Host-authsvc_csrf_blue",
        "__Host-authsvc_device_blue",
    } == names


@pytest.mark.settings(cookie_suffix="blue", allowed_hosts=("auth.app.example", "localhost"))
async def test_twins_of_the_own_names_are_cleared_and_no_others(
    new_client: Callable[..., httpx.AsyncClient],
) -> None:
    answer = await log_in(new_client(base_url="http://auth.app.example"), "spa")

    cleared = {
        line.partition("=")[0]
        for line in answer.headers.get_list("set-cookie")
        if "; Domain=app.example" in line and "; Max-Age=0" in line
    }
    assert {f"authsvc_{name}_blue" for name in ("refresh", "access", "csrf")} == cleared


@pytest.mark.settings(cookie_suffix="blue")
async def test_the_page_that_continues_a_session_reads_the_same_name(
    client: httpx.AsyncClient,
) -> None:
    answer = await client.get("/auth/continue", params={"return_to": "http://localhost:8000/x"})

    assert 'data-csrf-cookie="authsvc_csrf_blue"' in answer.text


@pytest.mark.settings(cookie_suffix="blue")
@pytest.mark.parametrize(
    ("origin", "shared", "prefix"),
    [
        ("http://localhost:8001", False, ""),
        ("https://app.example.com", False, "__Host-"),
        ("https://app.example.com", True, "__Secure-"),
    ],
)
async def test_a_resource_service_reads_the_same_names(
    origin: str, prefix: str, *, shared: bool
) -> None:
    read = CookieSessions(origins=[origin], shared=shared, suffix="blue")

    assert (f"{prefix}authsvc_access_blue", f"{prefix}authsvc_csrf_blue") == (
        read.access_cookie,
        read.csrf_cookie,
    )
