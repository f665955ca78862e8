"""
Refusals as HTTP answers: `application/problem+json` (RFC 9457), but for the OAuth endpoints.

The only place that knows both a refusal's status and its JSON. Nothing that a caller sent comes
back in an answer; the private detail goes to the log with the request id.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import iter_route_contexts
from pydantic import BaseModel, Field
from starlette import status as http
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match

from authsvc.http.request.validation import validation_failed
from authsvc.http.response.oauth_errors import OAUTH_PATHS, oauth_response
from authsvc.http.response.problem_schema import PROBLEM_JSON, STATUS, retry_seconds, status_of
from authsvc.protocol import errors
from authsvc.protocol.errors import Refusal

CHALLENGE = 'Bearer realm="authsvc"'
INSUFFICIENT_SCOPE = (
    f'{CHALLENGE}, error="insufficient_scope", '
    'error_description="The access token does not allow this"'
)
# What the framework raises by itself.
BY_STATUS: dict[int, type[Refusal]] = {
    401: errors.Unauthenticated,
    403: errors.Forbidden,
    404: errors.NotFound,
    405: errors.MethodNotAllowed,
    413: errors.PayloadTooLarge,
    415: errors.UnsupportedMediaType,
}

router = APIRouter()


class ErrorEntry(BaseModel):
    """One code."""

    code: str
    status: int
    title: str
    description: str


class ErrorCatalogue(BaseModel):
    """Every code that authsvc answers with."""

    errors: list[ErrorEntry] = Field(
        examples=[
            [
                {
                    "code": "email_taken",
                    "status": 409,
                    "title": "E-mail taken",
                    "description": "An account with this e-mail address exists already.",
                }
            ]
        ]
    )


def install_errors(app: FastAPI, *, issuer: str) -> None:
    """
    Make `app` answer every refusal, also the framework's own, as problem+json.

    Args:
        issuer: Where the `type` of a problem points: `{issuer}/auth/errors.json#{code}`.
    """
    app.state.problem_types = f"{issuer}/auth/errors.json#"
    for kind in (Refusal, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(kind, _on_exception)
    app.include_router(router)


@router.get("/auth/errors.json", tags=["service"], summary="List the error codes")
async def list_errors() -> ErrorCatalogue:
    """List every `code` that an answer can carry, with its status and what to do about it."""
    return ErrorCatalogue(
        errors=[
            ErrorEntry(
                code=refusal.code,
                status=status,
                title=refusal.title,
                description=refusal.description,
            )
            for refusal, status in sorted(STATUS.items(), key=lambda row: (row[1], row[0].code))
        ]
    )


def refusal_response(
    refusal: Refusal, request: Request, *, headers: Mapping[str, str] | None = None
) -> Response:
    """
    The answer to a refused request, in the form of its endpoint; its log line names the cause.

    Args:
        headers: More headers, such as `Allow`.
    """
    # The access log reads it: one line per request has it all.
    request.state.refusal = refusal
    # An OAuth path that is not found was spelled in another way, so it is none.
    if request.scope["path"] in OAUTH_PATHS and not isinstance(refusal, errors.NotFound):
        return oauth_response(refusal, headers=headers)
    return _problem_response(refusal, request, headers or {})


def _problem_response(refusal: Refusal, request: Request, headers: Mapping[str, str]) -> Response:
    """RFC 9457 §3."""
    status = status_of(type(refusal))
    request_id = getattr(request.state, "request_id", "")
    problem: dict[str, Any] = {
        "type": f"{request.app.state.problem_types}{refusal.code}",
        "title": refusal.title,
        "status": status,
        "detail": refusal.description,
        "instance": f"urn:uuid:{request_id}",
        "code": refusal.code,
    }
    sent = {"Cache-Control": "no-store", **headers}
    if isinstance(refusal, errors.ValidationFailed) and refusal.errors:
        problem["errors"] = [asdict(error) for error in refusal.errors]
        if len(refusal.errors) == 1:  # what applications put before their users
            problem["detail"] = refusal.errors[0].msg
    if status in {429, 503}:
        problem["retry_after"] = retry_seconds(refusal)
        sent["Retry-After"] = str(problem["retry_after"])
    if status == http.HTTP_401_UNAUTHORIZED:
        sent["WWW-Authenticate"] = _challenge(refusal)
    elif isinstance(refusal, errors.InsufficientScope):
        sent["WWW-Authenticate"] = INSUFFICIENT_SCOPE
    body = json.dumps(problem, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    return Response(body, status, sent, PROBLEM_JSON)


def _challenge(refusal: Refusal) -> str:
    """RFC 6750 §3: no error code for a request that presented nothing."""
    if isinstance(refusal, errors.Unauthenticated) and refusal.error:
        return (
            f'{CHALLENGE}, error="{refusal.error}", '
            'error_description="The access token is not valid"'
        )
    return CHALLENGE


async def _on_exception(request: Request, exc: Exception) -> Response:
    """Answer; a defect is raised on by the framework, and the edge logs it."""
    refusal = _refusal(exc)
    headers = {}
    if isinstance(refusal, errors.MethodNotAllowed):
        headers["Allow"] = ", ".join(sorted(_methods(request)))
    return refusal_response(refusal, request, headers=headers)


def _refusal(exc: Exception) -> Refusal:
    match exc:
        case Refusal():
            return exc
        case RequestValidationError():
            return validation_failed(exc.errors())
        case HTTPException(status_code=status):
            ours = status >= http.HTTP_500_INTERNAL_SERVER_ERROR
            default = errors.InternalError if ours else errors.BadRequest
            return BY_STATUS.get(status, default)(f"framework answered {status}")
        case _:
            return errors.InternalError("unhandled exception")


def _methods(request: Request) -> set[str]:
    """Every method of the path: the router looks at one route only, and HEAD has its own."""
    found: set[str] = set()
    for route in iter_route_contexts(request.app.routes):
        match, _ = route.matches(request.scope)
        if match != Match.NONE:
            found |= route.methods or set()
    return found
