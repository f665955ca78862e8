"""GET /.well-known/revocations: what was revoked, signed; from memory, without SQL."""

from __future__ import annotations

import re
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from authsvc.http.request.fields import parameter
from authsvc.http.request.service import service_of
from authsvc.http.response.document import Document
from authsvc.http.response.problem_schema import refusals
from authsvc.protocol.errors import BadRequest, DatabaseUnavailable
from authsvc_client.tokens import revocation_feed
from authsvc_client.tokens.revocation_feed import KINDS_ASKED, KINDS_PARAMETER, MEDIA_TYPE

PATH = revocation_feed.PATH
# A document changes every 5 s; what a cache adds to that, it adds to every revocation.
CACHE_CONTROL = "public, max-age=1"
NUMBER = re.compile(r"[0-9]{1,19}", re.ASCII)

router = APIRouter()


async def get(request: Request) -> Response:
    """Send the feed, or what came to it since a number."""
    service = service_of(request)
    found = service.revocations.feed(
        _since(request), clients=_asks_for_clients(request), now=service.clock.now()
    )
    document = Document(found.body, found.etag, MEDIA_TYPE, CACHE_CONTROL)
    return document.response(request.scope)


def _since(request: Request) -> int | None:
    values = request.query_params.getlist("since")
    if not values:
        return None
    if len(values) > 1 or not NUMBER.fullmatch(values[0]):
        raise BadRequest("since is not one number")
    return int(values[0])


def _asks_for_clients(request: Request) -> bool:
    """What else is asked for belongs to a later release; its verifier can do without."""
    return KINDS_ASKED in request.query_params.getlist(KINDS_PARAMETER)


router.add_route(PATH, get, methods=["GET"], name="revocations", include_in_schema=False)

# For the OpenAPI document.
PATH_ITEM: dict[str, Any] = {
    "get": {
        "tags": ["keys"],
        "summary": "What was revoked",
        "description": (
            "Every revocation of the last hour, for services that verify access tokens by "
            "themselves: a JWS of `typ` `rvk+jwt`, signed with a key of the JWKS. It changes every "
            "5 seconds, and says how old it is. With `since`, only what came after an earlier "
            "document; an unknown number gets everything. Conditional requests get "
            "304. docs/revocation-feed.md describes the format."
        ),
        "parameters": [
            parameter(
                "since",
                "query",
                "`seq` of the document that the caller has.",
                {"type": "integer", "minimum": 0},
            ),
            parameter(
                KINDS_PARAMETER,
                "query",
                "`client` from a verifier that knows the entries of clients.",
                {"type": "string"},
            ),
        ],
        "responses": {
            "200": {
                "description": "The feed: a compact JWS.",
                "headers": {
                    "ETag": {"schema": {"type": "string"}},
                    "Cache-Control": {"schema": {"type": "string"}, "example": CACHE_CONTROL},
                },
                "content": {
                    MEDIA_TYPE: {
                        "schema": {"type": "string"},
                        "example": "eyJhbGciOiJSUzI1NiIsInR5cCI6InJ2aytqd3QiLCJraWQiOiI…",
                    }
                },
            },
            "304": {"description": "The copy named by If-None-Match is still the newest."},
            **{
                str(status): response
                for status, response in refusals(BadRequest, DatabaseUnavailable).items()
            },
        },
    }
}
