"""Find the access token of a request (RFC 6750 §2.1), whatever the framework."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from authsvc.protocol.secret import Secret
from authsvc.verifier.cookie_sessions import CookieSessions
from authsvc.verifier.errors import InvalidRequest, MissingToken

# What a request may do without proving where it comes from; so it must change nothing.
READING_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

Headers = Callable[[str], Sequence[str]]
"""All values of the header of that name, which is given in lower case."""


@dataclass(frozen=True, slots=True)
class Presented:
    """
    What a request carries.

    Args:
        by_cookie: A browser added it by itself, so that a write must prove its origin.
    """

    token: Secret
    by_cookie: bool


def presented(headers: Headers, cookies: CookieSessions | None) -> Presented:
    """
    The token of `Authorization: Bearer …`; without that header, of the access cookie.

    A token in the query or in a form is never looked at (RFC 9700 §4.3.2).

    Args:
        cookies: None where this service reads no cookies.

    Raises:
        MissingToken: There is none.
        InvalidRequest: The header or the cookie comes twice, or the header holds no token.
    """
    values = headers("authorization")
    if len(values) > 1:
        raise InvalidRequest("authorization twice")
    if values:
        scheme, _, token = values[0].strip().partition(" ")
        if scheme.lower() == "bearer":
            if not token.strip():
                raise InvalidRequest("no token after Bearer")
            return Presented(Secret(token.strip()), by_cookie=False)
    cookie = None if cookies is None else cookies.access_token(headers("cookie"))
    if cookie is None:
        raise MissingToken("no credential" if not values else "not a bearer token")
    return Presented(cookie, by_cookie=True)
