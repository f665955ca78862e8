"""Which hosts are this machine, where http is as good as https."""

from __future__ import annotations

import ipaddress


def is_loopback(host: str) -> bool:
    """Whether the host of a URL is a loopback name or address, without asking DNS."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
