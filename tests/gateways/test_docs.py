"""docs/behind-a-gateway.md shows what the examples say, and its snippet works."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest

from tests.gateways.client import send
from tests.gateways.conftest import EXAMPLES, World

PAGE = (Path(__file__).parents[2] / "docs" / "behind-a-gateway.md").read_text(encoding="utf-8")
FILES = {
    "nginx": ("nginx.conf",),
    "caddy": ("Caddyfile",),
    "haproxy": ("haproxy.cfg",),
    "yaml": ("traefik.yml",),
}


def block(language: str) -> str:
    """The one block of that language."""
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    assert isinstance(found, str)
    return found


@pytest.mark.parametrize("language", FILES)
def test_what_is_shown_stands_in_the_example_in_that_order(language: str) -> None:
    (name,) = FILES[language]
    lines = iter([line.strip() for line in (EXAMPLES / name).read_text().splitlines()])

    for shown in block(language).splitlines():
        assert shown.strip() in lines, shown  # goes on where the last was found


async def test_the_snippet_reads_what_the_gateway_passes_on(gateway: int, world: World) -> None:
    await send(gateway, headers=[world.bearer])
    (assertion,) = world.orders.received[-1].named("X-Identity-Assertion")
    there: dict[str, object] = {"__name__": "orders"}
    source = block("python").replace("localhost:8000", f"localhost:{world.authsvc}")
    exec(compile(source, "docs/behind-a-gateway.md", "exec"), there)  # noqa: S102 - our own page
    transport = httpx.ASGITransport(app=there["app"])  # type: ignore[arg-type]  # a FastAPI

    async with httpx.AsyncClient(transport=transport, base_url="http://orders") as client:
        read = await client.get("/orders/7", headers={"X-Identity-Assertion": assertion})
        bare = await client.get("/orders/7")
        token = await client.get("/orders/7", headers={"X-Identity-Assertion": world.access_token})

    assert (200, f'"Order 7 of {world.user_id}."') == (read.status_code, read.text)
    assert [401, 401] == [bare.status_code, token.status_code]
