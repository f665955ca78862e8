"""
The credentials of a request, and what they have to prove: bearer, cookies, origin, CSRF token.

A browser sends a cookie with whatever page asks for it. So a write by cookie must come from a
page of ours (see `csrf`), and with `web` delivery bring the session's signed double-submit value
(OWASP CSRF Prevention). Nothing here asks the database.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from uuid import UUID

from fastapi import Request

from authsvc.flows.login import Device
from authsvc.flows.logout import LogoutCredentials
from authsvc.http.request.cookies import PresentedCookies
from authsvc.http.request.csrf import check_login_origin, check_origin
from authsvc.http.request.service import Service, service_of
from authsvc.keys.csrf_tokens import verify_csrf_token
from authsvc.keys.device_cookies import open_device_cookie
from authsvc.protocol import errors
from authsvc.protocol.refresh import Delivery, RefreshToken
from authsvc_client.tokens.secret import Secret

READING_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class Use(Enum):
    """What an access token is presented for, which decides what a cookie has to prove."""

    READ = auto()
    """Nothing."""
    WRITE = auto()
    """The page that it comes from, and the CSRF token."""
    HANDSHAKE = auto()
    """A WebSocket's: it cannot bring the CSRF token, and always brings its page's origin."""

    @classmethod
    def of_method(cls, method: str | None) -> Use:
        """What a method is for; None where it is not known."""
        return cls.READ if method in READING_METHODS else cls.WRITE


@dataclass(frozen=True, slots=True)
class AccessCredential:
    """
    An access token that has yet to be verified.

    Args:
        needs_csrf_token: Whether the CSRF token of its session is due, once that is known.
    """

    token: Secret
    needs_csrf_token: bool = False


def access_credential(
    request: Request, service: Service, use_of: Callable[[Request], Use]
) -> AccessCredential | None:
    """
    The access token of a request; Authorization outranks the access cookie.

    Args:
        use_of: Asked where it came by cookie.

    Raises:
        BadRequest: As `bearer_token`.
        DuplicateCredentials: Two access cookies.
        CsrfFailed: By cookie, and from a page that may not.
    """
    token = bearer_token(request)
    if token is not None:
        return AccessCredential(token)
    token = our_cookies(request).only(service.cookies.access)
    if token is None:
        return None
    use = use_of(request)
    if use is Use.HANDSHAKE and "origin" not in request.headers:
        raise errors.CsrfFailed("origin")
    if use is not Use.READ:
        check_origin(request.headers, service.origins)
    return AccessCredential(token, needs_csrf_token=use is Use.WRITE)


def refresh_credential(
    request: Request, service: Service, *, in_body: str | None
) -> tuple[Secret | None, bool]:
    """
    The one refresh token of a request, if any, and whether it came in the cookie.

    Raises:
        DuplicateCredentials: Two cookies, or a cookie and a body.
    """
    cookie = our_cookies(request).only(service.cookies.refresh)
    if in_body is None:
        return cookie, cookie is not None
    if cookie is not None:
        raise errors.DuplicateCredentials("cookie and body")
    return Secret(in_body), False


def open_refresh_token(
    request: Request, service: Service, presented: Secret | None, *, by_cookie: bool, now: datetime
) -> RefreshToken:
    """
    Judge a refresh token by all that it says itself: garbage costs an HMAC and no SQL (rule 1).

    Raises:
        InvalidRefreshToken: None, not one of ours, or it came by the other transport.
        CsrfFailed: A cookie from a foreign page, or of `web` delivery without its CSRF token.
    """
    if by_cookie:
        check_origin(request.headers, service.origins)
    if presented is None:
        raise errors.InvalidRefreshToken("none_presented")
    token = service.keys.open_refresh_token(presented, now=now)
    if by_cookie != token.delivery.by_cookie:
        raise errors.InvalidRefreshToken("wrong_transport")
    if token.delivery is Delivery.WEB:
        check_csrf_token(request, service, (token.family_id,))
    return token


def logout_credentials(
    request: Request, service: Service, *, in_body: str | None, now: datetime
) -> LogoutCredentials:
    """
    Every authentic credential of a request, expired or not; of twin cookies, each.

    Raises:
        DuplicateCredentials: A refresh token in the cookie and in the body.
        CsrfFailed: From a foreign page; or only cookies of `web` delivery, and the CSRF token
            belongs to none of them. Of twins it belongs to one: what is proved is the page, and
            that is one for all cookies. A bearer token proves it as well, since no foreign page
            may send one.
        Unauthenticated: Nothing authentic was presented.
    """
    cookies = our_cookies(request)
    access_cookies = cookies.every(service.cookies.access)
    refresh_cookies = cookies.every(service.cookies.refresh)
    if refresh_cookies and in_body is not None:
        raise errors.DuplicateCredentials("cookie and body")
    if refresh_cookies or access_cookies:
        check_origin(request.headers, service.origins)
    else:
        check_login_origin(request.headers, service.origins)
    bearers = _authentic_access_tokens(service, _bearer_if_any(request), now)
    by_cookie = _authentic_access_tokens(service, access_cookies, now)
    refresh_by_cookie = _authentic_refresh_tokens(service, refresh_cookies, now)
    in_bodies = _authentic_refresh_tokens(service, (in_body,) if in_body else (), now)
    of_web_cookies = {session_id for _, session_id in by_cookie}
    of_web_cookies |= {t.family_id for t in refresh_by_cookie if t.delivery is Delivery.WEB}
    if of_web_cookies and not bearers:
        check_csrf_token(request, service, of_web_cookies)
    credentials = LogoutCredentials((*bearers, *by_cookie), (*refresh_by_cookie, *in_bodies))
    if not credentials.session_ids:
        raise errors.Unauthenticated("nothing authentic was presented")
    return credentials


def superseded_sessions(
    service: Service, cookies: PresentedCookies, *, now: datetime
) -> frozenset[UUID]:
    """The sessions of all authentic refresh cookies, of any generation: a login ends them."""
    tokens = _authentic_refresh_tokens(service, cookies.every(service.cookies.refresh), now)
    return frozenset(token.family_id for token in tokens if token.delivery.by_cookie)


def presented_device(
    service: Service, cookies: PresentedCookies, *, token: str | None = None
) -> Device | None:
    """The device that the token names, or the first authentic device cookie."""
    for presented in (token, *cookies.every(service.cookies.device)):
        if presented is None:
            continue
        device = open_device_cookie(service.keys.refresh, presented)
        if device:
            return Device(*device)
    return None


def bearer_token(request: Request) -> Secret | None:
    """
    The token of `Authorization: Bearer …` (RFC 6750 §2.1); None without that header.

    Any other scheme is somebody else's, such as the Basic of a proxy in front, and ignored.

    Raises:
        BadRequest: The header came twice, or without a token.
    """
    values = request.headers.getlist("authorization")
    if len(values) > 1:
        raise errors.BadRequest("authorization twice")
    scheme, _, token = "".join(values).strip().partition(" ")
    if scheme.lower() != "bearer":
        return None
    if not token.strip():
        raise errors.BadRequest("bearer without a token")
    return Secret(token.strip())


def our_cookies(request: Request) -> PresentedCookies:
    """Our cookies on this request."""
    return service_of(request).cookies.read(request.headers.getlist("cookie"))


def check_csrf_token(request: Request, service: Service, session_ids: Collection[UUID]) -> None:
    """
    Signed double submit: X-CSRF-Token is the value of one of the sessions; twice proves nothing.

    Raises:
        CsrfFailed: It is not.
    """
    values = request.headers.getlist("x-csrf-token")
    if len(values) != 1 or not any(
        verify_csrf_token(service.keys.refresh, session_id, values[0]) for session_id in session_ids
    ):
        raise errors.CsrfTokenWrong("csrf_token")


def _bearer_if_any(request: Request) -> tuple[Secret, ...]:
    """A header that is not well formed is no credential, and must not stop a logout."""
    try:
        token = bearer_token(request)
    except errors.BadRequest:
        return ()
    return () if token is None else (token,)


def _authentic_access_tokens(
    service: Service, presented: Iterable[Secret], now: datetime
) -> list[tuple[Secret, UUID]]:
    """Those that we signed for a session, each with its session."""
    found = []
    for token in presented:
        with suppress(errors.Unauthenticated):
            session_id = service.issuer.verify_authentic(token, now=now).sid
            if session_id is not None:
                found.append((token, session_id))
    return found


def _authentic_refresh_tokens(
    service: Service, presented: Iterable[str], now: datetime
) -> list[RefreshToken]:
    """The refresh tokens with a MAC of ours."""
    found = []
    for text in presented:
        with suppress(errors.InvalidRefreshToken):
            found.append(service.keys.open_refresh_token(text, now=now))
    return found
