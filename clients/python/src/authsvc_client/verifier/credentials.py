"""Find the access token of a request (RFC 6750 §2.1) or a WebSocket, in any framework."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from authsvc_client.tokens.secret import Secret
from authsvc_client.verifier.cookie_sessions import CookieSessions
from authsvc_client.verifier.errors import InvalidRequest, MissingToken

# What a request may do without proving where it comes from; so it must change nothing.
READING_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

# What a server accepts such a handshake with; never the token, which would come back in the answer.
BEARER_SUBPROTOCOL = "bearer"

Headers = Callable[[str], Sequence[str]]
"""All values of the header of that name, which is given in lower case."""


@dataclass(frozen=True)
class Presented:
    """
    What a request carries.

    Args:
        writes: With whom to check its CSRF token, once the access token is verified; None unless
            it is a write by a cookie, which a browser added by itself.
    """

    token: Secret
    writes: CookieSessions | None = None


def presented(headers: Headers, cookies: CookieSessions | None, *, method: str) -> Presented:
    """
    The token of `Authorization: Bearer …`; without that header, of the access cookie.

    A token in the query or in a form is never looked at (RFC 9700 §4.3.2).

    Args:
        cookies: None where this service reads no cookies.

    Raises:
        MissingToken: There is none.
        InvalidRequest: The header or the cookie comes twice, or the header holds no token.
        CsrfRefused: It is a write by cookie from a foreign page.
    """
    token = _authorization(headers)
    if token is not None:
        return Presented(token)
    cookie, cookies = _cookie(headers, cookies)
    if method in READING_METHODS:
        return Presented(cookie)
    cookies.check_page(headers)
    return Presented(cookie, cookies)


def presented_by_websocket(headers: Headers, cookies: CookieSessions | None) -> Secret:
    """
    The token of a handshake (RFC 6455 §4.1): as of a request, or among the subprotocols.

    A browser can set no header: `new WebSocket(url, ["bearer", token])` is all it has, beside
    its cookies. No page can offer a token that it does not know, so it needs no origin.

    Raises:
        MissingToken: There is none.
        InvalidRequest: There are two, or `bearer` without a token behind it.
        CsrfRefused: It comes by cookie, and not provably from a page of this application.
    """
    offered = _subprotocol(headers("sec-websocket-protocol"))
    token = _authorization(headers)
    if offered is not None and token is not None:
        raise InvalidRequest("authorization and subprotocol")
    found = offered or token
    if found is not None:
        return found
    cookie, cookies = _cookie(headers, cookies)
    # It cannot bring the CSRF token, and every browser sends it with its page's origin.
    cookies.check_page(headers, must_tell=True)
    return cookie


def _cookie(headers: Headers, cookies: CookieSessions | None) -> tuple[Secret, CookieSessions]:
    """The token of the access cookie, and who reads cookies here."""
    token = None if cookies is None else cookies.access_token(headers("cookie"))
    if token is None or cookies is None:
        raise MissingToken("not a bearer token" if headers("authorization") else "no credential")
    return token, cookies


def _authorization(headers: Headers) -> Secret | None:
    """The Bearer header; another scheme belongs to something on the way, such as a proxy."""
    values = headers("authorization")
    if len(values) > 1:
        raise InvalidRequest("authorization twice")
    scheme, _, token = "".join(values).strip().partition(" ")
    if scheme.lower() != "bearer":
        return None
    if not token.strip():
        raise InvalidRequest("no token after Bearer")
    return Secret(token.strip())


def _subprotocol(values: Sequence[str]) -> Secret | None:
    offered = [name.strip() for value in values for name in value.split(",")]
    if BEARER_SUBPROTOCOL not in offered:
        return None
    token = "".join(offered[offered.index(BEARER_SUBPROTOCOL) + 1 :][:1])
    if not token or offered.count(BEARER_SUBPROTOCOL) > 1:
        raise InvalidRequest("bearer among the subprotocols, and not one token behind it")
    return Secret(token)
