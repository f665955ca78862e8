"""The forgeries work: each line of the examples that stops one is missed when it is not there."""

from __future__ import annotations

import pytest

from tests.gateways.client import Headers, send
from tests.gateways.conftest import CADDY, HAPROXY, NGINX, Gateway, World, running

HYPHENS: Headers = [("X-User-ID", "forged")]
UNDERSCORES: Headers = [("X_User_ID", "forged")]
LISTED: Headers = [("Connection", "close, X-User-ID")]


@pytest.mark.requirement("Q6")
@pytest.mark.parametrize(
    ("gateway", "instead", "forgery"),
    [
        (NGINX, ("underscores_in_headers off", "underscores_in_headers on"), UNDERSCORES),
        (NGINX, ("proxy_set_header X-User-ID $user_id;", ""), HYPHENS),
        (CADDY, ("request_header -*_*", ""), UNDERSCORES),
        (CADDY, ("copy_headers X-User-ID", "copy_headers"), HYPHENS),
        (CADDY, ("request_header @plain -Connection", ""), LISTED),
        (HAPROXY, ("http-request del-header [^A-Za-z0-9-] -m reg", ""), UNDERSCORES),
        (HAPROXY, ("http-request set-header X-User-ID %[var(txn.user_id)]", ""), HYPHENS),
    ],
    ids=[
        "nginx-underscores",
        "nginx-overwriting",
        "caddy-underscores",
        "caddy-overwriting",
        "caddy-connection",
        "haproxy-underscores",
        "haproxy-overwriting",
    ],
)
async def test_without_its_line_the_forgery_comes_through(
    world: World,
    tmp_path_factory: pytest.TempPathFactory,
    gateway: Gateway,
    instead: tuple[str, str],
    forgery: Headers,
) -> None:
    ports = (world.authsvc, world.orders.port)
    with running(gateway, *ports, tmp_path_factory, instead=instead) as port:
        answer = await send(port, headers=[world.bearer, *forgery])

    assert 200 == answer.status
    assert [world.user_id] != world.orders.received[-1].named("X-User-ID")
