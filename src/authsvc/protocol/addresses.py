"""Which addresses are on the public Internet; everything else could be something of ours."""

from __future__ import annotations

from ipaddress import (
    IPv4Address,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

Address = IPv4Address | IPv6Address

# Special ones that Python, depending on its version, calls global (RFC 6890, RFC 7526).
SPECIAL_V4 = tuple(map(ip_network, ("192.0.0.0/24", "192.88.99.0/24")))
GLOBAL_UNICAST = IPv6Network("2000::/3")  # all that IANA has given out (RFC 3587)
# Protocol assignments with Teredo and ORCHID, documentation, 6to4: they may hold an IPv4 address.
SPECIAL_V6 = tuple(map(ip_network, ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")))


def parse_address(text: str) -> Address:
    """
    An address as the resolver writes it, without its zone.

    Raises:
        ValueError: It is none.
    """
    return ip_address(text.partition("%")[0])


def is_public(address: Address) -> bool:
    """
    Whether an address is public: not this machine, not its networks, not a cloud's metadata (SSRF).

    An IPv6 address that carries an IPv4 one (mapped, NAT64, 6to4) is none: where it leads is
    decided elsewhere.
    """
    if isinstance(address, IPv4Address):
        return (
            address.is_global
            and not address.is_multicast
            and not any(address in network for network in SPECIAL_V4)
        )
    return address in GLOBAL_UNICAST and not any(address in network for network in SPECIAL_V6)
