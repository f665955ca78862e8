"""
Why a token does not count (RFC 6750 §3, RFC 8725): one class for each cause.

    AccessRefused
    └── InvalidToken            401 invalid_token
        ├── Malformed  BadHeader  BadSignature  UnknownKey
        ├── WrongIssuer  WrongAudience  BadClaims
        ├── Expired  NotYetValid  RevokedToken
        └── StaleClaims         says so: another token of the same session is good

Whoever answers a request says the same for every `InvalidToken` but `StaleClaims`: its
`description` and its challenge name no cause. The cause is the class, and `detail` for the log;
neither holds any part of a token.
"""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import ClassVar

CHALLENGE = 'Bearer realm="authsvc"'
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

    def challenge(self) -> str | None:
        """The value of WWW-Authenticate (RFC 6750 §3); None where no token would help."""
        if self.error is None:
            return None
        return f'{CHALLENGE}, error="{self.error}", error_description="{self.description}"'

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


class InvalidToken(AccessRefused):
    """The access token does not work, for one of several reasons that look the same."""

    status = HTTPStatus.UNAUTHORIZED
    code = "invalid_token"
    error = "invalid_token"
    description = "The access token is not valid"
    cause: ClassVar[str] = "invalid_token"
    """A word for the log, of a closed set."""

    def __init__(self, detail: str = "") -> None:
        super().__init__(detail or self.cause)


class Malformed(InvalidToken):
    """Not a compact JWS of canonical base64url and strict JSON, or longer than 8 KiB."""

    cause = "malformed"


class BadHeader(InvalidToken):
    """Not RS256, not `at+jwt`, no `kid`, or a header member that we never write."""

    cause = "bad_header"


class UnknownKey(InvalidToken):
    """authsvc publishes no key of that `kid`."""

    cause = "unknown_kid"


class BadSignature(InvalidToken):
    """The signature is not the key's: another signer, or a changed token."""

    cause = "bad_signature"


class WrongIssuer(InvalidToken):
    """`iss` is another."""

    cause = "wrong_issuer"


class WrongAudience(InvalidToken):
    """`aud` does not name this service."""

    cause = "wrong_audience"


class BadClaims(InvalidToken):
    """A claim is missing or of the wrong type."""

    cause = "bad_claims"


class Expired(InvalidToken):
    """`exp` has passed, leeway included."""

    cause = "expired"


class NotYetValid(InvalidToken):
    """`nbf` or `iat` lie in the future, leeway included."""

    cause = "not_yet_valid"


class RevokedToken(InvalidToken):
    """The token, its session or its key was revoked, as the revocation feed says."""

    cause = "revoked"


class StaleClaims(InvalidToken):
    """
    The user's roles have changed since the token was issued, or one entry of the feed stands for
    more than 100 of the user's sessions that have ended.

    Nobody is logged out: a client refreshes its session and repeats the request.
    """

    code = "stale_claims"
    cause = "stale_claims"
    description = "stale_claims: the claims of the access token are out of date, refresh it"
