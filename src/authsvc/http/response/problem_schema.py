"""Which status a refusal has, and how refusals look in the OpenAPI document."""

from __future__ import annotations

import math
from typing import Any

from authsvc.protocol import errors
from authsvc.protocol.errors import Refusal

PROBLEM_JSON = "application/problem+json"
PROBLEM_SCHEMA = "#/components/schemas/Problem"

# A class that is not listed has the status of its parent, and its code.
STATUS: dict[type[Refusal], int] = {
    errors.BadRequest: 400,
    errors.CookiesImpossible: 400,
    errors.DuplicateCredentials: 400,
    errors.MalformedJson: 400,
    errors.InvalidCredentials: 401,
    errors.InvalidRefreshToken: 401,
    errors.Unauthenticated: 401,
    errors.CsrfFailed: 403,
    errors.CurrentPasswordWrong: 403,
    errors.Forbidden: 403,
    errors.RegistrationClosed: 403,
    errors.NotFound: 404,
    errors.MethodNotAllowed: 405,
    errors.EmailTaken: 409,
    errors.PayloadTooLarge: 413,
    errors.UnsupportedMediaType: 415,
    errors.ValidationFailed: 422,
    errors.WeakPassword: 422,
    errors.TooManyAttempts: 429,
    errors.InternalError: 500,
    errors.DatabaseUnavailable: 503,
    errors.Overloaded: 503,
}
BY_CODE = {refusal.code: refusal for refusal in STATUS}

RETRY_AFTER_HEADER = {
    "description": "Seconds to wait before repeating the request.",
    "schema": {"type": "integer", "minimum": 1},
}
HEADERS: dict[int, dict[str, Any]] = {
    401: {
        "WWW-Authenticate": {
            "description": "The challenge of RFC 6750 §3.",
            "schema": {"type": "string"},
            "example": 'Bearer realm="authsvc"',
        }
    },
    429: {"Retry-After": RETRY_AFTER_HEADER},
    503: {"Retry-After": RETRY_AFTER_HEADER},
}

PROBLEM: dict[str, Any] = {
    "title": "Problem",
    "description": "A refusal (RFC 9457). It never repeats what was sent.",
    "type": "object",
    "required": ["type", "title", "status", "detail", "instance", "code"],
    "properties": {
        "type": {"type": "string", "format": "uri", "description": "Where the code is explained."},
        "title": {"type": "string"},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string", "description": "What is wrong and what to do about it."},
        "instance": {
            "type": "string",
            "format": "uri",
            "description": "The request id, as in the X-Request-ID header and in the server's log.",
        },
        "code": {
            "type": "string",
            "enum": sorted({refusal.code for refusal in STATUS}),
            "description": "Stable; programs decide by it.",
        },
        "errors": {
            "type": "array",
            "description": "The members that are wrong.",
            "items": {
                "type": "object",
                "required": ["loc", "msg", "type"],
                "properties": {
                    "loc": {
                        "type": "array",
                        "items": {"anyOf": [{"type": "string"}, {"type": "integer"}]},
                        "description": "Where; for an unknown member, the object that has it.",
                    },
                    "msg": {"type": "string"},
                    "type": {"type": "string"},
                },
            },
        },
        "retry_after": {
            "type": "integer",
            "minimum": 1,
            "description": "As the Retry-After header, for pages that cannot read it.",
        },
    },
}


def status_of(refusal: type[Refusal]) -> int:
    """The HTTP status of a refusal."""
    return next(STATUS[parent] for parent in refusal.__mro__ if parent in STATUS)


def retry_seconds(refusal: Refusal) -> int:
    """When the request makes sense again; a refusal that does not know says a second."""
    return max(1, math.ceil(refusal.retry_after.total_seconds())) if refusal.retry_after else 1


def refusals(*classes: type[Refusal]) -> dict[int | str, dict[str, Any]]:
    """
    What an operation refuses, for FastAPI's `responses=`.

    Per status the `code` is an enum of exactly the possible ones, with an example of each. What
    every operation refuses (`bad_request`, `internal_error` …) is added by `http/openapi.py`.
    """
    by_status: dict[int, dict[str, type[Refusal]]] = {}
    for refusal in classes:
        by_status.setdefault(status_of(refusal), {})[refusal.code] = BY_CODE[refusal.code]
    return {status: _response(status, by_status[status]) for status in sorted(by_status)}


def documented(response: dict[str, Any]) -> list[type[Refusal]]:
    """The classes behind a response that `refusals` made."""
    schema = response["content"][PROBLEM_JSON]["schema"]
    return [BY_CODE[code] for code in schema["properties"]["code"]["enum"]]


def _response(status: int, by_code: dict[str, type[Refusal]]) -> dict[str, Any]:
    codes = sorted(by_code)
    response: dict[str, Any] = {
        "description": " · ".join(by_code[code].title for code in codes),
        "content": {
            PROBLEM_JSON: {
                "schema": {
                    "allOf": [{"$ref": PROBLEM_SCHEMA}],
                    "properties": {"code": {"type": "string", "enum": codes}},
                },
                "examples": {
                    code: {"summary": by_code[code].title, "value": _example(by_code[code], status)}
                    for code in codes
                },
            }
        },
    }
    if status in HEADERS:
        response["headers"] = HEADERS[status]
    return response


def _example(refusal: type[Refusal], status: int) -> dict[str, Any]:
    example: dict[str, Any] = {
        "type": f"https://auth.example.com/auth/errors.json#{refusal.code}",
        "title": refusal.title,
        "status": status,
        "detail": refusal.description,
        "instance": "urn:uuid:6d1b2b0a-6f0e-4b0e-9b43-0c1f3a6a2f11",
        "code": refusal.code,
    }
    if refusal is errors.ValidationFailed:
        example["errors"] = [{"loc": ["body", "email"], "msg": "Field required", "type": "missing"}]
    if status in {429, 503}:
        example["retry_after"] = 1
    return example
