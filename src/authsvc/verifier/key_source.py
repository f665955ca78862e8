"""
Fetch the key set of an issuer: RFC 8414 discovery, then the JWK Set, within narrow limits.

Only https (http on this machine), no redirects, a bounded size, a bounded time, no compression.
"""

from __future__ import annotations

import ssl
import time
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from urllib.parse import urlsplit

import httpx

from authsvc.protocol import json_object
from authsvc.protocol.loopback import is_loopback
from authsvc.verifier.freshness import Freshness, freshness
from authsvc.verifier.key_set import BrokenKeySet, Keys, read_key_set

MAX_BYTES = 262_144  # a key takes 400; nobody publishes hundreds
DISCOVERY = "/.well-known/oauth-authorization-server"
# How long a discovered `jwks_uri` is used, as long as it answers.
REDISCOVER = 3600.0


class FetchFailed(Exception):  # noqa: N818 - read as a sentence: raise FetchFailed
    """No key set was to be had; the text says why, and is for the log."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """
    What came back.

    Args:
        document: The JWK Set as it was sent; None if the one that is held is still right.
        keys: Its keys; None as above.
        etag: Names this version in the next request.
    """

    document: bytes | None
    keys: Keys | None
    etag: str | None
    freshness: Freshness


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


class KeySource:
    """
    Where the keys of one issuer come from. It blocks; the cache calls it in a thread.

    Args:
        issuer: The exact `iss`.
        jwks_uri: Where the JWK Set is; None asks the issuer's metadata (RFC 8414).
        timeout: For each of the requests, as a whole.
        ssl_context: Whom to trust; None: the public authorities.
    """

    def __init__(
        self,
        *,
        issuer: str,
        jwks_uri: str | None,
        timeout: timedelta,
        ssl_context: ssl.SSLContext | None,
    ) -> None:
        self.issuer = check_url(issuer, "issuer")
        self._configured = None if jwks_uri is None else check_url(jwks_uri, "jwks_uri")
        self._timeout = timeout.total_seconds()
        self._ssl_context = ssl_context
        self._discovered: tuple[str, float] | None = None

    def fetch(self, etag: str | None, *, past_caches: bool) -> Fetched:
        """
        The key set, or the news that the one with this entity tag is still right.

        Args:
            past_caches: Ask caches on the way to look at the origin (RFC 9111 §5.2.1.4).

        Raises:
            FetchFailed: Nothing usable came.
        """
        uri = self._configured or self._discover()
        headers = {} if etag is None else {"If-None-Match": etag}
        if past_caches:
            headers["Cache-Control"] = "no-cache"
        try:
            answer, body = self._get(uri, headers)
            found = freshness(
                answer.headers.get("cache-control", ""), answer.headers.get("age", "")
            )
            if answer.status_code == httpx.codes.NOT_MODIFIED and etag is not None:
                return Fetched(None, None, answer.headers.get("etag", etag), found)
            if answer.status_code != httpx.codes.OK:
                raise FetchFailed(f"{uri} answered {answer.status_code}")
            keys = read_key_set(body)
        except BrokenKeySet as exc:
            self._discovered = None
            raise FetchFailed(f"{uri} is no key set: {exc}") from exc
        except FetchFailed:
            # It may have moved: the next attempt looks it up again.
            self._discovered = None
            raise
        return Fetched(body, keys, answer.headers.get("etag"), found)

    def _discover(self) -> str:
        """`jwks_uri` of the issuer's metadata; its `issuer` must be ours (RFC 8414 §3.3)."""
        if self._discovered is not None and time.monotonic() < self._discovered[1]:
            return self._discovered[0]
        address = metadata_url(self.issuer)
        answer, body = self._get(address, {})
        if answer.status_code != httpx.codes.OK:
            raise FetchFailed(f"{address} answered {answer.status_code}")
        try:
            metadata = json_object.decode(body)
            if metadata.get("issuer") != self.issuer:
                raise FetchFailed(f"{address} is the metadata of another issuer")
            uri = check_url(str(metadata.get("jwks_uri")), "jwks_uri")
        except ValueError as exc:
            raise FetchFailed(f"{address}: {exc}") from exc
        self._discovered = (uri, time.monotonic() + REDISCOVER)
        return uri

    def _get(self, url: str, headers: dict[str, str]) -> tuple[httpx.Response, bytes]:
        until = time.monotonic() + self._timeout
        headers = {"Accept": "application/json", "Accept-Encoding": "identity", **headers}
        try:
            with (
                httpx.Client(verify=self._trust, timeout=self._timeout) as client,
                client.stream("GET", url, headers=headers) as answer,
            ):
                if answer.headers.get("content-encoding", "identity") != "identity":
                    raise FetchFailed(f"{url} answered compressed, which was not asked for")
                body = bytearray()
                for chunk in answer.iter_raw():
                    body += chunk
                    if len(body) > MAX_BYTES:
                        raise FetchFailed(f"{url} answered more than {MAX_BYTES} bytes")
                    if time.monotonic() > until:
                        raise FetchFailed(f"{url} took longer than {self._timeout:g} s")
                return answer, bytes(body)
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as exc:
            raise FetchFailed(f"{url}: {exc or type(exc).__name__}") from exc

    @cached_property
    def _trust(self) -> ssl.SSLContext:
        """Made once: reading the authorities takes 20 ms."""
        return self._ssl_context or httpx.create_ssl_context()


def metadata_url(issuer: str) -> str:
    """Where an issuer's metadata is: between its host and its path (RFC 8414 §3.1)."""
    parts = urlsplit(issuer)
    return f"{parts.scheme}://{parts.netloc}{DISCOVERY}{parts.path.rstrip('/')}"
