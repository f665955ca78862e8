"""
GET /docs and /openapi.json: the API to read and to try out, from our own host only.

Swagger UI is shipped with us: whoever owns a CDN could read the tokens that are pasted here.
"""

from __future__ import annotations

import json

from fastapi import APIRouter, Request
from starlette.responses import Response

from authsvc.http.pages.static_page import REVALIDATE, StaticPage
from authsvc.http.response.document import Document
from authsvc.settings import Settings

ASSETS = {
    "docs.css": "docs",
    "favicon.svg": "docs",
    "init.js": "docs",
    "swagger-ui-bundle.js": "swagger-ui",
    "swagger-ui.css": "swagger-ui",
}
TEMPLATE = ("docs", "index.html")
PAGE = StaticPage("/docs", TEMPLATE, ASSETS)
PAGE_WITHOUT_DEMO = StaticPage("/docs", TEMPLATE, ASSETS, omit='<a href="/demo">Demo</a>\n')


def docs_router(settings: Settings) -> APIRouter:
    """The page, its assets and the document; nothing at all where docs are switched off."""
    router = APIRouter(include_in_schema=False)
    if settings.docs:
        page = PAGE if settings.serves_demo else PAGE_WITHOUT_DEMO
        page.add_to(router)
        router.add_api_route("/openapi.json", openapi, methods=["GET", "HEAD"])
    return router


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
