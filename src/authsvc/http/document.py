"""Prebuilt answers with an entity tag, and conditional requests for them (RFC 9110 §13.1.2)."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from starlette.types import Receive, Scope, Send

_ENTITY_TAG = re.compile(rb'(?:W/)?("[^"]*")')


@dataclass(frozen=True, slots=True)
class Document:
    """
    Bytes that are the same for everybody; itself the ASGI endpoint that sends them.

    Args:
        etag: Strong, with its quotes.
    """

    body: bytes
    etag: str
    media_type: str
    cache_control: str

    @classmethod
    def of(cls, body: bytes, *, media_type: str, cache_control: str) -> Document:
        """A document whose tag is made from its content, so that all replicas agree on it."""
        return cls(body, f'"{digest(body)}"', media_type, cache_control)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer GET and HEAD: with the body, or with 304 to a client that has it."""
        del receive
        etag = self.etag.encode("ascii")
        # A 304 repeats what a cache needs to keep its copy fresh (RFC 9110 §15.4.5).
        headers = [(b"cache-control", self.cache_control.encode("ascii")), (b"etag", etag)]
        conditions = (value for name, value in scope["headers"] if name == b"if-none-match")
        status = 304
        body = b""
        if not is_held(conditions, etag):
            status = 200
            headers += [
                (b"content-type", self.media_type.encode("ascii")),
                (b"content-length", b"%d" % len(self.body)),
            ]
            if scope["method"] != "HEAD":
                body = self.body
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def is_held(if_none_match: Iterable[bytes], etag: bytes) -> bool:
    """Whether If-None-Match names the tag, by weak comparison; a malformed field names none."""
    return any(
        value.strip() == b"*" or etag in _ENTITY_TAG.findall(value) for value in if_none_match
    )


def digest(body: bytes) -> str:
    """A short name for content: 96 bits of its SHA-256, base64url."""
    return base64.urlsafe_b64encode(hashlib.sha256(body).digest()[:12]).decode("ascii")
