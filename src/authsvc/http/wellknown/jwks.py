"""GET /.well-known/jwks.json: prebuilt bytes; no SQL, no signature (RFC 7517 §5)."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from authsvc.http.request.service import service_of
from authsvc.http.response.document import Document

PATH = "/.well-known/jwks.json"
# Verifiers may use a copy for 5 minutes, for 10 more while they fetch a new one, and for a day
# while we do not answer. A new key is published longer than the first two before it signs.
CACHE_CONTROL = "public, max-age=300, stale-while-revalidate=600, stale-if-error=86400"

router = APIRouter()


async def get(request: Request) -> Response:
    """Send the keys that are published now."""
    service = service_of(request)
    found = service.keys.ring.jwks(service.clock.now())
    document = Document(found.body, found.etag, "application/json", CACHE_CONTROL)
    return document.response(request.scope)


router.add_route(PATH, get, methods=["GET"], name="jwks", include_in_schema=False)

# For the OpenAPI document.
PATH_ITEM: dict[str, Any] = {
    "get": {
        "tags": ["keys"],
        "summary": "The public keys",
        "description": (
            "Every key that may have signed an access token which is still valid, and the next "
            "one before it signs. A verifier that keeps a copy for `max-age` never meets an "
            "unknown `kid`. Conditional requests get 304."
        ),
        "responses": {
            "200": {
                "description": "A JWK Set (RFC 7517 §5).",
                "headers": {
                    "ETag": {"schema": {"type": "string"}},
                    "Cache-Control": {"schema": {"type": "string"}, "example": CACHE_CONTROL},
                },
                "content": {
                    "application/json": {
                        "schema": {"$ref": "#/components/schemas/JwkSet"},
                    }
                },
            },
            "304": {"description": "The copy named by If-None-Match is still current."},
        },
    }
}
_MEMBER = {"type": "string"}
SCHEMAS: dict[str, Any] = {
    "JwkSet": {
        "title": "JwkSet",
        "type": "object",
        "required": ["keys"],
        "properties": {
            "keys": {
                "type": "array",
                "minItems": 1,
                "items": {
                    "type": "object",
                    "required": ["kty", "n", "e", "use", "alg", "kid"],
                    "properties": {
                        "kty": {"const": "RSA"},
                        "use": {"const": "sig"},
                        "alg": {"const": "RS256"},
                        "kid": {**_MEMBER, "description": "RFC 7638 SHA-256 thumbprint."},
                        "n": _MEMBER,
                        "e": _MEMBER,
                    },
                },
                "examples": [
                    [
                        {
                            "kty": "RSA",
                            "use": "sig",
                            "alg": "RS256",
                            "kid": "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs",
                            "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbb…",
                            "e": "AQAB",
                        }
                    ]
                ],
            }
        },
    }
}
