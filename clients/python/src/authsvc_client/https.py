"""
Connections to authsvc: addresses, certificate authorities, proxies, and fetches within limits.

Only https (http on this machine), no redirects; a fetch has a bounded size, a bounded time, and no
compression.
"""

from __future__ import annotations

import os
import ssl
import time
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx

from authsvc_client.tokens.loopback import is_loopback

# What ends an attempt to reach a server. ImportError, ValueError: the environment names a proxy of
# a kind that httpx cannot use.
UNREACHABLE = (httpx.HTTPError, httpx.InvalidURL, OSError, ImportError, ValueError)


class FetchFailed(Exception):  # noqa: N818 - read as a sentence: raise FetchFailed
    """Nothing usable was to be had; the text says why, and is for the log."""


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


class Transfer:
    """
    Requests to one issuer. They block, so they run in a thread.

    Args:
        timeout: For each request; of `get`, as a whole.
        ssl_context: Whom to trust; None: the public authorities.
    """

    def __init__(self, *, timeout: timedelta, ssl_context: ssl.SSLContext | None) -> None:
        self._timeout = timeout.total_seconds()
        self._ssl_context = ssl_context

    def get(
        self, url: str, headers: dict[str, str], *, at_most: int
    ) -> tuple[httpx.Response, bytes]:
        """
        The answer of any status, and its body.

        Args:
            at_most: Bytes of the body.

        Raises:
            FetchFailed: None came, or one that is too long, late or compressed.
        """
        until = time.monotonic() + self._timeout
        headers = {"Accept-Encoding": "identity", **headers}
        try:
            with (
                self.client() as client,
                client.stream("GET", url, headers=headers) as answer,
            ):
                if answer.headers.get("content-encoding", "identity") != "identity":
                    raise FetchFailed(f"{url} answered compressed, which was not asked for")
                body = bytearray()
                for chunk in answer.iter_raw():
                    body += chunk
                    if len(body) > at_most:
                        raise FetchFailed(f"{url} answered more than {at_most} bytes")
                    if time.monotonic() > until:
                        raise FetchFailed(f"{url} took longer than {self._timeout:g} s")
                return answer, bytes(body)
        except UNREACHABLE as exc:
            raise FetchFailed(f"{url}{why_unreachable(url, exc)}") from exc

    def client(self) -> httpx.Client:
        """For one request; it follows no redirects."""
        return httpx.Client(verify=self._trust, timeout=self._timeout)

    @cached_property
    def _trust(self) -> ssl.SSLContext:
        """Made once: reading the authorities takes 20 ms."""
        return self._ssl_context or authorities()
