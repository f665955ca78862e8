"""Who sent a request, and what that caller attempts."""

from __future__ import annotations

from fastapi import Request

from authsvc.flows.login import Attempt, Device
from authsvc.http.request.client_ip import client_network
from authsvc.protocol.audit import Caller
from authsvc_client.tokens.secret import Secret


def caller(request: Request) -> Caller:
    """Who sent the request; trusted proxies were resolved by the middleware."""
    return Caller(
        ip=request.client.host if request.client else "",
        user_agent=request.headers.get("user-agent", ""),
        request_id=request.state.request_id,
    )


def network_of(request: Request) -> str:
    """The caller's IPv4 address or IPv6 /64."""
    return client_network(request.client.host if request.client else "")


def attempt_of(
    request: Request, *, email: str, password: str, device: Device | None = None
) -> Attempt:
    """An attempt of this request's caller, as the throttle and the audit trail see it."""
    who = caller(request)
    return Attempt(
        email=email,
        password=Secret(password),
        network=network_of(request),
        caller=who,
        device=device,
    )
