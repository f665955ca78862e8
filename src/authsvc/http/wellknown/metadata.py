"""
GET /.well-known/oauth-authorization-server: what is true of this server (RFC 8414).

Every value is a constant of the configuration; no header of a request has a say (RFC 8414 §3.3).
"""

from __future__ import annotations

import json
from typing import Any

from fastapi import APIRouter

from authsvc.http.response.document import Document
from authsvc.http.response.oauth_errors import INTROSPECTION_PATH, REVOCATION_PATH, TOKEN_PATH
from authsvc.http.wellknown import jwks
from authsvc.protocol.client_keys import HEADER_ALGORITHMS
from authsvc.protocol.clients import AuthMethod, GrantType
from authsvc.settings import Settings
from authsvc_client.tokens.revocation_feed import PATH as REVOCATIONS_PATH

PATH = "/.well-known/oauth-authorization-server"
CACHE_CONTROL = "public, max-age=300, stale-while-revalidate=600, stale-if-error=86400"

PATH_ITEM: dict[str, Any] = {
    "get": {
        "tags": ["keys"],
        "summary": "Authorization server metadata",
        "description": "What this server can do, for programs (RFC 8414).",
        "responses": {
            "200": {
                "description": "Server metadata (RFC 8414 §2).",
                "headers": {"ETag": {"schema": {"type": "string"}}},
                "content": {
                    "application/json": {
                        "schema": {
                            "type": "object",
                            "required": ["issuer", "jwks_uri", "response_types_supported"],
                            "properties": {
                                "issuer": {"type": "string", "format": "uri"},
                                "jwks_uri": {"type": "string", "format": "uri"},
                                "token_endpoint": {"type": "string", "format": "uri"},
                                "revocation_feed_uri": {"type": "string", "format": "uri"},
                                "service_documentation": {"type": "string", "format": "uri"},
                                "response_types_supported": {"type": "array"},
                                "grant_types_supported": {"type": "array"},
                            },
                        },
                        "example": {
                            "issuer": "https://auth.example.com",
                            "jwks_uri": f"https://auth.example.com{jwks.PATH}",
                            "token_endpoint": f"https://auth.example.com{TOKEN_PATH}",
                            "token_endpoint_auth_methods_supported": [*AuthMethod],
                            "revocation_feed_uri": f"https://auth.example.com{REVOCATIONS_PATH}",
                            "response_types_supported": [],
                            "grant_types_supported": [*GrantType],
                            "service_documentation": "https://auth.example.com/docs",
                        },
                    }
                },
            },
            "304": {"description": "The copy named by If-None-Match is still current."},
        },
    }
}


def metadata_router(settings: Settings) -> APIRouter:
    """The document of one configuration."""
    router = APIRouter()
    body = json.dumps(metadata(settings), indent=2).encode()
    document = Document.of(body, media_type="application/json", cache_control=CACHE_CONTROL)
    router.add_route(
        PATH,
        document,  # type: ignore[arg-type]  # Starlette takes an ASGI application too
        methods=["GET"],
        name="metadata",
        include_in_schema=False,
    )
    return router


def metadata(settings: Settings) -> dict[str, object]:
    """
    The members of RFC 8414 §2 that are true.

    There is no authorization endpoint, so no response type; left out, `grant_types_supported`
    would claim the authorization code.
    """
    methods, algorithms = [*AuthMethod], [*HEADER_ALGORITHMS]
    members: dict[str, object] = {
        "issuer": settings.issuer,
        "jwks_uri": settings.issuer + jwks.PATH,
        "token_endpoint": settings.issuer + TOKEN_PATH,
        "token_endpoint_auth_methods_supported": methods,
        "token_endpoint_auth_signing_alg_values_supported": algorithms,
        "introspection_endpoint": settings.issuer + INTROSPECTION_PATH,
        "introspection_endpoint_auth_methods_supported": methods,
        "introspection_endpoint_auth_signing_alg_values_supported": algorithms,
        "revocation_endpoint": settings.issuer + REVOCATION_PATH,
        # The first-party client is a public one: who holds a refresh token may end it.
        "revocation_endpoint_auth_methods_supported": [*methods, "none"],
        "revocation_endpoint_auth_signing_alg_values_supported": algorithms,
        "revocation_feed_uri": settings.issuer + REVOCATIONS_PATH,
        "response_types_supported": [],
        "grant_types_supported": [*GrantType],
    }
    if settings.docs:
        members["service_documentation"] = f"{settings.issuer}/docs"
    return members
