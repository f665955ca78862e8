"""
GET /auth/continue: a page that renews the cookies of a `web` session, and goes back.

A server-rendered application sends a browser here when its access cookie has run out: it never
sees the refresh cookie itself. The request changes nothing; the page's script makes the POST to
/auth/refresh, with the page's own origin, the CSRF token and an Idempotency-Key that it has
stored before.
"""

from __future__ import annotations

import html
import re
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, Response

from authsvc.http.pages.return_address import MAX_LENGTH, missing, return_address
from authsvc.http.pages.static_page import CONTENT_SECURITY_POLICY, StaticPage
from authsvc.http.request.fields import parameter
from authsvc.http.request.service import service_of
from authsvc.http.response.problem_schema import refusals
from authsvc.protocol.errors import ValidationFailed

PATH = "/auth/continue"

ASSETS = {"continue.css": "continue", "continue.js": "continue", "favicon.svg": "docs"}
PAGE = StaticPage(PATH, ("continue", "index.html"), ASSETS)

_ADDRESS: dict[str, Any] = {"type": "string", "format": "uri", "maxLength": MAX_LENGTH}
PARAMETERS: dict[str, Any] = {
    "parameters": [
        parameter(
            "return_to",
            "query",
            "Where the page goes once the cookies are new: an address on an origin of "
            "`AUTHSVC_CORS_ORIGINS`, or on authsvc's own.",
            _ADDRESS,
            required=True,
            example="https://app.example.com/notes",
        ),
        parameter(
            "sign_in",
            "query",
            "Where it goes if there is no session any more, under the same rule. Without it the "
            "page says so and stays.",
            _ADDRESS,
            example="https://app.example.com/sign-in",
        ),
    ],
    # In the place of what FastAPI would say of a response class.
    "responses": {
        "200": {
            "description": "The page.",
            "content": {"text/html": {"schema": {"type": "string"}}},
        }
    },
}

router = APIRouter()
PAGE.add_assets_to(router)


@router.get(
    PATH,
    response_class=HTMLResponse,
    tags=["session"],
    summary="Renew the cookies of a server-rendered application",
    responses=refusals(ValidationFailed),
    openapi_extra=PARAMETERS,
)
async def continue_session(request: Request) -> Response:
    """
    A page for a browser whose access cookie has expired (`web` delivery).

    Its script refreshes the session and goes back to `return_to`; while the service is down it
    waits and tries again. The request itself changes nothing.
    """
    service = service_of(request)
    return_to = return_address(request, "return_to", service.origins)
    if return_to is None:
        raise missing("return_to")
    sign_in = return_address(request, "sign_in", service.origins)
    values = {
        "RETURN_TO": return_to,
        "SIGN_IN": sign_in or "",
        "ELSEWHERE": sign_in or return_to,
        "CSRF_COOKIE": service.cookies.csrf.name,
    }
    text = re.sub(r"\{([A-Z_]+)\}", lambda name: html.escape(values[name[1]]), PAGE.html())
    return HTMLResponse(
        text,
        headers={"Cache-Control": "no-store", "Content-Security-Policy": CONTENT_SECURITY_POLICY},
    )
