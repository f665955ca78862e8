"""Who the client is behind trusted proxies, and which network it belongs to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

from authsvc.protocol.host_names import ip_address_of

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# One subscriber usually holds a whole /64, so that single IPv6 addresses cost nothing.
IPV6_PREFIX = 64
IPV4_PREFIX = 32
MAX_HOPS = 20  # a chain of proxies is short; a longer list is an attack


def client_network(ip: str) -> str:
    """The client's IPv4 address or IPv6 /64, which throttling counts by."""
    address = parse_address(ip)
    if address is None:
        return "unknown"
    prefix = IPV6_PREFIX if isinstance(address, IPv6Address) else IPV4_PREFIX
    return str(ip_network((address, prefix), strict=False))


def parse_address(text: str) -> Address | None:
    """An IP address; IPv4 in its IPv6 form is IPv4 (RFC 4291 §2.5.5.2)."""
    address = ip_address_of(text)
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def resolve_client(
    peer: str, forwarded_for: Iterable[str], trusted: Sequence[Network]
) -> tuple[str, bool]:
    """
    Find the right-most hop that is not a trusted proxy; what stands left of it is hearsay.

    Args:
        peer: The address at the other end of the connection.
        forwarded_for: The values of all X-Forwarded-For headers, in order.
        trusted: Networks of proxies that tell the truth about the hop before them.

    Returns:
        The client's address, and whether the peer is a trusted proxy.
    """
    address = parse_address(peer.partition("%")[0])
    if address is None or not _is_trusted(address, trusted):
        return (peer if address is None else str(address)), False
    hops = ",".join(forwarded_for).rsplit(",", MAX_HOPS)[-MAX_HOPS:]
    for hop in reversed(hops):
        before = parse_address(_without_port(hop.strip()))
        if before is None:
            break  # the nearest proxy that made sense stands for whoever is behind it
        address = before
        if not _is_trusted(address, trusted):
            break
    return str(address), True


def is_trusted_proxy(peer: str, trusted: Sequence[Network]) -> bool:
    """Whether the other end of a connection is a proxy that we believe."""
    address = parse_address(peer.partition("%")[0])
    return address is not None and _is_trusted(address, trusted)


def _is_trusted(address: Address, trusted: Sequence[Network]) -> bool:
    return any(address in network for network in trusted)


def _without_port(hop: str) -> str:
    """`192.0.2.1:443` and `[2001:db8::1]:443` as some proxies write them."""
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    return hop.partition(":")[0] if hop.count(":") == 1 else hop
