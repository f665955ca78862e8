"""What lives as long as the process, and the clock; an endpoint asks for it first."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

from fastapi import Depends, Request

from authsvc.flows.follow_revocations import FollowedRevocations
from authsvc.flows.runtime import Runtime
from authsvc.http.request.cookies import Cookies
from authsvc.http.request.csrf import Origins
from authsvc.remote.client_jwks import RemoteKeys
from authsvc.settings import Settings
from authsvc.store.group_commit import GroupCommit


class Clock:
    """The process's clock, for tokens and keys; families go by the database's."""

    def now(self) -> datetime:
        """The time, in UTC."""
        return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Service(Runtime):
    """Everything that lives as long as the process; flows see only their part of it."""

    settings: Settings
    group_commit: GroupCommit
    revocations: FollowedRevocations
    cookies: Cookies
    origins: Origins
    remote_keys: RemoteKeys
    clock: Clock


def service_of(request: Request) -> Service:
    """The service that `app.create_app` put together."""
    found: Service = request.app.state.service
    return found


# FastAPI runs a plain function in a thread of its own, and a refresh would wait for five of
# them; coroutine functions run where they stand.
async def _the_service(request: Request) -> Service:
    return service_of(request)


TheService = Annotated[Service, Depends(_the_service)]
