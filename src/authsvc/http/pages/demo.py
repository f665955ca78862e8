"""
GET /demo: a single-page application on the browser client, to see sessions work.

On in development only: it logs in with whatever is typed, and shows decoded tokens. Its script is
built from clients/js/demo with the client itself.
"""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import RedirectResponse

from authsvc.http.pages.static_page import StaticPage
from authsvc.settings import Settings

ASSETS = {"demo.css": "demo", "demo.js": "demo", "favicon.svg": "docs"}
PAGE = StaticPage("/demo", ("demo", "index.html"), ASSETS)


def demo_router(settings: Settings) -> APIRouter:
    """The page and its assets; nothing at all where the demo is off."""
    router = APIRouter(include_in_schema=False)
    if settings.serves_demo:
        PAGE.add_to(router)
        # What `serve` prints, a terminal makes a link of.
        router.add_api_route("/", _to_the_demo, methods=["GET", "HEAD"])
    return router


async def _to_the_demo() -> RedirectResponse:
    return RedirectResponse("/demo")
