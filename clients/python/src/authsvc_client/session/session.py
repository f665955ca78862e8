"""
One login of a native application: log in, keep an access token, log out.

All of it blocks; `SessionAuth` calls it in a thread where there is an event loop. Refreshes are
single flight over threads and processes, and fail with back-off. A caller that waits for one may
go away: the thread stores the answer all the same, so that no rotation is lost.
"""

from __future__ import annotations

import re
import secrets
import ssl
from dataclasses import replace
from datetime import datetime, timedelta
from ipaddress import ip_address
from typing import Any

import httpx

from authsvc_client.clock import Clock, SystemClock
from authsvc_client.https import UNREACHABLE, Transfer, check_url, why_unreachable
from authsvc_client.session.errors import (
    AuthsvcUnavailable,
    LoginRefused,
    NotLoggedIn,
    RequestRefused,
    SessionEnded,
    StoreDamaged,
)
from authsvc_client.session.stores import SessionStore, StoredSession
from authsvc_client.tokens import json_object
from authsvc_client.tokens.secret import Secret

# The share of its life after which an access token is renewed.
RENEW_AFTER = 0.8
# How long a token that replaced a refused one and was refused as well is not replaced again.
REFRESH_COOLDOWN = timedelta(seconds=60)
# How long a token that still works is used before its renewal is tried again.
QUIET = timedelta(seconds=30)
FIRST_PAUSE, MAX_PAUSE = timedelta(seconds=1), timedelta(seconds=30)
SECONDS = re.compile(r"\d{1,5}", re.ASCII)
KEY_BYTES = 24  # 32 characters; authsvc takes 16 to 255


class NativeSession:
    """
    The session of one user with one authsvc.

    Build one for each program and keep it; it may be used from any thread.

    Args:
        issuer: authsvc's origin, such as ``https://auth.example.com``.
        patience: How long to repeat a refresh that gets no answer, while nothing else would do.
        timeout: For each request to authsvc.
        ssl_context: Whom to trust for https; None: the public authorities.

    Raises:
        ValueError: The issuer is neither https nor http on this machine.
    """

    def __init__(
        self,
        issuer: str,
        store: SessionStore,
        *,
        patience: timedelta = timedelta(seconds=30),
        timeout: timedelta = timedelta(seconds=10),
        ssl_context: ssl.SSLContext | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.issuer = check_url(issuer, "issuer").rstrip("/")
        self._store = store
        self._patience = patience
        self._transfer = Transfer(timeout=timeout, ssl_context=ssl_context)
        self._clock = clock or SystemClock()
        self._stored: StoredSession | None = None
        self._quiet_until: datetime | None = None
        self._just_started = True
        self._why = ""  # why the last request had no answer
        self._replacement: Secret | None = None  # of a token that a service refused

    def login(self, email: str, password: str, *, client_address: str | None = None) -> None:
        """
        Log in, and put the session into the store; one that was there is logged out.

        Args:
            client_address: For a backend for frontend: the IP address of the browser, so that
                authsvc's throttle tells customers apart. authsvc believes it where this machine
                is one of its `AUTHSVC_TRUSTED_PROXIES`.

        Raises:
            ValueError: That is no IP address.
            LoginRefused: authsvc refused.
            AuthsvcUnavailable: It gave no answer.
            StoreDamaged: The store cannot be written.
        """
        headers = None
        if client_address is not None:
            headers = {"X-Forwarded-For": str(ip_address(client_address))}
        with self._store.lock():
            try:
                before = self._load()
            except StoreDamaged:
                before = None
            body = {"email": email, "password": password, "delivery": "native"}
            now = self._clock.now()
            answer = self._post("/auth/login", body, headers)
            if answer is None or answer.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
                raise AuthsvcUnavailable(f"authsvc gave no answer to the login{self._why}")
            if answer.status_code != httpx.codes.OK:
                raise _refused(answer, LoginRefused)
            session = self._session(answer, now=now)
            if session is None:
                raise AuthsvcUnavailable("the answer to the login is not from authsvc")
            self._keep(session)
            if before is not None:
                # If nobody hears it, it idles out.
                self._post("/auth/logout", {"refresh_token": before.refresh_token})

    def logout(self) -> None:
        """
        End the session, there and here; without a session nothing happens.

        Raises:
            AuthsvcUnavailable: authsvc gave no answer. The session is still in the store, so
                that this can be repeated; `forget` removes it here alone.
            StoreDamaged: The store cannot be read or written.
        """
        with self._store.lock():
            stored = self._load()
            if stored is None:
                return
            answer = self._post("/auth/logout", {"refresh_token": stored.refresh_token})
            if answer is None or answer.status_code not in {
                httpx.codes.NO_CONTENT,
                httpx.codes.UNAUTHORIZED,
            }:
                raise AuthsvcUnavailable(f"authsvc did not confirm the logout{self._why}")
            self._forget()

    def forget(self) -> None:
        """
        Remove the session from the store without telling authsvc.

        Raises:
            StoreDamaged: The store cannot be written.
        """
        with self._store.lock():
            self._forget()

    def held_token(self) -> Secret | None:
        """An access token that needs no renewal yet; None if `access_token` has to be asked."""
        stored, now = self._stored, self._clock.now()
        return stored.access_token if stored is not None and self._will_do(stored, now) else None

    def access_token(self, *, refused: str | None = None) -> Secret:
        """
        An access token that works; refreshes if need be, one at a time.

        Args:
            refused: A token that a service refused, so that it will not do.

        Raises:
            NotLoggedIn: There is no session; SessionEnded if it was there until now.
            AuthsvcUnavailable: A refresh is needed and got no answer; nothing is lost.
            RequestRefused: authsvc refused the refresh for another reason than its token.
            StoreDamaged: The store cannot be used.
        """
        token = self.held_token()
        if token is not None and token != refused:
            return token
        with self._store.lock():
            stored = self._load()
            if stored is None:
                self._stored = None
                raise NotLoggedIn("there is no session; log in first")
            now = self._clock.now()
            self._stored = stored
            if stored.access_token != refused and self._will_do(stored, now):
                return stored.access_token  # somebody else has refreshed it meanwhile
            if (
                refused is not None
                and stored.access_token == refused == self._replacement
                and now < stored.received_at + REFRESH_COOLDOWN
            ):
                return stored.access_token  # another one would be refused as well
            still_works = stored.access_token != refused and now < stored.expires_at
            try:
                patience = timedelta(0) if still_works else self._patience
                token = self._refresh(stored, patience=patience).access_token
            except AuthsvcUnavailable:
                if not still_works:
                    raise
                self._quiet_until = now + QUIET
                return stored.access_token
            if refused is not None:
                self._replacement = token
            return token

    def _will_do(self, stored: StoredSession, now: datetime) -> bool:
        if now < stored.renew_at:
            return True
        return now < stored.expires_at and self._quiet_until is not None and now < self._quiet_until

    def _refresh(self, stored: StoredSession, *, patience: timedelta) -> StoredSession:
        """Spend the refresh token; the lock is held."""
        key = self._key(stored)
        # Before it is sent: after a crash the same key goes with the same token.
        self._store.save(replace(stored, attempt_key=key, answered=False))
        until = self._clock.now() + patience
        pause = FIRST_PAUSE
        while True:
            now = self._clock.now()
            answer = self._post(
                "/auth/refresh",
                {"refresh_token": stored.refresh_token},
                headers={"Idempotency-Key": key},
            )
            session = self._renewed(answer, key, now=now)
            if session is not None:
                self._keep(session)
                return session
            wait = max(pause, _retry_after(answer) or pause)
            if self._clock.now() + wait > until:
                raise AuthsvcUnavailable(
                    f"authsvc gave no answer to the refresh; nothing is lost{self._why}"
                )
            self._clock.pause(wait)
            pause = min(2 * pause, MAX_PAUSE)

    def _renewed(
        self, answer: httpx.Response | None, key: Secret, *, now: datetime
    ) -> StoredSession | None:
        """What an answer to a refresh brings; None if it is to be repeated."""
        if answer is None or answer.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
            return None
        if answer.status_code == httpx.codes.OK:
            session = self._session(answer, now=now)
            return None if session is None else replace(session, attempt_key=key)
        if answer.status_code == httpx.codes.TOO_MANY_REQUESTS or answer.is_redirect:
            return None  # a proxy on the way, or a network that wants a login of its own
        refusal = _refused(answer, RequestRefused)
        if refusal.code != "invalid_refresh_token":
            raise refusal
        self._forget()
        raise SessionEnded("the session has ended; log in again")

    def _key(self, stored: StoredSession) -> Secret:
        """
        The Idempotency-Key: the pending one; after a start the last one; else a new one.

        A store that a crash has put back to the token before is recognised by its last key.
        """
        if stored.attempt_key is not None and (not stored.answered or self._just_started):
            return stored.attempt_key
        return Secret(secrets.token_urlsafe(KEY_BYTES))

    def _session(self, answer: httpx.Response, *, now: datetime) -> StoredSession | None:
        """The tokens of a 200; None if it is not authsvc's, but the page of a hotel's network."""
        try:
            members = json_object.decode(answer.content)
        except ValueError:
            return None
        access, refresh = members.get("access_token"), members.get("refresh_token")
        seconds = members.get("expires_in")
        if (
            not isinstance(access, str)
            or not isinstance(refresh, str)
            or not isinstance(seconds, int)
        ):
            return None
        return StoredSession(
            issuer=self.issuer,
            access_token=Secret(access),
            refresh_token=Secret(refresh),
            received_at=now,
            renew_at=now + timedelta(seconds=seconds * RENEW_AFTER),
            expires_at=now + timedelta(seconds=seconds),
        )

    def _post(
        self, path: str, body: dict[str, str], headers: dict[str, str] | None = None
    ) -> httpx.Response | None:
        """One request; None if no answer came."""
        self._why = ""
        try:
            with self._transfer.client() as client:
                return client.post(f"{self.issuer}{path}", json=body, headers=headers)
        except UNREACHABLE as exc:
            self._why = why_unreachable(self.issuer, exc)
            return None

    def _load(self) -> StoredSession | None:
        stored = self._store.load()
        if stored is not None and stored.issuer != self.issuer:
            raise StoreDamaged(f"the store holds a session of {stored.issuer}")
        return stored

    def _keep(self, session: StoredSession) -> None:
        self._store.save(session)
        self._stored, self._quiet_until, self._just_started = session, None, False

    def _forget(self) -> None:
        self._store.clear()
        self._stored = None


def _refused(answer: httpx.Response, kind: type[RequestRefused]) -> RequestRefused:
    """What authsvc says; a code that is not its own is the status."""
    try:
        problem: dict[str, Any] = json_object.decode(answer.content)
    except ValueError:
        problem = {}
    code, description = problem.get("code"), problem.get("detail")
    return kind(
        code if isinstance(code, str) else f"status {answer.status_code}",
        description if isinstance(description, str) else "",
        retry_after=_retry_after(answer),
    )


def _retry_after(answer: httpx.Response | None) -> timedelta | None:
    """Retry-After in seconds, which is the only form that authsvc sends."""
    found = SECONDS.fullmatch("" if answer is None else answer.headers.get("retry-after", ""))
    return None if found is None else timedelta(seconds=int(found[0]))
