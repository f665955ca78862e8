"""
Flask: who calls, as a decorator.

    access = AccessTokens(TokenVerifier(issuer="https://auth.example.com", audience="authsvc"))

    @app.get("/hello")
    @access.required
    def hello() -> str:
        return f"Hello {access.claims.sub}."

    @app.delete("/orders/<int:number>")
    @access.require_roles("admin")
    def delete_order(number: int) -> tuple[str, int]: ...

The route's decorator comes first, as with every Flask decorator.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any

from flask import Response, current_app, g, request
from flask.typing import ResponseReturnValue

from authsvc_client.tokens.claims import AccessTokenClaims
from authsvc_client.tokens.errors import PROBLEM_JSON, AccessRefused
from authsvc_client.verifier.authorization import Check, check_user, roles_check, scope_check
from authsvc_client.verifier.cookie_sessions import CookieSessions
from authsvc_client.verifier.credentials import presented
from authsvc_client.verifier.token_verifier import TokenVerifier

log = logging.getLogger("authsvc_client.verifier")

if TYPE_CHECKING:
    from typing_extensions import ParamSpec  # of `typing` from Python 3.10 on

    P = ParamSpec("P")
    View = Callable[P, Any]


class AccessTokens:
    """
    Decorators for views that need an access token.

    Args:
        verifier: May be exchanged later, as `access.verifier`, by tests.
        cookies: Accept the cookies of `web` delivery as well; None: only Authorization.
    """

    def __init__(self, verifier: TokenVerifier, *, cookies: CookieSessions | None = None) -> None:
        self.verifier = verifier
        self._cookies = cookies

    @property
    def claims(self) -> AccessTokenClaims:
        """
        The claims of the request's token, inside of a decorated view.

        Raises:
            RuntimeError: The view has none of the decorators: a programming error.
        """
        claims = g.get("authsvc_claims")
        if not isinstance(claims, AccessTokenClaims):
            raise RuntimeError("no claims: the view has no decorator of AccessTokens")  # noqa: TRY004 - a missing decorator
        return claims

    def required(self, view: View[P]) -> Callable[P, ResponseReturnValue]:
        """Demand a valid token, a person's or a service's."""
        return self._guarded(view, lambda _: None)

    def user_required(self, view: View[P]) -> Callable[P, ResponseReturnValue]:
        """Demand a person's valid token."""
        return self._guarded(view, check_user)

    def require_roles(self, *roles: str) -> Callable[[View[P]], Callable[P, ResponseReturnValue]]:
        """
        Demand a token with **any** of the roles.

        Raises:
            ValueError: No role is named, or one that no token could have.
        """
        check = roles_check(roles)
        return lambda view: self._guarded(view, check)

    def require_scope(self, *scope: str) -> Callable[[View[P]], Callable[P, ResponseReturnValue]]:
        """
        Demand a token with **all** of the scope tokens.

        Raises:
            ValueError: No scope is named, or one that no token could have.
        """
        check = scope_check(scope)
        return lambda view: self._guarded(view, check)

    def _guarded(self, view: View[P], check: Check) -> Callable[P, ResponseReturnValue]:
        @wraps(view)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> ResponseReturnValue:
            if request.method == "OPTIONS":
                # A preflight carries no credential (Fetch §3.2.1). The view is not called.
                return current_app.make_default_options_response()
            try:
                claims = self._authenticate()
                check(claims)
            except AccessRefused as refusal:
                log.info("access refused: %s (%s)", refusal.code, refusal.detail)
                return Response(
                    refusal.problem(),
                    status=refusal.status.value,
                    headers=refusal.headers(),
                    content_type=PROBLEM_JSON,
                )
            g.authsvc_claims = claims
            answer: ResponseReturnValue = current_app.ensure_sync(view)(*args, **kwargs)
            return answer

        return guarded

    def _authenticate(self) -> AccessTokenClaims:
        found = presented(_header, self._cookies, method=request.method)
        claims = self.verifier.verify_sync(found.token)
        if found.writes is not None:
            # Last, so that a stranger's form is not even parsed.
            found.writes.check_csrf_token(_header, form_token=request.form.get("csrf_token"))
        return claims


def _header(name: str) -> Sequence[str]:
    """WSGI joins a header that came twice, with a comma that no token and no origin has."""
    return request.headers.getlist(name)
