"""
What happens to every request before and after its endpoint; pure ASGI.

    edge        request id, deadline, access log, metrics, last-resort 500
    ├── cors             preflights first, then headers on every answer
    ├── guard            Host, sizes, duplicates
    ├── body_limit       at most 64 KiB
    └── security_headers on every answer

It is one ASGI application with four collaborators rather than five nested ones: the head of a
request is read once, and one wrapper around `send` completes every answer.
"""

from __future__ import annotations

from authsvc.http.wire.edge import Direct, Edge

__all__ = ["Direct", "Edge"]
