"""Who sent a request, as the audit trail records it."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from authsvc.protocol.audit import Caller


def caller(request: Request) -> Caller:
    """Who sent the request; trusted proxies were resolved by the middleware."""
    return Caller(
        ip=request.client.host if request.client else "",
        user_agent=request.headers.get("user-agent", ""),
        request_id=request.state.request_id,
    )


async def _the_caller(request: Request) -> Caller:
    return caller(request)


TheCaller = Annotated[Caller, Depends(_the_caller)]
