"""
A page and its files, from our own host only.

No script or style stands in the page itself, so its content security policy needs no exception.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import PurePath

from fastapi import APIRouter, Request
from starlette.responses import Response

from authsvc.http.response.document import Document, digest
from authsvc.protocol.errors import NotFound

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# The path of an asset names its content, so no copy is ever stale.
IMMUTABLE = "public, max-age=31536000, immutable"
REVALIDATE = "no-cache"

MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


class StaticPage:
    """
    One page with its assets.

    Args:
        path: Where it is served, such as `/docs`.
        template: Directory and name below `static`; `{name}` in it stands for an asset's address.
            What stands in capitals there is left to whoever asks for `html`.
        assets: By name, the directory below `static`.
        omit: A piece of the template that this page does not have.
    """

    def __init__(
        self, path: str, template: tuple[str, str], assets: Mapping[str, str], *, omit: str = ""
    ) -> None:
        self._path = path
        self._template = template
        self._omit = omit
        self._assets = assets
        self.html = cache(self._read_html)
        self._page = cache(self._read_page)
        self._asset = cache(self._read_asset)

    def add_to(self, router: APIRouter) -> None:
        """Serve the page and its assets."""
        router.add_api_route(self._path, self.page, methods=["GET", "HEAD"])
        self.add_assets_to(router)

    def add_assets_to(self, router: APIRouter) -> None:
        """Serve the assets; the page has an endpoint of its own."""
        path = f"{self._path}/assets/{{version}}/{{name}}"
        router.add_api_route(path, self.asset, methods=["GET", "HEAD"], include_in_schema=False)

    async def page(self, request: Request) -> Response:
        """Send the page."""
        return self._page().response(request.scope)

    async def asset(self, version: str, name: str, request: Request) -> Response:
        """Send a file of the page; only in the version that the page asks for."""
        if name not in self._assets or version != digest(self._asset(name).body):
            raise NotFound("asset")
        return self._asset(name).response(request.scope)

    def _read_html(self) -> str:
        text = _read(*self._template).decode("utf-8")
        if self._omit:
            text = text.replace(self._omit, "")
        return re.sub(r"\{([a-z.-]+)\}", lambda name: self._url(name[1]), text)

    def _read_page(self) -> Document:
        return Document.of(
            self.html().encode(),
            media_type="text/html; charset=utf-8",
            cache_control=REVALIDATE,
            content_security_policy=CONTENT_SECURITY_POLICY,
        )

    def _read_asset(self, name: str) -> Document:
        return Document.of(
            _read(self._assets[name], name),
            media_type=MEDIA_TYPES[PurePath(name).suffix],
            cache_control=IMMUTABLE,
        )

    def _url(self, name: str) -> str:
        return f"{self._path}/assets/{digest(self._asset(name).body)}/{name}"


def _read(directory: str, name: str) -> bytes:
    return (files("authsvc.http.pages") / "static" / directory / name).read_bytes()
