from __future__ import annotations

import pytest

from authsvc.protocol.addresses import is_public, parse_address

NOT_PUBLIC = [
    "127.0.0.1", "127.8.8.8", "0.0.0.0",  # noqa: S104 - nothing binds to it
    "10.0.0.1", "172.16.0.1", "172.31.255.255",
    "192.168.1.1", "169.254.169.254", "100.64.0.1", "192.0.0.8", "192.0.2.1", "192.88.99.1",
    "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::127.0.0.1", "::ffff:8.8.8.8", "::ffff:127.0.0.1", "64:ff9b::7f00:1",
    "64:ff9b::a00:1", "64:ff9b:1::1", "100::1", "2001::1", "2001:0:7f00:1::", "2001:db8::1",
    "2002:7f00:1::1", "2002:a00:1::", "3fff::1", "5f00::1", "fc00::1", "fd00:ec2::254", "fe80::1",
    "fec0::1", "ff02::1",
]  # fmt: skip


@pytest.mark.requirement("A7")
@pytest.mark.parametrize("address", [*NOT_PUBLIC, "fe80::1%eth0"])
def test_what_is_not_on_the_public_internet_is_not_asked(address: str) -> None:
    assert not is_public(parse_address(address))


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "1.1.1.1", "93.184.216.34", "2606:4700::1111", "2a00:1450:4001:80b::200e"],
)
def test_the_public_internet_is(address: str) -> None:
    assert is_public(parse_address(address))
