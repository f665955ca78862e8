"""
What can go wrong with a session, by what to do about it.

    SessionProblem
    ├── NotLoggedIn             ask the user to log in
    │   └── SessionEnded        the same: it was logged out, revoked, or idle for too long
    ├── AuthsvcUnavailable      try again later: nothing is lost
    ├── RequestRefused          a mistake in the application or its set-up
    │   └── LoginRefused        the credentials are wrong, or there were too many attempts
    └── StoreDamaged            the store cannot be used: repair it, or log in again
"""

from __future__ import annotations

from datetime import timedelta


class SessionProblem(Exception):  # noqa: N818 - what to do matters, not that it is an error
    """A session cannot be used as it is."""


class NotLoggedIn(SessionProblem):
    """There is no session in the store."""


class SessionEnded(NotLoggedIn):
    """authsvc refused the refresh token: the session is over, and gone from the store."""


class AuthsvcUnavailable(SessionProblem):
    """authsvc gave no answer in time. What was begun is repeated by the next call."""


class RequestRefused(SessionProblem):
    """
    authsvc refused the request itself; the session is as it was.

    Args:
        code: authsvc's error code (`/auth/errors.json`), or the bare status.
        description: What it says about it.
        retry_after: How long to wait before another attempt, if it says so.
    """

    def __init__(
        self, code: str, description: str, *, retry_after: timedelta | None = None
    ) -> None:
        super().__init__(f"{code}: {description}" if description else code)
        self.code = code
        self.description = description
        self.retry_after = retry_after


class LoginRefused(RequestRefused):
    """The login failed; an older session in the store is as it was."""


class StoreDamaged(SessionProblem):
    """The store holds something that is no session of this issuer, or cannot be trusted."""
