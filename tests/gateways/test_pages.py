"""A page whose access cookie has run out: nginx and Caddy send the browser for a new one."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.gateways.client import Headers, send
from tests.gateways.conftest import CADDY, NGINX, Gateway, World, running

PAGE: Headers = [("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "document")]

pytestmark = pytest.mark.finding("P21")


@pytest.fixture(scope="module", params=(NGINX, CADDY), ids=lambda gateway: gateway.name)
def gateway(
    request: pytest.FixtureRequest, world: World, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[int]:
    """The port of a real gateway in front of the world."""
    chosen: Gateway = request.param
    with running(chosen, world.authsvc, world.orders.port, tmp_path_factory) as port:
        yield port


@pytest.mark.parametrize(
    ("path", "back"),
    [
        ("/orders/1", "/orders/1"),
        ("/orders?page=2", "/orders?page=2"),
        # What would have to be percent-encoded cannot become a parameter of our page.
        ("/?a=1&sign_in=https://attacker.test", "/"),
        ("/a%0d%0aX-Planted:1", "/"),
    ],
)
async def test_a_page_is_sent_to_continue_and_back(gateway: int, path: str, back: str) -> None:
    answer = await send(gateway, path=path, headers=PAGE)

    address = httpx.URL(answer.headers["location"])
    assert (302, "/auth/continue") == (answer.status, address.path)
    assert {"return_to": f"http://localhost:{gateway}{back}"} == dict(address.params)
    shown = await send(gateway, path=address.raw_path.decode(), headers=PAGE)
    assert 200 == shown.status, shown.body


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("GET", []),
        ("GET", [("Sec-Fetch-Mode", "cors")]),
        ("POST", PAGE),
        ("GET", [("Authorization", "Bearer a.b.c")]),
    ],
)
async def test_a_script_gets_the_401_with_its_challenge(
    gateway: int, method: str, headers: Headers
) -> None:
    answer = await send(gateway, method, headers=headers)

    assert 401 == answer.status
    assert answer.headers["www-authenticate"].startswith("Bearer ")
    assert "location" not in answer.headers


async def test_a_page_with_a_session_passes(gateway: int, world: World) -> None:
    assert 200 == (await send(gateway, headers=[world.cookie, *PAGE])).status
