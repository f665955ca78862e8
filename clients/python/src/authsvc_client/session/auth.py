"""An `httpx.Auth` that sends the session's access token, and renews it when it has to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator, Sequence
from typing import Optional

import httpx

from authsvc_client.https import check_url
from authsvc_client.session.session import NativeSession
from authsvc_client.tokens.secret import Secret

PORTS = {"https": 443, "http": 80}
Origin = tuple[str, str, Optional[int]]


class SessionAuth(httpx.Auth):
    """
    Authorize requests to some services, and to no others.

    A 401 is answered once with a renewed token, if the request's body can be sent again (httpx
    holds it in memory: not a stream or a generator). Errors of the session, such as NotLoggedIn,
    come out of the request.

    Args:
        origins: Which services get the token, such as ``https://api.example.com``. A request to
            any other host, or a redirect there, goes without it.

    Raises:
        ValueError: An origin is neither https nor http on this machine.
    """

    def __init__(self, session: NativeSession, *, origins: Sequence[str]) -> None:
        if isinstance(origins, str) or not origins:
            raise ValueError("origins: give a list of the services that get the access token")
        self._session = session
        self._origins = {_origin(httpx.URL(check_url(origin, "origins"))) for origin in origins}

    def sync_auth_flow(
        self, request: httpx.Request
    ) -> Generator[httpx.Request, httpx.Response, None]:
        """For httpx.Client."""
        if _origin(request.url) not in self._origins:
            yield request
            return
        token = self._session.access_token()
        answer = yield _with(request, token)
        if _is_worth_another(answer, request):
            another = self._session.access_token(refused=token)
            if another != token:
                yield _with(request, another)

    async def async_auth_flow(
        self, request: httpx.Request
    ) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """For httpx.AsyncClient; what blocks runs in a thread."""
        if _origin(request.url) not in self._origins:
            yield request
            return
        token = self._session.held_token()
        if token is None:
            token = await asyncio.to_thread(self._session.access_token)
        answer = yield _with(request, token)
        if _is_worth_another(answer, request):
            another = await asyncio.to_thread(self._session.access_token, refused=token)
            if another != token:
                yield _with(request, another)


def _with(request: httpx.Request, token: Secret) -> httpx.Request:
    request.headers["Authorization"] = f"Bearer {token}"
    return request


def _is_worth_another(answer: httpx.Response, request: httpx.Request) -> bool:
    return answer.status_code == httpx.codes.UNAUTHORIZED and isinstance(
        request.stream, httpx.ByteStream
    )


def _origin(url: httpx.URL) -> Origin:
    return url.scheme, url.host, url.port or PORTS.get(url.scheme)
