"""Which proxy the environment puts between us and an address, for the text of an error."""

from __future__ import annotations

from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass


def through_proxy(url: str) -> str:
    """` (through the proxy http://proxy:3128)` without its credentials; empty without one."""
    parts, proxies = urlsplit(url), getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy or proxy_bypass(parts.hostname or ""):
        return ""
    scheme, _, rest = proxy.rpartition("://")
    return f" (through the proxy {scheme or 'http'}://{rest.rpartition('@')[2]})"
