"""
FastAPI: who calls, as a dependency.

    app = FastAPI()
    protect(app, TokenVerifier(issuer="https://auth.example.com", audience="authsvc"))

    @app.get("/hello")
    async def hello(user: CurrentUser) -> str:
        return f"Hello {user.sub}."

    @app.delete("/orders/{number}", dependencies=[require_roles("admin")])
    async def delete_order(number: int) -> None: ...

Refusals are HTTPExceptions, so that they look like the application's other errors; status,
challenge and description are those of `authsvc_client.verifier.errors`. The dependencies guard
WebSockets as well: a refusal closes one with 1008 before it is accepted.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException, Request, WebSocketException, status
from fastapi.params import Depends as Dependency
from fastapi.requests import HTTPConnection
from fastapi.security import HTTPBearer

from authsvc_client.tokens.claims import AccessTokenClaims
from authsvc_client.tokens.errors import AccessRefused
from authsvc_client.verifier.authorization import Check, check_user, roles_check, scope_check
from authsvc_client.verifier.cookie_sessions import CookieSessions
from authsvc_client.verifier.credentials import presented, presented_by_websocket
from authsvc_client.verifier.token_verifier import TokenVerifier

log = logging.getLogger("authsvc_client.verifier")

FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")


class _Documented(HTTPBearer):
    """Only for the OpenAPI document, so that /docs has a button; the token is read below."""

    async def __call__(self) -> None:  # type: ignore[override]  # the base's wants a Request, which a WebSocket is not
        """Read nothing."""


_scheme = _Documented(bearerFormat="JWT", description="An access token of authsvc.")


@dataclass(frozen=True)
class Protection:
    """What `protect` left with an application."""

    verifier: TokenVerifier
    cookies: CookieSessions | None


def protect(
    app: FastAPI, verifier: TokenVerifier, *, cookies: CookieSessions | None = None
) -> None:
    """
    Tell an application whose tokens it trusts; its endpoints then ask for `CurrentUser`.

    Args:
        cookies: Accept the cookies of `web` delivery as well; None: only Authorization.
    """
    app.state.authsvc = Protection(verifier, cookies)


async def current_caller(
    connection: HTTPConnection,
    _: Annotated[None, Depends(_scheme)],
) -> AccessTokenClaims:
    """
    The claims of the access token of a request or a WebSocket, a person's or a service's.

    Raises:
        HTTPException: There is no valid one (401), a write by cookie is not provably ours
            (403), or nobody can say (503).
        WebSocketException: The same, before a handshake was accepted.
    """
    protection = getattr(connection.app.state, "authsvc", None)
    if not isinstance(protection, Protection):
        raise RuntimeError("call authsvc_client.verifier.fastapi.protect(app, verifier) first")  # noqa: TRY004 - a missing call
    headers, cookies = connection.headers.getlist, protection.cookies
    verifier = protection.verifier
    try:
        if not isinstance(connection, Request):
            return await verifier.verify(presented_by_websocket(headers, cookies))
        found = presented(headers, cookies, method=connection.method)
        claims = await verifier.verify(found.token)
        if found.writes is not None:
            # Last, so that a stranger's form is not even parsed.
            form_token = await _form_token(connection)
            found.writes.check_csrf_token(headers, form_token=form_token)
    except AccessRefused as refusal:
        raise _exception(refusal, connection) from None
    return claims


CurrentCaller = Annotated[AccessTokenClaims, Depends(current_caller)]


def _checked(
    check: Check,
) -> Callable[[AccessTokenClaims, HTTPConnection], Awaitable[AccessTokenClaims]]:
    """A dependency: the caller, if the check lets it through."""

    async def checked(caller: CurrentCaller, connection: HTTPConnection) -> AccessTokenClaims:
        try:
            check(caller)
        except AccessRefused as refusal:
            raise _exception(refusal, connection) from None
        return caller

    return checked


current_user = _checked(check_user)
"""
The claims of a person's access token.

Raises:
    HTTPException: As `current_caller`; 403 for a service's own token.
    WebSocketException: The same, before a handshake was accepted.
"""

CurrentUser = Annotated[AccessTokenClaims, Depends(current_user)]


def require_roles(*roles: str) -> Dependency:
    """
    Demand a token with **any** of the roles: in `dependencies=[…]`, or to annotate a parameter.

    Raises:
        ValueError: No role is named, or one that no token could have.
    """
    dependency: Dependency = Depends(_checked(roles_check(roles)))
    return dependency


def require_scope(*scope: str) -> Dependency:
    """
    Demand a token with **all** of the scope tokens, as `require_roles`.

    Raises:
        ValueError: No scope is named, or one that no token could have.
    """
    dependency: Dependency = Depends(_checked(scope_check(scope)))
    return dependency


async def _form_token(request: Request) -> str | None:
    """
    The field `csrf_token` of a form; FastAPI keeps the form for the endpoint.

    Without python-multipart an application has no forms, and the header is the only way.
    """
    if find_spec("python_multipart") is None:
        return None
    if not request.headers.get("content-type", "").lower().startswith(FORMS):
        return None
    value = (await request.form()).get("csrf_token")
    return value if isinstance(value, str) else None


def _exception(
    refusal: AccessRefused, connection: HTTPConnection
) -> HTTPException | WebSocketException:
    log.info("access refused: %s (%s)", refusal.code, refusal.detail)
    if not isinstance(connection, Request):
        return WebSocketException(status.WS_1008_POLICY_VIOLATION, refusal.description)
    return HTTPException(refusal.status.value, refusal.description, headers=refusal.headers())
