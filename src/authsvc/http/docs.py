"""
GET /docs and /openapi.json: the API to read and to try out, from our own host only.

Swagger UI is shipped with us: whoever owns a CDN could read the tokens that are pasted here. No
script or style stands in the page itself, so its content security policy needs no exception.
"""

from __future__ import annotations

import json
import re
from functools import cache
from importlib.resources import files

from fastapi import APIRouter, Request
from starlette.responses import Response

from authsvc.http.document import Document, digest
from authsvc.protocol.errors import NotFound
from authsvc.settings import Settings

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# The path of an asset names its content, so no copy is ever stale.
IMMUTABLE = "public, max-age=31536000, immutable"
REVALIDATE = "no-cache"

# By name: the directory, and the media type.
ASSETS = {
    "docs.css": ("docs", "text/css; charset=utf-8"),
    "favicon.svg": ("docs", "image/svg+xml"),
    "init.js": ("docs", "text/javascript; charset=utf-8"),
    "swagger-ui-bundle.js": ("swagger-ui", "text/javascript; charset=utf-8"),
    "swagger-ui.css": ("swagger-ui", "text/css; charset=utf-8"),
}


def docs_router(settings: Settings) -> APIRouter:
    """The page, its assets and the document; nothing at all where docs are switched off."""
    router = APIRouter(include_in_schema=False)
    if settings.docs:
        for path, endpoint in (
            ("/docs", docs),
            ("/openapi.json", openapi),
            ("/docs/assets/{version}/{name}", asset),
        ):
            router.add_api_route(path, endpoint, methods=["GET", "HEAD"])
    return router


async def docs(request: Request) -> Response:
    """Send the page."""
    return _page().response(request.scope)


async def openapi(request: Request) -> Response:
    """Send the OpenAPI document; made on the first request, since it takes a moment."""
    state = request.app.state
    if not hasattr(state, "openapi_document"):
        state.openapi_document = Document.of(
            json.dumps(request.app.openapi(), ensure_ascii=False).encode(),
            media_type="application/json",
            cache_control=REVALIDATE,
        )
    document: Document = state.openapi_document
    return document.response(request.scope)


async def asset(version: str, name: str, request: Request) -> Response:
    """Send a file of the page; only in the version that the page asks for."""
    if name not in ASSETS or version != _version(name):
        raise NotFound("asset")
    return _asset(name).response(request.scope)


@cache
def _page() -> Document:
    template = (files("authsvc.http") / "static" / "docs" / "index.html").read_text("utf-8")
    html = re.sub(r"\{([a-z.-]+)\}", lambda name: _url(name[1]), template)
    return Document.of(
        html.encode(),
        media_type="text/html; charset=utf-8",
        cache_control=REVALIDATE,
        content_security_policy=CONTENT_SECURITY_POLICY,
    )


@cache
def _asset(name: str) -> Document:
    directory, media_type = ASSETS[name]
    body = (files("authsvc.http") / "static" / directory / name).read_bytes()
    return Document.of(body, media_type=media_type, cache_control=IMMUTABLE)


def _url(name: str) -> str:
    return f"/docs/assets/{_version(name)}/{name}"


@cache
def _version(name: str) -> str:
    return digest(_asset(name).body)
