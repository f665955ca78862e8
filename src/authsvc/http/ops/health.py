"""
GET /healthz, /readyz and /version.

Alive is the process, and nothing else: a restart does not mend a database. Ready is everything
that a login needs.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field
from starlette.responses import JSONResponse, Response

from authsvc.settings import Settings

OK: Literal["ok"] = "ok"
NO_STORE = {"Cache-Control": "no-store"}

Readiness = Callable[[], Awaitable[dict[str, str]]]


class Health(BaseModel):
    """The process is alive."""

    status: Literal["ok"] = OK


class Ready(BaseModel):
    """What works, and what is missing."""

    status: Literal["ok", "unready"]
    checks: dict[str, str] = Field(
        description='"ok", or a sentence that says what is missing and what to do.',
        examples=[{"database": "ok", "schema": "ok", "signing_key": "ok"}],
    )


class Version(BaseModel):
    """Which build runs."""

    version: str = Field(examples=["0.1.0"])
    commit: str = Field(description="`unknown` unless the build set it.", examples=["unknown"])


def health_router(settings: Settings, *, version: str) -> APIRouter:
    """Liveness, readiness and version; the application's state holds `readiness`."""
    router = APIRouter()
    build = Version(version=version, commit=settings.commit)

    async def healthz() -> Response:
        """Answer as long as the process does."""
        return JSONResponse({"status": OK}, headers=NO_STORE)

    async def readyz(request: Request) -> Response:
        """Say whether this replica can serve: a writable database of the right schema, a key."""
        readiness: Readiness = request.app.state.readiness
        checks = await readiness()
        ready = all(check == OK for check in checks.values())
        body: dict[str, Any] = {"status": OK if ready else "unready", "checks": checks}
        return JSONResponse(body, 200 if ready else 503, NO_STORE)

    async def read_version() -> Response:
        """Say which build this is."""
        return JSONResponse(build.model_dump(), headers=NO_STORE)

    not_ready: dict[int | str, dict[str, Any]] = {
        503: {"model": Ready, "description": "Something is missing; `checks` says what."}
    }
    router.add_api_route(
        "/healthz", healthz, response_model=Health, tags=["service"], summary="Liveness"
    )
    router.add_api_route(
        "/readyz",
        readyz,
        response_model=Ready,
        responses=not_ready,
        tags=["service"],
        summary="Readiness",
    )
    router.add_api_route(
        "/version", read_version, response_model=Version, tags=["service"], summary="Version"
    )
    # Routes of their own: one with both methods would have one operationId twice.
    for path, endpoint in (("/healthz", healthz), ("/readyz", readyz), ("/version", read_version)):
        router.add_api_route(path, endpoint, methods=["HEAD"], include_in_schema=False)
    return router
