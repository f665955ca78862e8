"""
The tree of refusals of a resource service, each with its status and its RFC 6750 §3 challenge.

    AccessRefused
    ├── MissingToken            401, a bare challenge: no credential was sent
    ├── InvalidToken            401 invalid_token: see authsvc_client.tokens.errors
    ├── InvalidRequest          400 invalid_request: a credential sent twice
    ├── InsufficientScope       403 insufficient_scope: the token is good, and not enough
    ├── CsrfRefused             403, no challenge: another token would not help
    └── Unavailable             503 with Retry-After: it is not known whether the token is good
        └── KeysUnavailable  RevocationsUnavailable
"""

from __future__ import annotations

import math
from datetime import timedelta
from http import HTTPStatus

from authsvc_client.tokens.errors import CHALLENGE, AccessRefused


class MissingToken(AccessRefused):
    """The request carries no access token."""

    status = HTTPStatus.UNAUTHORIZED
    code = "unauthenticated"
    description = "The request needs an access token."

    def challenge(self) -> str:
        """No error code for a request that presented nothing (RFC 6750 §3.1)."""
        return CHALLENGE


class InvalidRequest(AccessRefused):
    """A credential arrived twice, or an Authorization header holds no token."""

    status = HTTPStatus.BAD_REQUEST
    code = "invalid_request"
    error = "invalid_request"
    description = "Send one access token, as Authorization: Bearer"


class InsufficientScope(AccessRefused):
    """
    The token is valid and does not allow this.

    Args:
        scope: What would be needed (RFC 6750 §3), if it is a matter of scope.
    """

    status = HTTPStatus.FORBIDDEN
    code = "insufficient_scope"
    error = "insufficient_scope"
    description = "The access token does not allow this"

    def __init__(self, detail: str = "", *, scope: tuple[str, ...] = ()) -> None:
        super().__init__(detail)
        self.scope = scope

    def challenge(self) -> str | None:
        """With the scope that would be needed."""
        value = super().challenge()
        return f'{value}, scope="{" ".join(self.scope)}"' if self.scope else value


class CsrfRefused(AccessRefused):
    """A write by cookie that does not provably come from a page of this application."""

    status = HTTPStatus.FORBIDDEN
    code = "csrf_failed"
    description = (
        "The request does not provably come from a page of this application. Send it from there, "
        "with the value of the CSRF cookie in the X-CSRF-Token header."
    )


class Unavailable(AccessRefused):
    """
    Whether the token is good is unknown: the keys or the revocations cannot be fetched (503).

    Args:
        retry_after: When that may be otherwise.
    """

    status = HTTPStatus.SERVICE_UNAVAILABLE
    code = "unavailable"
    description = "Access tokens cannot be verified at the moment. Repeat the request later."

    def __init__(self, detail: str = "", *, retry_after: timedelta = timedelta(seconds=1)) -> None:
        super().__init__(detail)
        self.retry_after = retry_after

    def headers(self) -> dict[str, str]:
        """With Retry-After, in whole seconds."""
        wait = max(math.ceil(self.retry_after.total_seconds()), 1)
        return {**super().headers(), "Retry-After": str(wait)}


class KeysUnavailable(Unavailable):
    """authsvc's keys cannot be fetched."""

    code = "keys_unavailable"


class RevocationsUnavailable(Unavailable):
    """authsvc's revocation feed is older than was allowed, and tokens are to be refused then."""

    code = "revocations_unavailable"
