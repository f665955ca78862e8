"""
The OpenAPI document: what FastAPI derives from the endpoints, and what it cannot know.

That is: the plain routes, the credentials, the refusals that every operation shares, and how to
begin.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import iter_route_contexts

from authsvc.http.request import oauth_request
from authsvc.http.request.cookies import Cookies
from authsvc.http.response.oauth_errors import OAUTH_ERROR, OAUTH_PATHS
from authsvc.http.response.problem_schema import PROBLEM, PROBLEM_JSON, documented, refusals
from authsvc.http.wellknown import jwks, metadata, revocations
from authsvc.protocol import errors
from authsvc.settings import Settings

Json = dict[str, Any]

SUMMARY = "Login, short-lived RS256 access tokens, refresh families that revoke on reuse."
DESCRIPTION = """\
**Getting started**

1. `POST /auth/register` with an e-mail address and a password.
2. `POST /auth/login`; on this page the access token is then used for every call that needs one.
3. `GET /auth/me` shows the account behind it.
4. `POST /auth/refresh` before `expires_in` has passed. Each refresh token works once; one that
   comes back later ends its session, because then two parties have it.

**Deliveries**: `spa` (the default) puts the refresh token into a cookie that scripts cannot read;
`native` puts it into the body; `web` puts all tokens into cookies and requires `X-CSRF-Token` with
every write.

**Other services** verify access tokens themselves, with the keys of
[/.well-known/jwks.json](/.well-known/jwks.json): RS256, `typ` `at+jwt`, and `iss`, `aud` and `exp`
checked.

**Services** get their own tokens at `POST /oauth/token`, once an administrator has registered them
as clients.

**Errors** are `application/problem+json` (RFC 9457). Decide by `code`; all codes are listed at
[/auth/errors.json](/auth/errors.json). `instance` is the request id for the server's log. Below
`/oauth` they are those of RFC 6749 §5.2: decide by `error`.
"""

TAGS = [
    {"name": "account", "description": "Register, read your account, change your password."},
    {"name": "session", "description": "Log in, refresh, log out; see and end sessions."},
    {"name": "clients", "description": "Services that authenticate themselves (OAuth 2)."},
    {"name": "keys", "description": "What a service needs to verify access tokens."},
    {"name": "gateway", "description": "What a proxy asks about a request it has received."},
    {"name": "service", "description": "Health, metrics and the list of error codes."},
]

# By operationId. `spa` and `native` clients send the bearer token, `web` clients their cookies.
READ: list[Json] = [{"bearer": []}, {"access_cookie": []}]
WRITE: list[Json] = [{"bearer": []}, {"access_cookie": [], "csrf_token": []}]
BY_REFRESH_TOKEN: list[Json] = [
    {},  # it may stand in the body
    {"refresh_cookie": []},
    {"refresh_cookie": [], "csrf_token": []},
]
SECURITY: dict[str, list[Json]] = {
    "me": READ,
    "list_sessions": READ,
    "end_session": WRITE,
    "change_password": WRITE,
    "refresh": BY_REFRESH_TOKEN,
    "logout": [*BY_REFRESH_TOKEN, *WRITE],
    "verify": [*READ, WRITE[1]],
    "metrics": [{"bearer": []}, {}],
    **dict.fromkeys(("token", "introspect", "revoke"), oauth_request.SECURITY),
}


# What an endpoint's types do not tell: by operationId, an answer as it really looks.
ACCOUNT: Json = {
    "id": "0199f3a1-6c1e-7cc0-9d65-5f8f3f3a1b52",
    "email": "alice@example.com",
    "roles": ["editor"],
    "created_at": "2026-11-22T10:00:00Z",
}
EXAMPLES: dict[str, Json] = {
    "register": {**ACCOUNT, "roles": []},
    "me": {**ACCOUNT, "session_id": "0199f3a2-0b7e-7d3a-8c51-2e0d5a9c4f10"},
    "list_sessions": {
        "sessions": [
            {
                "id": "0199f3a2-0b7e-7d3a-8c51-2e0d5a9c4f10",
                "current": True,
                "created_at": "2026-11-22T10:00:00Z",
                "last_used_at": "2026-11-22T10:14:00Z",
                "ip": "203.0.113.7",
                "user_agent": "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0",
                "delivery": "spa",
            }
        ]
    },
}
# FastAPI calls them all "Successful Response".
SUCCESSES = {"200": "Done.", "201": "Created.", "204": "Done; there is no body."}


def install_openapi(app: FastAPI, settings: Settings) -> None:
    """Give `app` this document; it is made when it is first asked for."""

    def openapi() -> Json:
        if app.openapi_schema is None:
            app.openapi_schema = describe(app, settings)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's own way to replace it


def describe(app: FastAPI, settings: Settings) -> Json:
    """Make the document."""
    document = get_openapi(
        title="authsvc",
        version=app.version,
        summary=SUMMARY,
        description=DESCRIPTION,
        routes=app.routes,
        tags=TAGS,
        servers=[{"url": settings.issuer}],
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
    )
    # FastAPI describes its own routes only; these are plain.
    plain = (jwks, metadata, revocations)
    document["paths"] |= deepcopy({module.PATH: module.PATH_ITEM for module in plain})
    names = {
        (route.path_format, method.lower()): route.name
        for route in iter_route_contexts(app.routes)
        for method in route.methods or ()
    }
    for path, item in document["paths"].items():
        for method, operation in item.items():
            operation["operationId"] = names[path, method]
            _describe_success(operation)
            if path not in OAUTH_PATHS:  # which describe all of theirs themselves
                _add_shared_refusals(operation)
            if operation["operationId"] in SECURITY:
                operation["security"] = SECURITY[operation["operationId"]]
    schemas = document["components"]["schemas"]
    # FastAPI's form of a 422, which we never answer with.
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas |= {"Problem": PROBLEM, "OAuthError": OAUTH_ERROR, **jwks.SCHEMAS}
    document["components"]["securitySchemes"] = _security_schemes(settings)
    return document


def _describe_success(operation: Json) -> None:
    for status, description in SUCCESSES.items():
        response = operation["responses"].get(status)
        if response is None:
            continue
        if response["description"] == "Successful Response":
            response["description"] = description
        example = EXAMPLES.get(operation["operationId"])
        if example is not None:
            response["content"]["application/json"]["example"] = example


def _add_shared_refusals(operation: Json) -> None:
    """What the edge and the parser refuse before an endpoint is called."""
    shared: list[type[errors.Refusal]] = [
        errors.BadRequest,
        errors.PayloadTooLarge,
        errors.InternalError,
    ]
    if "requestBody" in operation:
        shared += [errors.MalformedJson, errors.UnsupportedMediaType, errors.ValidationFailed]
    responses = operation["responses"]
    if "422" in responses and PROBLEM_JSON not in responses["422"]["content"]:
        shared.append(errors.ValidationFailed)
    for response in responses.values():
        if PROBLEM_JSON in response.get("content", {}):
            shared += documented(response)
    responses |= {str(status): response for status, response in refusals(*shared).items()}
    operation["responses"] = dict(sorted(responses.items()))


def _security_schemes(settings: Settings) -> Json:
    cookies = Cookies.configured(settings)
    return {
        "bearer": {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": "The `access_token` of a login or refresh.",
        },
        "access_cookie": _api_key(
            "cookie",
            cookies.access.name,
            "Set by a login with `web` delivery; the browser sends it by itself.",
        ),
        "refresh_cookie": _api_key(
            "cookie", cookies.refresh.name, "Set by a login with `spa` or `web` delivery."
        ),
        "client_secret_basic": {
            "type": "http",
            "scheme": "basic",
            "description": "Id and secret of a client, each form-encoded (RFC 6749 §2.3.1).",
        },
        "csrf_token": _api_key(
            "header", "X-CSRF-Token", "The `csrf_token` of a login with `web` delivery."
        ),
    }


def _api_key(where: str, name: str, description: str) -> Json:
    return {"type": "apiKey", "in": where, "name": name, "description": description}
