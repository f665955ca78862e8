"""Hosts that clients register are hosts, in the one spelling that all programs read alike."""

from __future__ import annotations

from dataclasses import replace

import pytest

from authsvc.protocol.clients import check_client
from authsvc.protocol.errors import ValidationFailed
from authsvc.protocol.host_names import is_host
from tests.protocol.test_addresses import NOT_PUBLIC
from tests.protocol.test_clients import CLIENT

pytestmark = pytest.mark.finding("11.19")
WRONG = [
    "*.example.com", "*", "a..example.com", ".example.com", "example.com.", "-a.example.com",
    "a-.example.com", "a%2eexample.com", "a_b.example.com", "x" * 64 + ".com", "127.1", "0x7f.1",
    "2130706433", "1.2.3.4.5", "ä.example.com", "[fe80::1%25eth0]", "a.example.com:", "a.b:0",
    "a.b:99999", "[v1.a]", "[1.2.3.4]", "[a.b]", "x[::1]", "[::1]x",
    ",".join(["a"] * 9), ".".join(["a" * 60] * 5),
]  # fmt: skip


@pytest.mark.parametrize("host", WRONG)
def test_a_host_that_is_none_is_refused_wherever_it_stands(host: str) -> None:
    url = f"https://{host}/x"
    for changed in (
        replace(CLIENT, jwks_uri=url),
        replace(CLIENT, resources=(url,)),
        replace(CLIENT, audiences=(url,)),
    ):
        with pytest.raises(ValidationFailed):
            check_client(changed)


@pytest.mark.parametrize(
    "host", ["localhost", "a.localhost", *(f"[{a}]" if ":" in a else a for a in NOT_PUBLIC)]
)
def test_keys_at_an_address_that_is_never_asked_are_refused_at_once(host: str) -> None:
    """What registering and fetching call public is one definition."""
    with pytest.raises(ValidationFailed):
        check_client(replace(CLIENT, jwks_uri=f"https://{host}/jwks.json"))

    check_client(replace(CLIENT, resources=(f"https://{host}/",)))  # a service of the same network


@pytest.mark.parametrize("name", ["orders", "urn:example:orders", "api://orders"])
def test_a_name_that_is_no_web_address_stays_free(name: str) -> None:
    check_client(replace(CLIENT, resources=(name,), audiences=(name,)))


@pytest.mark.parametrize(
    "host", ["a", "localhost", "a-b.example.com", "xn--bcher-kva.example", "1.2.3.4", "::1", "4.de"]
)
def test_a_host_is_one(host: str) -> None:
    assert is_host(host)
