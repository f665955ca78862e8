"""Small applications behind the real edge, for rules that need no service."""

from __future__ import annotations

from typing import Any

import httpx
from fastapi import APIRouter, FastAPI
from starlette.types import ASGIApp

from authsvc.http.response.errors import install_errors
from authsvc.http.wire import Edge
from authsvc.observe.logging import configure_logging
from authsvc.settings import Settings

ORIGIN = "http://localhost:8000"
CLIENT = "203.0.113.7"


def application(*routers: APIRouter, **overrides: object) -> FastAPI:
    """The given endpoints with our errors, behind the edge."""
    defaults = {"env": "development", "log_level": "warning", "log_format": "json"}
    settings = Settings.load(**{**defaults, **overrides})
    configure_logging(settings)
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    app.add_middleware(Edge, settings=settings)
    install_errors(app, issuer=settings.issuer)
    for router in routers:
        app.include_router(router)
    return app


def client_of(app: ASGIApp, *, peer: str = CLIENT, **kwargs: Any) -> httpx.AsyncClient:
    """
    A client of an application in this process; it holds nothing that has to be closed.

    Args:
        peer: The address at the other end of the connection.
    """
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app=app, client=(peer, 50000)),
        base_url=kwargs.pop("base_url", ORIGIN),
        **kwargs,
    )
