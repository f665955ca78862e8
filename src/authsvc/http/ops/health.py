"""
GET /healthz, /readyz and /version.

Alive is the process, and nothing else: a restart does not mend a database. Ready is everything
that a login needs.
"""

from typing import Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field
from starlette.responses import JSONResponse, Response

from authsvc.http.request.service import service_of

OK: Literal["ok"] = "ok"
NO_STORE = {"Cache-Control": "no-store"}


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


router = APIRouter(tags=["service"])


@router.get("/healthz", response_model=Health, summary="Liveness")
async def healthz() -> Response:
    """Answer as long as the process does."""
    return JSONResponse({"status": OK}, headers=NO_STORE)


@router.get(
    "/readyz",
    response_model=Ready,
    responses={503: {"model": Ready, "description": "Something is missing; `checks` says what."}},
    summary="Readiness",
)
async def readyz(request: Request) -> Response:
    """Say whether this replica can serve: a writable database of the right schema, a key."""
    checks: dict[str, str] = await request.app.state.readiness()
    ready = all(check == OK for check in checks.values())
    body: dict[str, Any] = {"status": OK if ready else "unready", "checks": checks}
    return JSONResponse(body, 200 if ready else 503, NO_STORE)


@router.get("/version", response_model=Version, summary="Version")
async def read_version(request: Request) -> Response:
    """Say which build this is."""
    build = {"version": request.app.version, "commit": service_of(request).settings.commit}
    return JSONResponse(build, headers=NO_STORE)


# Routes of their own: one with both methods would have one operationId twice.
for _path, _endpoint in (("/healthz", healthz), ("/readyz", readyz), ("/version", read_version)):
    router.add_api_route(_path, _endpoint, methods=["HEAD"], include_in_schema=False)
