"""
Fetch a document over HTTP within narrow limits.

Only https (http on this machine), no redirects, a bounded size, a bounded time, no compression.
"""

from __future__ import annotations

import ssl
import time
from datetime import timedelta
from functools import cached_property

import httpx

from authsvc_client.https import UNREACHABLE, authorities, why_unreachable


class FetchFailed(Exception):  # noqa: N818 - read as a sentence: raise FetchFailed
    """Nothing usable was to be had; the text says why, and is for the log."""


class Transfer:
    """
    Fetches documents of one issuer. It blocks, so it runs in a thread.

    Args:
        timeout: For each request, as a whole.
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
                httpx.Client(verify=self._trust, timeout=self._timeout) as client,
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

    @cached_property
    def _trust(self) -> ssl.SSLContext:
        """Made once: reading the authorities takes 20 ms."""
        return self._ssl_context or authorities()
