"""Who the client is: the right-most hop that is not a trusted proxy."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from fastapi import APIRouter, Request

from authsvc.http.request.client_ip import client_network, resolve_client
from tests.support.small import application, client_of

TRUSTED = [ip_network("10.0.0.0/8"), ip_network("fd00::/8")]
PROXY = "10.0.0.1"


@pytest.mark.requirement("L3")
@pytest.mark.parametrize(
    ("peer", "forwarded_for", "client"),
    [
        (PROXY, ["203.0.113.7"], "203.0.113.7"),
        (PROXY, ["1.2.3.4, 203.0.113.7"], "203.0.113.7"),
        (PROXY, ["1.2.3.4", "203.0.113.7"], "203.0.113.7"),
        (PROXY, ["203.0.113.7, 10.0.0.9"], "203.0.113.7"),
        (PROXY, ["1.2.3.4, 203.0.113.7, 10.0.0.9, fd00::2"], "203.0.113.7"),
        (PROXY, ["10.0.0.8, 10.0.0.9"], "10.0.0.8"),
        (PROXY, [], PROXY),
        (PROXY, [""], PROXY),
        (PROXY, ["203.0.113.7, "], PROXY),
        (PROXY, ["203.0.113.7, unknown"], PROXY),
        (PROXY, ["203.0.113.7, _hidden, 10.0.0.9"], "10.0.0.9"),
        (PROXY, ["203.0.113.7:4711"], "203.0.113.7"),
        (PROXY, ["[2001:db8::7]:4711"], "2001:db8::7"),
        (PROXY, ["[2001:db8::7]"], "2001:db8::7"),
        (PROXY, ["2001:DB8:0:0::7"], "2001:db8::7"),
        (PROXY, ["::ffff:203.0.113.7"], "203.0.113.7"),
        (PROXY, ["fe80::1%eth0"], PROXY),
        (PROXY, ["fe80::1%\x1b[2J"], PROXY),
        (PROXY, ["203.0.113.7\t"], "203.0.113.7"),
        (PROXY, ["127.1"], PROXY),
        (PROXY, ["0x7f000001"], PROXY),
        (PROXY, [", ".join(["10.0.0.9"] * 10_000)], "10.0.0.9"),
        ("fd00::1", ["203.0.113.7"], "203.0.113.7"),
        ("::ffff:10.0.0.1", ["203.0.113.7"], "203.0.113.7"),
        ("198.51.100.1", ["203.0.113.7"], "198.51.100.1"),
        ("198.51.100.1", [], "198.51.100.1"),
        ("testclient", ["203.0.113.7"], "testclient"),
        ("fe80::1%eth0", ["203.0.113.7"], "fe80::1"),
    ],
)
def test_the_client_is_the_last_hop_before_the_trusted_ones(
    peer: str, forwarded_for: list[str], client: str
) -> None:
    found, by_proxy = resolve_client(peer, forwarded_for, TRUSTED)

    assert client == found
    assert (peer in {PROXY, "fd00::1", "::ffff:10.0.0.1"}) == by_proxy


@pytest.mark.requirement("L3")
@pytest.mark.parametrize(
    ("ip", "network"),
    [
        ("203.0.113.7", "203.0.113.7/32"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("::ffff:203.0.113.7", "203.0.113.7/32"),
        ("::1", "::/64"),
        ("", "unknown"),
        ("testclient", "unknown"),
        ("fe80::1%eth0", "unknown"),
    ],
)
def test_a_network_is_an_ipv4_address_or_an_ipv6_64(ip: str, network: str) -> None:
    assert network == client_network(ip)


def showing() -> APIRouter:
    router = APIRouter()

    @router.get("/client")
    async def client(request: Request) -> list[str | None]:
        return [request.client.host if request.client else None, request.url.scheme]

    return router


FORWARDED = {"x-forwarded-for": "203.0.113.7", "x-forwarded-proto": "https"}


@pytest.mark.requirement("L3")
@pytest.mark.parametrize(
    ("peer", "trusted", "headers", "seen"),
    [
        (PROXY, "10.0.0.0/8", FORWARDED, ["203.0.113.7", "https"]),
        ("198.51.100.1", "10.0.0.0/8", FORWARDED, ["198.51.100.1", "http"]),
        (PROXY, "", FORWARDED, [PROXY, "http"]),
        (PROXY, "10.0.0.0/8", {"forwarded": "for=203.0.113.7;proto=https"}, [PROXY, "http"]),
        (PROXY, "10.0.0.0/8", {"x-forwarded-proto": "gopher"}, [PROXY, "http"]),
        (PROXY, "10.0.0.0/8", {"x-forwarded-proto": "http, HTTPS"}, [PROXY, "https"]),
        (PROXY, "10.0.0.0/8", {"x-real-ip": "203.0.113.7"}, [PROXY, "http"]),
    ],
    ids=[
        "trusted", "a stranger", "nobody is trusted", "RFC 7239", "odd scheme", "list", "X-Real-IP",
    ],
)  # fmt: skip
async def test_only_a_trusted_proxy_is_believed(
    peer: str, trusted: str, headers: dict[str, str], seen: list[str]
) -> None:
    app = application(showing(), trusted_proxies=trusted)

    answer = await client_of(app, peer=peer).get("/client", headers=headers)

    assert seen == answer.json()
