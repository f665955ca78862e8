"""Behind a proxy that ends TLS: who the client is, and that cookies stay secure."""

from __future__ import annotations

from ipaddress import ip_network

import httpx
import pytest

from tests.http.conftest import EMAIL, PASSWORD, ClientFactory, log_in, refresh

PROXY = "10.0.0.2"
TRUSTING = {
    "issuer": "https://auth.example.com",
    "trusted_proxies": (ip_network("10.0.0.0/8"),),
}
pytestmark = [pytest.mark.usefixtures("registered"), pytest.mark.requirement("L3")]


@pytest.fixture
async def registered(new_client: ClientFactory) -> None:
    client = new_client(base_url="http://auth.example.com")
    await client.post("/auth/register", json={"email": EMAIL, "password": PASSWORD})


async def seen_ip(client: httpx.AsyncClient, **headers: str) -> str:
    """The address that the service noted for a login with these headers."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    body = {"email": EMAIL, "password": PASSWORD, "delivery": "native"}
    token = (await client.post("/auth/login", json=body, headers=sent)).json()["access_token"]
    listed = await client.get(
        "/auth/sessions", headers={"authorization": f"Bearer {token}", **sent}
    )
    ip: str = next(entry["ip"] for entry in listed.json()["sessions"] if entry["current"])
    return ip


@pytest.mark.settings(**TRUSTING)
@pytest.mark.parametrize(
    ("peer", "forwarded_for", "expected"),
    [
        (PROXY, "203.0.113.5", "203.0.113.5"),
        (PROXY, "203.0.113.5, 10.0.0.9", "203.0.113.5"),
        (PROXY, "1.2.3.4, 203.0.113.5", "203.0.113.5"),
        (PROXY, "nonsense", PROXY),
        ("192.0.2.1", "203.0.113.5", "192.0.2.1"),
    ],
    ids=["one-hop", "two-proxies", "forged-left-of-the-truth", "nonsense", "untrusted-peer"],
)
async def test_the_client_is_the_right_most_untrusted_hop(
    new_client: ClientFactory, peer: str, forwarded_for: str, expected: str
) -> None:
    client = new_client(peer, base_url="http://auth.example.com")

    assert expected == await seen_ip(client, x_forwarded_for=forwarded_for)


@pytest.mark.settings(issuer="https://auth.example.com")
async def test_without_trusted_proxies_nothing_forwarded_is_believed(
    new_client: ClientFactory,
) -> None:
    client = new_client(PROXY, base_url="http://auth.example.com")

    assert PROXY == await seen_ip(client, x_forwarded_for="203.0.113.5")


@pytest.mark.requirement("C1", "H2")
@pytest.mark.settings(**TRUSTING)
@pytest.mark.parametrize("proto", ["https", "http", "nonsense"])
async def test_cookies_follow_the_issuer_and_not_a_header(
    new_client: ClientFactory, proto: str
) -> None:
    """The plain-http hop behind the proxy must not make them insecure."""
    client = new_client(
        PROXY,
        base_url="http://auth.example.com",
        headers={"x-forwarded-proto": proto, "x-forwarded-for": "203.0.113.5"},
    )

    login = await log_in(client, "web")

    cookies = login.headers.get_list("set-cookie")
    # With those that clear a twin on the host and its parent domain.
    assert 6 == len(cookies)
    assert all("; Secure" in cookie for cookie in cookies)
    assert "max-age=31536000; includeSubDomains" == login.headers["strict-transport-security"]
    refreshed = await refresh(
        client,
        x_csrf_token=login.json()["csrf_token"],
        cookie=f"; __Secure-authsvc_refresh={login.cookies['__Secure-authsvc_refresh']}",
        origin="https://auth.example.com",
    )
    assert 200 == refreshed.status_code
