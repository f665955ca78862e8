"""
The refusals of the OAuth endpoints (RFC 6749 §5.2, RFC 7009 §2.2.1, RFC 8707 §2).

    OAuthRefusal
    ├── InvalidRequest         ├── UnauthorizedClient     ├── InvalidScope
    ├── InvalidClient          ├── UnsupportedGrantType   ├── InvalidTarget
    ├── UnsupportedTokenType   └── ClientKeysUnavailable

    InvalidRequest
    ├── MalformedForm          ├── MissingParameter       ├── SeveralCredentials
    ├── RepeatedParameter      ├── QueryNotAllowed        └── OtherClientId

    InvalidScope
    └── ScopeTooLong

`code` and `description` are public and constant per class, so that an answer tells nothing but
which rule was broken; `detail` goes to the log only.
"""

from __future__ import annotations

from authsvc.protocol.errors import Refusal


class OAuthRefusal(Refusal):
    """A request to an OAuth endpoint that is answered with no."""


class InvalidRequest(OAuthRefusal):
    """A parameter is missing, repeated or malformed, or two credentials came at once."""

    code = "invalid_request"
    description = (
        "The form is malformed: a parameter is missing, repeated or not allowed here, or the "
        "client is authenticated in more than one way."
    )


class MalformedForm(InvalidRequest):
    """The body is not a form in its one strict encoding."""

    description = (
        "The form is not well encoded: percent-encode everything but letters, digits and -._*, "
        "separate parameters with '&', and send no control characters."
    )


class RepeatedParameter(InvalidRequest):
    """A parameter came twice (RFC 6749 §3.2)."""

    description = "A parameter was sent more than once; only 'resource' may be repeated."


class MissingParameter(InvalidRequest):
    """A parameter that this endpoint needs is missing or empty."""

    description = "A required parameter is missing: 'grant_type' for a grant, 'token' elsewhere."


class QueryNotAllowed(InvalidRequest):
    """The address has a query, which proxies write to their logs (RFC 6749 §2.3.1)."""

    description = "Send every parameter in the body: this endpoint takes no query string."


class SeveralCredentials(InvalidRequest):
    """The client is authenticated in more than one way (RFC 6749 §2.3)."""

    description = "The request has more than one client credential. Send exactly one."


class OtherClientId(InvalidRequest):
    """The form and the credential name different clients."""

    description = "The parameter 'client_id' names another client than the credential does."


class InvalidClient(OAuthRefusal):
    """Client authentication failed, for one of several reasons that look the same."""

    code = "invalid_client"
    description = "Client authentication failed."


class UnauthorizedClient(OAuthRefusal):
    """The client may not use this grant."""

    code = "unauthorized_client"
    description = "The client may not use this grant type."


class UnsupportedGrantType(OAuthRefusal):
    """Not a grant of ours."""

    code = "unsupported_grant_type"
    description = "The only grant type here is client_credentials."


class UnsupportedTokenType(OAuthRefusal):
    """A token of a kind that is not revoked one by one."""

    code = "unsupported_token_type"
    description = (
        "An access token of a user is not revoked by itself. Revoke the refresh token: that ends "
        "the session with all its tokens."
    )


class ClientKeysUnavailable(OAuthRefusal):
    """The keys of a client cannot be fetched from where it publishes them."""

    code = "temporarily_unavailable"
    description = "The keys of the client cannot be fetched from its jwks_uri."


class InvalidScope(OAuthRefusal):
    """A scope that is malformed or that the client was not given."""

    code = "invalid_scope"
    description = "The scope is malformed, or the client may not have all of it."


class ScopeTooLong(InvalidScope):
    """More than a token may carry: the client was registered before there was a limit."""

    description = "The scopes are too long together for a token. Ask for fewer of them."


class InvalidTarget(OAuthRefusal):
    """A resource the client was not given, or none where there is a choice (RFC 8707 §2)."""

    code = "invalid_target"
    description = (
        "Name exactly one resource that the client may use; only a client that has a single one "
        "may leave it out."
    )
