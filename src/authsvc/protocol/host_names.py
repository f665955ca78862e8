"""
Hosts in the URLs that clients register, read strictly (RFC 3986 §3.2.2, RFC 1123 §2.1).

Stricter than URLs are: no percent-encoding, no wildcard, no empty label, no spelling of an address
that programs read differently (`0x7f.1`, `127.1`).
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from urllib.parse import urlsplit

from authsvc.protocol.addresses import Address, is_public

LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
MAX_NAME = 253  # characters (RFC 1035 §2.3.4, in text)


def is_host(host: str) -> bool:
    """Whether it is a host name, or an IP address in its plain form (IPv6 without brackets)."""
    labels = host.lower().split(".")
    if ip_address_of(host) is not None:
        return True
    return (
        len(host) <= MAX_NAME
        and all(map(LABEL.fullmatch, labels))
        # A last label that begins with a digit makes browsers read all of it as a number.
        and not labels[-1][0].isdigit()
    )


def is_public_host(host: str) -> bool:
    """Whether it may be on the public Internet, as far as can be told without DNS (SSRF)."""
    address = ip_address_of(host)
    if address is not None:
        return is_public(address)
    return host.rpartition(".")[2] != "localhost"  # this machine, with all below (RFC 6761 §6.3)


def has_sound_host(url: str) -> bool:
    """Whether the host of a URL is one, and its port, if it names one, too."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:  # a port that is none, an unclosed bracket
        return False
    host = parts.hostname or ""
    # Spelled back: brackets around an IPv6 address and nothing else, no zeros before a port.
    address = f"[{host}]" if ":" in host else host
    spelled = parts.netloc.rpartition("@")[2].lower()
    return port != 0 and spelled in {address, f"{address}:{port}"} and is_host(host)


def ip_address_of(host: str) -> Address | None:
    """The address that a text is; a zone id (`%eth0`) means something on one machine only."""
    if "%" in host:
        return None
    try:
        return ip_address(host)
    except ValueError:
        return None
