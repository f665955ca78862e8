"""
What lives as long as the process, with the clock; an endpoint asks for it first.

The clock is for tokens and keys; families go by the database's.
"""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import Request

from authsvc.flows.follow_revocations import FollowedRevocations
from authsvc.flows.runtime import Runtime
from authsvc.http.request.cookies import Cookies
from authsvc.http.request.csrf import Origins
from authsvc.remote.client_jwks import RemoteKeys
from authsvc.settings import Settings
from authsvc_client.clock import Clock


@dataclass(frozen=True, slots=True)
class Service(Runtime):
    """Everything that lives as long as the process; flows see only their part of it."""

    settings: Settings
    revocations: FollowedRevocations
    cookies: Cookies
    origins: Origins
    remote_keys: RemoteKeys
    clock: Clock


def service_of(request: Request) -> Service:
    """The service that `app.create_app` put together."""
    found: Service = request.app.state.service
    return found
