"""
Bodies of at most 64 KiB, read before the application is called.

So an endpoint sees a whole body or none, and a long one is refused in our own format wherever
it would have been read.
"""

from __future__ import annotations

from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive

from authsvc.http.wire.head import Headers
from authsvc.protocol.errors import BadRequest, PayloadTooLarge

MAX_BODY = 64 * 1024  # bytes
_MAX_DIGITS = 18  # of a Content-Length; more would only cost time to read


async def limited(receive: Receive, head: Headers) -> Receive:
    """
    Read the body, if there is one; the result hands it to the application.

    Raises:
        BadRequest: The Content-Length is not a number.
        PayloadTooLarge: The body is too long, or says so.
        ClientDisconnect: It never came.
    """
    if not _has_body(head):
        return receive
    body = await _read(receive)
    whole: Message | None = {"type": "http.request", "body": body, "more_body": False}

    async def replay() -> Message:
        nonlocal whole
        if whole is None:
            return await receive()
        message, whole = whole, None
        return message

    return replay


def _has_body(head: Headers) -> bool:
    """What the head says (RFC 9112 §6.3)."""
    if b"content-length" not in head:
        return b"transfer-encoding" in head
    declared = head[b"content-length"][0]
    if not declared.isdigit() or len(declared) > _MAX_DIGITS:
        raise BadRequest("malformed Content-Length")
    if int(declared) > MAX_BODY:
        raise PayloadTooLarge("declared")
    return int(declared) > 0


async def _read(receive: Receive) -> bytes:
    parts: list[bytes] = []
    size = 0
    more = True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            raise ClientDisconnect
        part: bytes = message.get("body", b"")
        size += len(part)
        if size > MAX_BODY:
            raise PayloadTooLarge("counted")
        parts.append(part)
        more = message.get("more_body", False)
    return b"".join(parts)
