"""Prebuilt answers with an entity tag, and conditional requests for them (RFC 9110 §13.1.2)."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

_ENTITY_TAG = re.compile(rb'(?:W/)?("[^"]*")')


@dataclass(frozen=True, slots=True)
class Document:
    """
    A public document with an ETag; itself an ASGI endpoint for GET and HEAD.

    Args:
        etag: Strong, with its quotes.
        content_security_policy: Only pages need one; the edge gives all else the strictest.
    """

    body: bytes
    etag: str
    media_type: str
    cache_control: str
    content_security_policy: str | None = None

    @classmethod
    def of(
        cls,
        body: bytes,
        *,
        media_type: str,
        cache_control: str,
        content_security_policy: str | None = None,
    ) -> Document:
        """A document whose tag is made from its content, so that all replicas agree on it."""
        etag = f'"{digest(body)}"'
        return cls(body, etag, media_type, cache_control, content_security_policy)

    def response(self, scope: Scope) -> Response:
        """The body, or 304 for a client that has it."""
        # A 304 repeats what a cache needs to keep its copy fresh (RFC 9110 §15.4.5), and its
        # fields replace those of the copy (RFC 9111 §3.2): also the policy of the page.
        headers = {"Cache-Control": self.cache_control, "ETag": self.etag}
        if self.content_security_policy is not None:
            headers["Content-Security-Policy"] = self.content_security_policy
        conditions = (value for name, value in scope["headers"] if name == b"if-none-match")
        if is_held(conditions, self.etag.encode("ascii")):
            return Response(status_code=304, headers=headers)
        headers["Content-Type"] = self.media_type
        if scope["method"] == "HEAD":
            return Response(headers={**headers, "Content-Length": str(len(self.body))})
        return Response(self.body, headers=headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        await self.response(scope)(scope, receive, send)


def is_held(if_none_match: Iterable[bytes], etag: bytes) -> bool:
    """Whether If-None-Match names the tag, by weak comparison; a malformed field names none."""
    return any(
        value.strip() == b"*" or etag in _ENTITY_TAG.findall(value) for value in if_none_match
    )


def digest(body: bytes) -> str:
    """A short name for content: 96 bits of its SHA-256, base64url."""
    return base64.urlsafe_b64encode(hashlib.sha256(body).digest()[:12]).decode("ascii")
