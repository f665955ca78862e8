"""
The refusals of the OAuth endpoints as RFC 6749 §5.2 writes them, never as problem+json.

Also what the edge and the framework refuse there: a client of RFC 6749 reads `error`, whatever
the status.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette import status as http
from starlette.responses import Response

from authsvc.http.response.problem_schema import HEADERS, retry_seconds, status_of
from authsvc.protocol import errors, oauth_errors
from authsvc.protocol.errors import Refusal

TOKEN_PATH = "/oauth/token"  # noqa: S105 - a path
INTROSPECTION_PATH = "/oauth/introspect"
REVOCATION_PATH = "/oauth/revoke"
OAUTH_PATHS = frozenset({TOKEN_PATH, INTROSPECTION_PATH, REVOCATION_PATH})

CHALLENGE = 'Basic realm="authsvc", charset="UTF-8"'
NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}  # RFC 6749 §5.1 asks for both

# What is no refusal of OAuth, in its words. `temporarily_unavailable` and `server_error` are
# those of RFC 6749 §4.1.2.1, whose meaning is theirs; §5.2 has no word for either.
IN_OAUTH_WORDS: dict[type[Refusal], tuple[str, str]] = {
    errors.BadRequest: ("invalid_request", "The request is not well formed."),
    errors.PayloadTooLarge: ("invalid_request", "The form is larger than 16 KiB."),
    errors.UnsupportedMediaType: (
        "invalid_request",
        "Send the parameters as application/x-www-form-urlencoded.",
    ),
    errors.CompressedBody: (
        "invalid_request",
        "Send the form uncompressed, without Content-Encoding.",
    ),
    errors.OtherParameter: (
        "invalid_request",
        "Send application/x-www-form-urlencoded, with charset=utf-8 or without parameters.",
    ),
    errors.MethodNotAllowed: ("invalid_request", "This endpoint accepts only POST."),
    errors.TooManyAttempts: (
        "temporarily_unavailable",
        "Too many attempts of this client. Wait as long as Retry-After says.",
    ),
    errors.DatabaseUnavailable: (
        "temporarily_unavailable",
        "The server cannot reach its database. Repeat the request after Retry-After.",
    ),
    errors.NoSigningKey: ("temporarily_unavailable", errors.NoSigningKey.description),
    errors.InternalError: ("server_error", "Something went wrong inside the server."),
}
OAUTH_STATUS: dict[type[Refusal], int] = {
    oauth_errors.InvalidClient: 401,
    oauth_errors.ClientKeysUnavailable: 503,
}
# What every OAuth endpoint may answer.
SHARED: tuple[type[Refusal], ...] = (
    oauth_errors.InvalidRequest,
    oauth_errors.InvalidClient,
    oauth_errors.ClientKeysUnavailable,
    *IN_OAUTH_WORDS,
)

OAUTH_ERROR: dict[str, Any] = {
    "title": "OAuthError",
    "description": "A refusal (RFC 6749 §5.2). It never repeats what was sent.",
    "type": "object",
    "required": ["error", "error_description"],
    "properties": {
        "error": {"type": "string", "description": "Stable; programs decide by it."},
        "error_description": {"type": "string", "description": "For people."},
    },
}
OAUTH_HEADERS: dict[int, dict[str, Any]] = {
    **HEADERS,
    401: {
        "WWW-Authenticate": {
            "description": "How a client with a secret may authenticate (RFC 7617).",
            "schema": {"type": "string"},
            "example": CHALLENGE,
        }
    },
    405: {"Allow": {"schema": {"type": "string"}, "example": "POST"}},
}


def oauth_response(refusal: Refusal, *, headers: Mapping[str, str] | None = None) -> Response:
    """
    The answer to a refused request (RFC 6749 §5.2).

    Args:
        headers: More headers, such as `Allow`.
    """
    status, error, description = _in_words(type(refusal))
    sent = {**NO_STORE, **(headers or {})}
    if status in {429, 503}:
        sent["Retry-After"] = str(retry_seconds(refusal))
    if status == http.HTTP_401_UNAUTHORIZED:
        sent["WWW-Authenticate"] = CHALLENGE
    body = json.dumps({"error": error, "error_description": description}).encode("ascii")
    return Response(body, status, sent, "application/json")


def oauth_refusals(*classes: type[Refusal]) -> dict[int | str, dict[str, Any]]:
    """What an operation refuses, for FastAPI's `responses=`; SHARED is added."""
    by_status: dict[int, dict[str, list[str]]] = {}
    for refusal in (*SHARED, *classes):
        status, error, description = _in_words(refusal)
        by_status.setdefault(status, {}).setdefault(error, []).append(description)
    return {status: _documented(status, by_status[status]) for status in sorted(by_status)}


def _in_words(refusal: type[Refusal]) -> tuple[int, str, str]:
    """Status, `error` and `error_description`."""
    if issubclass(refusal, oauth_errors.OAuthRefusal):
        return OAUTH_STATUS.get(refusal, 400), refusal.code, refusal.description
    # Whatever else is raised here is a mistake of ours.
    known = next((c for c in refusal.__mro__ if c in IN_OAUTH_WORDS), errors.InternalError)
    return status_of(known), *IN_OAUTH_WORDS[known]


def _documented(status: int, descriptions: Mapping[str, list[str]]) -> dict[str, Any]:
    errors = sorted(descriptions)
    response: dict[str, Any] = {
        "description": " · ".join(text for error in errors for text in descriptions[error]),
        "content": {
            "application/json": {
                "schema": {
                    "allOf": [{"$ref": "#/components/schemas/OAuthError"}],
                    "properties": {"error": {"type": "string", "enum": errors}},
                },
                "examples": {
                    error: {"value": {"error": error, "error_description": descriptions[error][0]}}
                    for error in errors
                },
            }
        },
    }
    if status in OAUTH_HEADERS:
        response["headers"] = OAUTH_HEADERS[status]
    return response
