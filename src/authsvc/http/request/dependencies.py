"""What endpoints ask for: the process-lifetime objects, the clock, the caller, the current user."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

from fastapi import Depends, Request

from authsvc.flows.authenticate import authenticate
from authsvc.flows.follow_revocations import Revocations
from authsvc.flows.login import Device
from authsvc.http.request.cookies import Cookies, PresentedCookies
from authsvc.http.request.csrf import Origins, check_origin
from authsvc.keys.assertion_signer import AssertionSigner
from authsvc.keys.csrf_tokens import verify_csrf_token
from authsvc.keys.device_cookies import open_device_cookie
from authsvc.keys.directory import KeyDirectory
from authsvc.keys.issuer import Issuer
from authsvc.keys.passwords import PasswordHasher
from authsvc.protocol.audit import Caller
from authsvc.protocol.errors import BadRequest, CsrfFailed, Unauthenticated
from authsvc.protocol.refresh import Lifetimes
from authsvc.protocol.throttle import Limits
from authsvc.remote.client_jwks import RemoteKeys
from authsvc.settings import Settings
from authsvc.store.database import Database
from authsvc.store.group_commit import GroupCommit
from authsvc.store.users import Account
from authsvc_client.tokens.secret import Secret

READING_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class Clock:
    """The process's clock, for tokens and keys; families go by the database's."""

    def now(self) -> datetime:
        """The time, in UTC."""
        return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Service:
    """Everything that lives as long as the process; built once, in the lifespan."""

    settings: Settings
    db: Database
    group_commit: GroupCommit
    keys: KeyDirectory
    issuer: Issuer
    revocations: Revocations
    hasher: PasswordHasher
    limits: Limits | None
    blocked_passwords: frozenset[str]
    lifetimes: Lifetimes
    cookies: Cookies
    origins: Origins
    remote_keys: RemoteKeys
    assertions: AssertionSigner
    clock: Clock


def service(request: Request) -> Service:
    """The service that `app.create_app` put together."""
    found: Service = request.app.state.service
    return found


def caller(request: Request) -> Caller:
    """Who sent the request; trusted proxies were resolved by the middleware."""
    return Caller(
        ip=request.client.host if request.client else "",
        user_agent=request.headers.get("user-agent", ""),
        request_id=request.state.request_id,
    )


def our_cookies(request: Request) -> PresentedCookies:
    """Our cookies on this request."""
    return service(request).cookies.read(request.headers.getlist("cookie"))


def presented_device(
    held: Service, cookies: PresentedCookies, *, token: str | None = None
) -> Device | None:
    """The device that the token names, or the first authentic device cookie."""
    for presented in (token, *cookies.every(held.cookies.device)):
        if presented is None:
            continue
        device = open_device_cookie(held.keys.refresh, presented)
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
        raise BadRequest("authorization twice")
    scheme, _, token = "".join(values).strip().partition(" ")
    if scheme.lower() != "bearer":
        return None
    if not token.strip():
        raise BadRequest("bearer without a token")
    return Secret(token.strip())


async def current_user(request: Request) -> Account:
    """
    The account that the access token stands for; Authorization outranks the access cookie.

    Raises:
        Unauthenticated: No token, or one that is not (or no longer) valid.
        DuplicateCredentials: Two access cookies.
        CsrfFailed: A write by cookie that does not provably come from a page of ours.
    """
    held = service(request)
    token = bearer_token(request)
    by_cookie = token is None
    if by_cookie:
        token = our_cookies(request).only(held.cookies.access)
    if token is None:
        raise Unauthenticated("no credential", error=None)
    if by_cookie and request.method not in READING_METHODS:
        check_origin(request.headers, held.origins)
    account = await authenticate(
        held.db,
        held.issuer,
        access_token=token,
        now=held.clock.now(),
    )
    if by_cookie and request.method not in READING_METHODS:
        presented = csrf_header(request)
        if presented is None or not verify_csrf_token(
            held.keys.refresh, account.session_id, presented
        ):
            raise CsrfFailed("csrf_token")
    return account


def csrf_header(request: Request) -> Secret | None:
    """The X-CSRF-Token header; sent twice, it proves nothing."""
    values = request.headers.getlist("x-csrf-token")
    return Secret(values[0]) if len(values) == 1 else None


# FastAPI runs a plain function in a thread of its own, and a refresh would wait for five of
# them; coroutine functions run where they stand.


async def _the_service(request: Request) -> Service:
    return service(request)


async def _the_caller(request: Request) -> Caller:
    return caller(request)


async def _our_cookies(request: Request) -> PresentedCookies:
    return our_cookies(request)


async def _csrf_header(request: Request) -> Secret | None:
    return csrf_header(request)


TheService = Annotated[Service, Depends(_the_service)]
TheCaller = Annotated[Caller, Depends(_the_caller)]
OurCookies = Annotated[PresentedCookies, Depends(_our_cookies)]
CsrfHeader = Annotated[Secret | None, Depends(_csrf_header)]
CurrentUser = Annotated[Account, Depends(current_user)]
