"""
HTTP fetches of client-supplied URLs, guarded against SSRF (OWASP ASVS 5.0 1.3.6, 15.3.2).

The name is resolved once, every address it has must be public, and the connection goes to one
that was looked at: no second answer of DNS can differ (DNS rebinding). No redirects,
no proxies, 3 seconds, 256 KiB.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from functools import cached_property
from urllib.parse import urlsplit

import httpx

from authsvc.protocol.addresses import Address, is_public, parse_address
from authsvc.protocol.clients import check_jwks_uri
from authsvc.protocol.errors import ValidationFailed
from authsvc_client.tokens.loopback import is_loopback

TIMEOUT = timedelta(seconds=3)  # for all of it: names, connections, the last byte
MAX_CAUSES = 8
MAX_BYTES = 256 * 1024
MAX_CHUNKS = 4096  # each costs time on the event loop, also one of a single byte
HEADERS = {"Accept": "application/jwk-set+json, application/json", "Accept-Encoding": "identity"}
DEFAULT_PORTS = {"https": 443, "http": 80}

Resolve = Callable[[str, int], Awaitable[Sequence[Address]]]


class RemoteFetchFailed(Exception):  # noqa: N818 - read as a sentence: raise RemoteFetchFailed
    """The document was not to be had; the text says why, and is for the log."""


async def resolve(host: str, port: int) -> Sequence[Address]:
    """The addresses of a name, as the system finds them."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [parse_address(str(entry[4][0])) for entry in found]


class Fetcher:
    """
    Fetches; lives as long as the process.

    Args:
        loopback: Whether this machine may be asked by its own names, also by http: development.
        resolve, permits, ssl_context: Only tests pass them.
    """

    def __init__(
        self,
        *,
        loopback: bool,
        timeout: timedelta = TIMEOUT,
        resolve: Resolve = resolve,
        permits: Callable[[Address], bool] = is_public,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._loopback = loopback
        self._timeout = timeout.total_seconds()
        self._resolve = resolve
        self._permits = permits
        self._ssl_context = ssl_context

    async def fetch(self, uri: str) -> bytes:
        """
        The body of a 200.

        Raises:
            RemoteFetchFailed: Something else came, too much, too late, or nothing was asked for.
        """
        try:
            async with asyncio.timeout(self._timeout):
                return await self._fetch(uri)
        except TimeoutError:
            raise RemoteFetchFailed(f"it took longer than {self._timeout:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as exc:
            # Also what a resolver says to a name that is none (UnicodeError). Never the message:
            # it quotes the other server (a status line, a header), and this goes to the log.
            raise RemoteFetchFailed(_kinds(exc)) from exc

    async def _fetch(self, uri: str) -> bytes:
        url = self._checked(uri)
        port = url.port or DEFAULT_PORTS[url.scheme]
        addresses = await self._resolve(url.host, port)
        local = self._loopback and is_loopback(url.host)
        for address in addresses:
            if not (address.is_loopback if local else self._permits(address)):
                raise RemoteFetchFailed(f"{address} is not on the public Internet")
        async with httpx.AsyncClient(
            verify=self._trust, trust_env=False, timeout=self._timeout
        ) as client:
            failed: httpx.HTTPError | None = None
            for address in addresses:
                try:
                    return await _get(client, url, address)
                except httpx.ConnectError as exc:
                    failed = exc
        raise failed or RemoteFetchFailed("the name has no address")

    def _checked(self, uri: str) -> httpx.URL:
        """Once more at the moment of use: a registration may be older than a rule."""
        try:
            check_jwks_uri(uri, loopback=self._loopback)
        except ValidationFailed as exc:
            raise RemoteFetchFailed(exc.errors[0].msg) from None
        url = httpx.URL(uri)
        if url.host != urlsplit(uri).hostname:
            raise RemoteFetchFailed("the address can be read in two ways")
        return url

    @cached_property
    def _trust(self) -> ssl.SSLContext:
        """Made once: reading the authorities takes 20 ms."""
        return self._ssl_context or httpx.create_ssl_context()


def _kinds(exc: BaseException) -> str:
    """The types of an exception and of its causes."""
    names: list[str] = []
    link: BaseException | None = exc
    while link is not None and len(names) < MAX_CAUSES:
        if isinstance(link, ssl.SSLCertVerificationError):
            names.append(f"the certificate is not valid (OpenSSL {link.verify_code})")
        else:
            names.append(type(link).__name__)
        link = link.__cause__ or link.__context__
    return ": ".join(dict.fromkeys(names))  # httpx wraps errors of httpcore that have its names


async def _get(client: httpx.AsyncClient, url: httpx.URL, address: Address) -> bytes:
    """Ask this address, by the name that its certificate must have."""
    request = client.build_request(
        "GET",
        url.copy_with(host=str(address)),
        headers={**HEADERS, "Host": url.netloc.decode("ascii")},
        extensions={"sni_hostname": url.host},
    )
    answer = await client.send(request, stream=True, follow_redirects=False)
    try:
        if answer.status_code != httpx.codes.OK:
            raise RemoteFetchFailed(f"it answered {answer.status_code}")
        if answer.headers.get("content-encoding", "identity") != "identity":
            raise RemoteFetchFailed("it answered compressed, which was not asked for")
        body = bytearray()
        chunks = 0
        async for chunk in answer.aiter_raw():
            body += chunk
            chunks += 1
            if len(body) > MAX_BYTES:
                raise RemoteFetchFailed(f"it answered more than {MAX_BYTES} bytes")
            if chunks > MAX_CHUNKS:
                raise RemoteFetchFailed(f"it answered in more than {MAX_CHUNKS} pieces")
        return bytes(body)
    finally:
        await answer.aclose()
