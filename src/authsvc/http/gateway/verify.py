"""
GET, HEAD /auth/verify: forward authentication for gateways.

The decision is about the token and the parameters that the gateway itself writes into its
configuration. No path, host or user agent of the original request takes part, so that no
spelling of one can slip through; what the gateway tells is its method, which decides whether a
cookie is enough.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from authsvc.flows.verify import Demands, Identity, verify
from authsvc.http.gateway import verify_query
from authsvc.http.request.credentials import Use, access_credential, check_csrf_token
from authsvc.http.request.fields import parameter
from authsvc.http.request.service import Service, service_of
from authsvc.http.response.problem_schema import refusals
from authsvc.observe.metrics import VERIFY_OUTCOMES, verify_total
from authsvc.protocol import errors
from authsvc_client.tokens.claims import ROLE_NAME

PATH = "/auth/verify"
# Caddy and Traefik say it in the first; ingress controllers of nginx in the second.
ORIGINAL_METHOD = ("X-Forwarded-Method", "X-Original-Method")

router = APIRouter()

PARAMETERS = [
    *verify_query.PARAMETERS,
    *(
        parameter(
            name,
            "header",
            "The method of the original request; believed from `AUTHSVC_TRUSTED_PROXIES`. Without "
            "it a cookie needs the CSRF token, as for a write.",
            {"type": "string"},
        )
        for name in ORIGINAL_METHOD
    ),
]
IDENTITY_HEADERS: dict[str, Any] = {
    "X-User-ID": {"description": "`sub` of the token.", "schema": {"type": "string"}},
    "X-User-Roles": {
        "description": "Role names, sorted, comma separated; empty without any.",
        "schema": {"type": "string"},
        "example": "billing,editor",
    },
    "X-Session-ID": {"description": "`sid` of the token.", "schema": {"type": "string"}},
    "X-Identity-Assertion": {
        "description": "A JWS of `typ` `ia+jwt` for the `upstream`; empty if none was named.",
        "schema": {"type": "string"},
    },
}


@router.get(
    PATH,
    name="verify",
    response_class=Response,
    tags=["gateway"],
    summary="Whose request is this?",
    responses=refusals(
        errors.Unauthenticated,
        errors.DuplicateCredentials,
        errors.Forbidden,
        errors.CsrfFailed,
        errors.ValidationFailed,
        errors.DatabaseUnavailable,
    )
    | {
        200: {
            "description": "Let the request pass, with these headers and no others of these names.",
            "headers": IDENTITY_HEADERS,
        }
    },
    openapi_extra={"parameters": PARAMETERS},
)
async def get(request: Request) -> Response:
    """
    Verify the access token of a request that a gateway has received, and answer its identity.

    Only tokens of users, for `AUTHSVC_AUDIENCE`; others are 403. No database is asked: keys and
    revocations are in memory. Every 200 carries all identity headers, so that a gateway which
    copies them overwrites what a client may have claimed in them. A request by cookie that
    is not provably a GET, HEAD or OPTIONS must come from an allowed page and carry X-CSRF-Token.
    503 means that no decision is possible now: let the client try again, and do not let it in.
    """
    service = service_of(request)
    now = service.clock.now()
    try:
        query = verify_query.read_query(
            request.scope["query_string"], upstreams=service.settings.assertion_upstreams
        )
        if query.upstream is not None and not _by_trusted_proxy(request):
            raise errors.Forbidden("not_a_trusted_proxy")
        identity = _identify(request, service, query.demands, now)
    except errors.Refusal as refusal:
        cause = refusal.detail if refusal.detail in VERIFY_OUTCOMES else refusal.code
        verify_total.labels(outcome=cause).inc()
        raise
    verify_total.labels(outcome="allowed").inc()
    request.state.facts = {
        "user_id": str(identity.user_id),
        "session_id": str(identity.session_id),
    }
    assertion = (
        ""
        if query.upstream is None
        else service.issuer.identity_assertion(identity.claims, upstream=query.upstream, now=now)
    )
    # A name that got past our rules, by SQL for instance, could break out of the header.
    roles = sorted(role for role in identity.claims.roles if ROLE_NAME.fullmatch(role))
    return Response(
        headers={
            "Cache-Control": "no-store",
            "X-User-ID": str(identity.user_id),
            "X-User-Roles": ",".join(roles),
            "X-Session-ID": str(identity.session_id),
            "X-Identity-Assertion": assertion,
        }
    )


router.add_api_route(PATH, get, methods=["HEAD"], include_in_schema=False)


def _identify(
    request: Request, service: Service, demands: Iterable[Demands], now: datetime
) -> Identity:
    """
    The identity of a request, if it may pass.

    Raises:
        Refusal: It may not, or nobody can say.
    """
    presented = access_credential(request, service, _use)
    if presented is None:
        raise errors.Unauthenticated("no_credential", error=None)
    identity = verify(
        service.issuer,
        service.revocations,
        access_token=presented.token,
        demands=demands,
        now=now,
    )
    if presented.needs_csrf_token:
        check_csrf_token(request, service, (identity.session_id,))
    return identity


def _use(request: Request) -> Use:
    use = Use.of_method(original_method(request))
    return Use.HANDSHAKE if use is Use.READ and _opens_websocket(request) else use


def original_method(request: Request) -> str | None:
    """
    The method of the request that the gateway has received; None if no trusted proxy tells.

    Two that differ tell nothing: the client may have written one of them.
    """
    if not _by_trusted_proxy(request):
        return None
    told = {value for name in ORIGINAL_METHOD for value in request.headers.getlist(name)}
    return told.pop() if len(told) == 1 else None


def _by_trusted_proxy(request: Request) -> bool:
    """Whether the peer itself is one, as the edge has found."""
    return getattr(request.state, "by_proxy", False) is True


def _opens_websocket(request: Request) -> bool:
    """Whether it is a handshake (RFC 6455 §4.1); proxies keep `Upgrade` to themselves."""
    return (
        "sec-websocket-key" in request.headers
        or "sec-websocket-version" in request.headers
        or request.headers.get("upgrade", "").lower() == "websocket"
    )
