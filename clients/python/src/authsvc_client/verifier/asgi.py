"""
Plain ASGI middleware: no request reaches the application without a valid access token.

    app = AccessTokenMiddleware(app, verifier=TokenVerifier(…), public={"/healthz"})

Inside, `claims_of(scope)` has the claims. WebSockets are guarded as well; a browser brings its
token to one as a subprotocol, or its cookie, and then its page's origin decides. CORS preflights
carry no credential: put CORS middleware outside of this one.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection, MutableMapping, Sequence
from typing import Any

from authsvc_client.tokens.claims import AccessTokenClaims
from authsvc_client.tokens.errors import PROBLEM_JSON, AccessRefused
from authsvc_client.verifier.authorization import roles_check, scope_check
from authsvc_client.verifier.cookie_sessions import CookieSessions
from authsvc_client.verifier.credentials import Headers, presented, presented_by_websocket
from authsvc_client.verifier.token_verifier import TokenVerifier

log = logging.getLogger("authsvc_client.verifier")

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

CLAIMS = "authsvc.claims"
POLICY_VIOLATION = 1008  # RFC 6455 §7.4.1; before the handshake is answered, servers send 403


class AccessTokenMiddleware:
    """
    Guard an ASGI application.

    Args:
        verifier: May be exchanged later, as `app.verifier`, by tests.
        cookies: Accept the cookies of `web` delivery as well; None: only Authorization.
        public: Paths that need no token, each exact; there are no patterns, so that no
            spelling of a path slips through one.
        roles: Any of these; empty: every role.
        scope: All of these; empty: every scope.

    Raises:
        ValueError: A role or a scope that no token could have.
    """

    def __init__(
        self,
        app: Application,
        *,
        verifier: TokenVerifier,
        cookies: CookieSessions | None = None,
        public: Collection[str] = (),
        roles: Sequence[str] = (),
        scope: Sequence[str] = (),
    ) -> None:
        if isinstance(public, str):
            raise ValueError("public: give a collection of paths")  # noqa: TRY004 - as the others
        self._app = app
        self.verifier = verifier
        self._cookies = cookies
        self._public = frozenset(public)
        self._checks = [roles_check(roles)] if roles else []
        self._checks += [scope_check(scope)] if scope else []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on with its claims, or answer it with no."""
        if scope["type"] not in {"http", "websocket"} or scope["path"] in self._public:
            await self._app(scope, receive, send)
            return
        try:
            claims = await self._claims(scope)
        except AccessRefused as refusal:
            log.info("access refused: %s (%s)", refusal.code, refusal.detail)
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": POLICY_VIOLATION})
            else:
                await _answer(refusal, scope, send)
            return
        await self._app({**scope, CLAIMS: claims}, receive, send)

    async def _claims(self, scope: Scope) -> AccessTokenClaims:
        headers = _headers(scope)
        if scope["type"] == "websocket":
            token = presented_by_websocket(headers, self._cookies)
            claims = await self.verifier.verify(token)
        else:
            found = presented(headers, self._cookies, method=scope["method"])
            claims = await self.verifier.verify(found.token)
            if found.writes is not None:
                found.writes.check_csrf_token(headers)
        for check in self._checks:
            check(claims)
        return claims


def claims_of(scope: Scope) -> AccessTokenClaims:
    """
    The claims of a request that the middleware let through.

    Raises:
        RuntimeError: It is of a public path, or there is no middleware: a programming error.
    """
    claims = scope.get(CLAIMS)
    if not isinstance(claims, AccessTokenClaims):
        raise RuntimeError("no claims: the path is public, or AccessTokenMiddleware is missing")  # noqa: TRY004 - a missing middleware
    return claims


def _headers(scope: Scope) -> Headers:
    def values(name: str) -> list[str]:
        wanted = name.encode("ascii")
        return [value.decode("latin-1") for key, value in scope["headers"] if key == wanted]

    return values


async def _answer(refusal: AccessRefused, scope: Scope, send: Send) -> None:
    body = refusal.problem()
    headers = refusal.headers() | {
        "Content-Type": PROBLEM_JSON,
        "Content-Length": str(len(body)),
    }
    await send(
        {
            "type": "http.response.start",
            "status": refusal.status.value,
            "headers": [(k.lower().encode("ascii"), v.encode("ascii")) for k, v in headers.items()],
        }
    )
    content = b"" if scope["method"] == "HEAD" else body
    await send({"type": "http.response.body", "body": content})
