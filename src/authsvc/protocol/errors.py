"""
The tree of refusals: every way in which authsvc says no.

    Refusal
    ├── BadRequest             ├── InvalidCredentials     ├── Unauthenticated
    │   ├── UnknownHost            │                          │
    │   ├── DuplicateCredentials   ├── InvalidRefreshToken    ├── Forbidden
    │   ├── CookiesImpossible      ├── CurrentPasswordWrong   │   ├── CsrfFailed
    │   └── MalformedJson          ├── EmailTaken             │   ├── InsufficientScope
    ├── ValidationFailed       ├── NotFound               │   └── RegistrationClosed
    │   └── WeakPassword           ├── MethodNotAllowed       ├── TooManyAttempts
    ├── PayloadTooLarge        ├── UnsupportedMediaType   ├── Overloaded
                                                          └── DatabaseUnavailable
                                                              ├── OutcomeUnknown
                                                              └── NoSigningKey

`code`, `title` and `description` are public and constant per class; `detail` is private and
goes to the log only, with one exception that its class names. Which HTTP status a class has is
known to `http/response/problem_schema.py` alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar, Self


class Refusal(Exception):  # noqa: N818 - a refusal is an answer, not an error
    """
    A request that is answered with no.

    Args:
        detail: The exact cause, for the log. Never sent, never a secret.
        retry_after: How long the caller should wait before the same request makes sense.
    """

    code: ClassVar[str]
    title: ClassVar[str]
    description: ClassVar[str]

    def __init_subclass__(cls) -> None:
        """The title is the code in words, unless a class has its own."""
        if "code" in vars(cls) and "title" not in vars(cls):
            cls.title = cls.code.replace("_", " ").capitalize()

    def __init__(self, detail: str = "", *, retry_after: timedelta | None = None) -> None:
        super().__init__(detail or self.code)
        self.detail = detail
        self.retry_after = retry_after


class BadRequest(Refusal):
    """The request as a whole makes no sense."""

    code = "bad_request"
    description = "The request is not well formed. Compare it with /docs and send it again."


class UnknownHost(BadRequest):
    """The Host header names no host of ours; a `bad_request` with a remedy of its own."""

    description = (
        "This server does not answer to that host name. Add it to AUTHSVC_ALLOWED_HOSTS, or let "
        "the proxy keep the Host header."
    )


class MalformedJson(BadRequest):
    """The body is not strict JSON (RFC 8259): syntax, duplicate keys, NaN, depth, not UTF-8."""

    code = "malformed_json"
    title = "Malformed JSON"
    description = (
        "The body is not strict JSON: UTF-8, no duplicate keys, no NaN or Infinity, "
        "at most 32 levels deep."
    )


class DuplicateCredentials(BadRequest):
    """The same kind of credential arrived twice."""

    code = "duplicate_credentials"
    description = (
        "The request carries a credential twice, such as a refresh token in the body and one "
        "in a cookie. Send exactly one."
    )


class CookiesImpossible(BadRequest):
    """A cookie delivery was asked for from a cross-site page."""

    code = "cookies_impossible"
    description = (
        "The page is on another site than authsvc, or in a frame of another site, so the "
        "browser would drop the session cookies. Serve the page from the same site (locally: "
        "use localhost for both, not 127.0.0.1), open it in its own window instead of a "
        'frame, or log in with "delivery": "native".'
    )


class ValidationFailed(Refusal):
    """A member of the request has a wrong type, form or length."""

    code = "validation_error"
    description = "The request has members that are missing, unknown or invalid; see `errors`."

    def __init__(self, detail: str = "", *, errors: tuple[FieldError, ...] = ()) -> None:
        super().__init__(detail)
        self.errors = errors

    @classmethod
    def of(cls, *loc: str | int, msg: str, type: str, detail: str = "") -> Self:  # noqa: A002 - as the field
        """The refusal of one member; the arguments are those of `FieldError`."""
        return cls(detail, errors=(FieldError(loc, msg, type),))


@dataclass(frozen=True, slots=True)
class FieldError:
    """
    One invalid member. Holds nothing that the caller sent.

    Args:
        loc: Where, such as ``("body", "email")``; for an unknown member, its parent.
        msg: What is wrong and what to send instead.
        type: A stable word for the rule, such as ``missing``.
    """

    loc: tuple[str | int, ...]
    msg: str
    type: str


class WeakPassword(ValidationFailed):
    """The password is on the block list or holds the account's own words."""

    code = "weak_password"
    description = (
        "The password is too easy to guess: it is one of the most common passwords, or it "
        "contains the e-mail address or the service's name. Choose another; length helps most."
    )


class InvalidCredentials(Refusal):
    """Login failed, for one of several reasons that look the same from outside."""

    code = "invalid_credentials"
    description = "The e-mail address or the password is wrong."


class InvalidRefreshToken(Refusal):
    """The refresh token does not work, for one of several reasons that look the same."""

    code = "invalid_refresh_token"
    description = "The refresh token is not valid. Log in again."


class Unauthenticated(Refusal):
    """
    No credential, or one that is not (or no longer) valid.

    Args:
        error: The RFC 6750 §3.1 error code for the challenge; None when no credential was sent.
    """

    code = "unauthenticated"
    title = "Not authenticated"
    description = (
        "The request needs a valid access token: `Authorization: Bearer …` or the access cookie."
    )

    def __init__(self, detail: str = "", *, error: str | None = "invalid_token") -> None:
        super().__init__(detail)
        self.error = error


class Forbidden(Refusal):
    """The caller is known and may not do this."""

    code = "forbidden"
    description = "The caller is not allowed to do this."


class InsufficientScope(Forbidden):
    """The access token is valid, and does not allow this (RFC 6750 §3.1)."""


class CsrfFailed(Forbidden):
    """A cookie-authenticated write that does not provably come from a page of ours."""

    code = "csrf_failed"
    title = "Cross-site request refused"
    description = (
        "The page's origin is not listed: add it to AUTHSVC_CORS_ORIGINS. With web delivery also "
        "send the X-CSRF-Token header."
    )


class OpaqueOrigin(CsrfFailed):
    """The page has no origin that could be listed."""

    description = (
        "The browser says `Origin: null`: the page is a file, or in a sandboxed frame. Serve it "
        "from an origin that is listed in AUTHSVC_CORS_ORIGINS."
    )


class CsrfTokenWrong(CsrfFailed):
    """The page may be ours, but has not proved to know the session."""

    description = (
        "Send the session's CSRF token, the value of its CSRF cookie, once in the X-CSRF-Token "
        "header. If it was sent: it is of another session."
    )


class RegistrationClosed(Forbidden):
    """Self-registration is switched off."""

    code = "registration_closed"
    description = "New accounts are created by the administrator."


class CurrentPasswordWrong(Forbidden):
    """The current password of a password change is wrong."""

    code = "current_password_wrong"
    description = "The current password is wrong. The session is still valid."


class EmailTaken(Refusal):
    """The address has an account already."""

    code = "email_taken"
    title = "E-mail taken"
    description = "An account with this e-mail address exists already. Log in instead."


class NotFound(Refusal):
    """There is no such thing, or it is another user's."""

    code = "not_found"
    description = "There is nothing here."


class MethodNotAllowed(Refusal):
    """The path exists, the method does not."""

    code = "method_not_allowed"
    description = "This method is not allowed here; see the `Allow` header."


class PayloadTooLarge(Refusal):
    """The body is over the limit."""

    code = "payload_too_large"
    description = "The body is larger than 64 KiB."


class UnsupportedMediaType(Refusal):
    """The body has a type this endpoint does not read."""

    code = "unsupported_media_type"
    description = "Send the body as application/json."


class CompressedBody(UnsupportedMediaType):
    """The body has a content coding (RFC 9110 §8.4)."""

    description = "Send the body uncompressed, without Content-Encoding."


class OtherParameter(UnsupportedMediaType):
    """The body says that it is not UTF-8, or something that we do not know."""

    description = "Send the body as application/json, with charset=utf-8 or without parameters."


class TooManyAttempts(Refusal):
    """Throttled."""

    code = "too_many_attempts"
    description = "There were too many attempts. Wait as long as Retry-After says, then try again."


class TooManyStrangers(TooManyAttempts):
    """Strangers have used up what an account has for them in a day."""

    description = (
        "There were too many failed attempts at this account from places it has never signed in "
        "from. Signing in is still possible from a device or network that has signed in before. "
        "From here, wait as long as Retry-After says."
    )


class Overloaded(Refusal):
    """The password hashing queue is full; nothing was tried."""

    code = "overloaded"
    description = "The server is busy hashing passwords. Repeat the request after Retry-After."


class DatabaseUnavailable(Refusal):
    """The database cannot be asked; nothing is known to have changed."""

    code = "database_unavailable"
    description = (
        "The server cannot reach its database. Nothing is lost: repeat the request after "
        "Retry-After, a refresh with the same Idempotency-Key."
    )


class OutcomeUnknown(DatabaseUnavailable):
    """The connection broke between a statement and its reply: it may have committed."""


class SchemaMismatch(DatabaseUnavailable):
    """A table or column is not there, or not granted to our role."""


class NoSigningKey(DatabaseUnavailable):
    """
    No signing key is active: the clock is wrong, or a file is missing.

    Not the database's fault, but what a client should do is the same.
    """

    description = (
        "The server has no active signing key; its /readyz says more. Nothing has changed: "
        "repeat the request after Retry-After."
    )


class InternalError(Refusal):
    """A defect of ours."""

    code = "internal_error"
    description = "Something went wrong inside authsvc. Report it with the request id."
