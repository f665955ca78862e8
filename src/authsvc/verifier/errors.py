"""
The tree of refusals of a resource service, each with its status and its RFC 6750 §3 challenge.

    AccessRefused
    ├── MissingToken            401, a bare challenge: no credential was sent
    ├── InvalidToken            401 invalid_token
    │   ├── Malformed  BadHeader  BadSignature  UnknownKey
    │   ├── WrongIssuer  WrongAudience  BadClaims
    │   ├── Expired  NotYetValid  RevokedToken
    │   └── StaleClaims         says so: another token of the same session is good
    ├── InvalidRequest          400 invalid_request: a credential sent twice
    ├── InsufficientScope       403 insufficient_scope: the token is good, and not enough
    ├── CsrfRefused             403, no challenge: another token would not help
    └── Unavailable             503 with Retry-After: it is not known whether the token is good
        └── KeysUnavailable  RevocationsUnavailable

Whoever answers a request says the same for every `InvalidToken` but `StaleClaims`: its
`description` and its challenge name no cause. The cause is the class, and `detail` for the log;
neither holds any part of a token.
"""

from __future__ import annotations

import json
import math
from datetime import timedelta
from http import HTTPStatus
from typing import ClassVar

REALM = "authsvc"
PROBLEM_JSON = "application/problem+json"


class AccessRefused(Exception):  # noqa: N818 - a refusal is an answer, not an error
    """
    A request that is answered with no.

    Args:
        detail: The exact cause, for the log. Never sent.
    """

    status: ClassVar[HTTPStatus]
    code: ClassVar[str]
    error: ClassVar[str | None] = None
    """The error code of RFC 6750 §3.1, where there is one."""
    description: ClassVar[str]

    def __init__(self, detail: str = "") -> None:
        super().__init__(detail or self.code)
        self.detail = detail or self.code

    def challenge(self, *, realm: str = REALM) -> str | None:
        """The value of WWW-Authenticate (RFC 6750 §3); None where no token would help."""
        if self.error is None:
            return None
        return (
            f'Bearer realm="{realm}", error="{self.error}", error_description="{self.description}"'
        )

    def headers(self) -> dict[str, str]:
        """The headers of the answer."""
        challenge = self.challenge()
        return {
            "Cache-Control": "no-store",
            **({} if challenge is None else {"WWW-Authenticate": challenge}),
        }

    def problem(self) -> bytes:
        """The body of the answer, `application/problem+json` (RFC 9457)."""
        return json.dumps(
            {
                "type": "about:blank",
                "title": self.status.phrase,
                "status": self.status.value,
                "detail": self.description,
                "code": self.code,
            },
            separators=(",", ":"),
        ).encode("ascii")


class MissingToken(AccessRefused):
    """The request carries no access token."""

    status = HTTPStatus.UNAUTHORIZED
    code = "unauthenticated"
    description = "The request needs an access token."

    def challenge(self, *, realm: str = REALM) -> str:
        """No error code for a request that presented nothing (RFC 6750 §3.1)."""
        return f'Bearer realm="{realm}"'


class InvalidToken(AccessRefused):
    """The access token does not work, for one of several reasons that look the same."""

    status = HTTPStatus.UNAUTHORIZED
    code = "invalid_token"
    error = "invalid_token"
    description = "The access token is not valid"


class Malformed(InvalidToken):
    """Not a compact JWS of canonical base64url and strict JSON, or longer than 8 KiB."""


class BadHeader(InvalidToken):
    """Not RS256, not `at+jwt`, no `kid`, or a header member that we never write."""


class UnknownKey(InvalidToken):
    """authsvc publishes no key of that `kid`."""


class BadSignature(InvalidToken):
    """Signed by somebody else, or changed since."""


class WrongIssuer(InvalidToken):
    """`iss` is another."""


class WrongAudience(InvalidToken):
    """`aud` does not name this service."""


class BadClaims(InvalidToken):
    """A claim is missing or of the wrong type."""


class Expired(InvalidToken):
    """`exp` has passed, leeway included."""


class NotYetValid(InvalidToken):
    """`nbf` or `iat` lie in the future, leeway included."""


class RevokedToken(InvalidToken):
    """The token, its session or its key was revoked, as the revocation feed says."""


class StaleClaims(InvalidToken):
    """
    The user's roles have changed since the token was issued, or one entry of the feed stands for
    more than 100 of the user's sessions that have ended.

    Nobody is logged out: a client refreshes its session and repeats the request.
    """

    code = "stale_claims"
    description = "stale_claims: the claims of the access token are out of date, refresh it"


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

    def challenge(self, *, realm: str = REALM) -> str | None:
        """With the scope that would be needed."""
        value = super().challenge(realm=realm)
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
    Nobody can say whether the token is good.

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


# What the protocol calls the causes.
BY_DETAIL: dict[str, type[InvalidToken]] = {
    "malformed": Malformed,
    "bad_header": BadHeader,
    "unknown_kid": UnknownKey,
    "bad_signature": BadSignature,
    "wrong_issuer": WrongIssuer,
    "wrong_audience": WrongAudience,
    "bad_claims": BadClaims,
    "expired": Expired,
    "not_yet_valid": NotYetValid,
}
