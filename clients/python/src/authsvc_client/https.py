"""Whom to talk to, and how: addresses, certificate authorities and proxies (RFC 9110 §4.2.2)."""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx

from authsvc_client.tokens.loopback import is_loopback

# What ends an attempt to reach a server. ImportError, ValueError: the environment names a proxy of
# a kind that httpx cannot use.
UNREACHABLE = (httpx.HTTPError, httpx.InvalidURL, OSError, ImportError, ValueError)


def check_url(url: str, what: str) -> str:
    """
    Refuse an address that could be read or changed on the way.

    Returns:
        The address.

    Raises:
        ValueError: Not https (nor http on this machine), or with credentials or a fragment.
    """
    parts = urlsplit(url)
    secure = parts.scheme == "https" or (
        parts.scheme == "http" and is_loopback(parts.hostname or "")
    )
    if not secure or not parts.hostname:
        raise ValueError(f"{what} must begin with https:// (http:// only for this machine): {url}")
    if "@" in parts.netloc or "#" in url:
        raise ValueError(f"{what} must have neither user name nor fragment")
    return url


def authorities() -> ssl.SSLContext:
    """
    Whom to trust for https: whom the environment names, else the public authorities.

    Raises:
        OSError: The environment names what cannot be read.
    """
    try:
        named = os.environ.get("SSL_CERT_FILE")
        if named:
            Path(named).open("rb").close()  # httpx before 0.28 passes over what is missing
        return httpx.create_ssl_context()
    except OSError as exc:
        raise OSError(f"{exc} (SSL_CERT_FILE, SSL_CERT_DIR)") from exc


def why_unreachable(url: str, exc: Exception) -> str:
    """What to say of one of UNREACHABLE."""
    return f"{through_proxy(url)}: {str(exc) or type(exc).__name__}"


def through_proxy(url: str) -> str:
    """The environment's proxy for the text of an error, without credentials; empty without one."""
    parts, proxies = urlsplit(url), getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy or proxy_bypass(parts.hostname or ""):
        return ""
    scheme, _, rest = proxy.rpartition("://")
    return f" (through the proxy {scheme or 'http'}://{rest.rpartition('@')[2]})"
