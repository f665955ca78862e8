"""
OAuth clients: services that authenticate themselves (RFC 6749 §2), and what each may have.

Everything is an allow-list, and an empty one allows nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from urllib.parse import urlsplit
from uuid import UUID

from authsvc.protocol.errors import ValidationFailed
from authsvc.protocol.grants import FIRST_PARTY
from authsvc.protocol.host_names import has_sound_host, is_public_host
from authsvc.protocol.oauth_errors import InvalidScope, InvalidTarget, ScopeTooLong
from authsvc_client.tokens.loopback import is_loopback

CLIENT_ID = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?", re.ASCII)
SCOPE_TOKEN = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,128}", re.ASCII)  # RFC 6749 §3.3
AUDIENCE = re.compile(r"[\x21-\x7e]{1,255}", re.ASCII)
MAX_NAME = 100  # characters
MAX_SCOPES = 64
# A token carries all of them and is a header of every request: of 8 KiB, where most servers (and
# `authsvc_client.tokens`, which reads it) stop, this leaves room for the rest.
MAX_SCOPES_TOGETHER = 2048  # characters, with the blanks between
MAX_AUDIENCES = 32


class AuthMethod(StrEnum):
    """How a client proves who it is; exactly one per client (OIDC Core §9)."""

    CLIENT_SECRET_BASIC = "client_secret_basic"  # noqa: S105 - the name of a method
    CLIENT_SECRET_POST = "client_secret_post"  # noqa: S105 - as above
    PRIVATE_KEY_JWT = "private_key_jwt"

    @property
    def by_secret(self) -> bool:
        """Whether the client has a secret (else a key pair)."""
        return self is not AuthMethod.PRIVATE_KEY_JWT


class GrantType(StrEnum):
    """The grants of the token endpoint."""

    CLIENT_CREDENTIALS = "client_credentials"


class Listed(StrEnum):
    """The allow-lists of a client; the values name its members."""

    SCOPES = "scopes"
    RESOURCES = "resources"
    AUDIENCES = "audiences"


@dataclass(frozen=True, slots=True)
class ClientKeys:
    """
    The keys of a `private_key_jwt` client.

    Args:
        alg: The one algorithm of its assertions.
        jwks: The public keys as JSON (RFC 7517 §5).
        jwks_uri: Or where they are.
    """

    alg: str | None
    jwks: str | None = None
    jwks_uri: str | None = None


@dataclass(frozen=True, slots=True)
class Client:
    """
    A registered client; its secrets are elsewhere.

    Args:
        assertion_alg: The one algorithm of its assertions; None unless `private_key_jwt`.
        jwks: Its public keys as JSON (RFC 7517 §5).
        jwks_uri: Or where they are.
        scopes: What its tokens may say.
        resources: What its tokens may be for (RFC 8707): their `aud`.
        audiences: What it is itself: it may introspect tokens with one of these in `aud`.
    """

    client_id: str
    name: str
    auth_method: AuthMethod
    grant_types: tuple[str, ...]
    scopes: tuple[str, ...]
    resources: tuple[str, ...]
    audiences: tuple[str, ...]
    assertion_alg: str | None = None
    jwks: str | None = None
    jwks_uri: str | None = None
    disabled_at: datetime | None = None

    @property
    def lists(self) -> Mapping[Listed, tuple[str, ...]]:
        """Its allow-lists."""
        return {
            Listed.SCOPES: self.scopes,
            Listed.RESOURCES: self.resources,
            Listed.AUDIENCES: self.audiences,
        }

    def with_list(self, listed: Listed, values: tuple[str, ...]) -> Client:
        """The same client with another allow-list, and the grants that follow from it."""
        changed = replace(self, **{listed: values})  # type: ignore[arg-type]  # all of one type
        return replace(changed, grant_types=grants_of(changed.resources))


def grants_of(resources: Sequence[str]) -> tuple[str, ...]:
    """The grants of a client; without an audience there is none."""
    return (GrantType.CLIENT_CREDENTIALS,) if resources else ()


def granted_scope(client: Client, requested: str | None) -> str:
    """
    The scope of a token (RFC 6749 §3.3); without a wish, all that the client was given.

    Raises:
        InvalidScope: Malformed, or more than the client was given or a token may carry.
    """
    if requested is None:
        return _together(client.scopes)
    tokens = requested.split(" ")
    if not all(SCOPE_TOKEN.fullmatch(token) for token in tokens):
        raise InvalidScope("malformed")
    if not set(tokens) <= set(client.scopes):
        raise InvalidScope("not_allowed")
    return _together(sorted(set(tokens)))


def _together(scopes: Sequence[str]) -> str:
    """The claim; a row may be older than its limit, and nobody could read that token."""
    scope = " ".join(scopes)
    if len(scope) > MAX_SCOPES_TOGETHER:
        raise ScopeTooLong("too_long")
    return scope


def granted_audience(client: Client, resources: Sequence[str]) -> str:
    """
    The `aud` of a token (RFC 8707 §2), compared byte for byte with the client's allow-list.

    One token is for one resource: what one service is sent must be of no use at another.

    Raises:
        InvalidTarget: Not allowed, more than one, or none where there is a choice.
    """
    if not resources:
        if len(client.resources) != 1:
            raise InvalidTarget("none_named")
        return client.resources[0]
    if len(resources) > 1:
        raise InvalidTarget("several_named")
    if resources[0] not in client.resources:
        raise InvalidTarget("not_allowed")
    return resources[0]


def check_client(client: Client, *, loopback: bool = False) -> None:
    """
    Refuse a registration that could not work, or could be taken for something else.

    Args:
        loopback: As `check_jwks_uri`.

    Raises:
        ValidationFailed: Says which member, and what to use instead.
    """
    check_client_id(client.client_id)
    if not 1 <= len(client.name) <= MAX_NAME or not client.name.isprintable():
        raise invalid_member("name", f"Use 1 to {MAX_NAME} printable characters.")
    if len(client.scopes) > MAX_SCOPES or not all(map(SCOPE_TOKEN.fullmatch, client.scopes)):
        raise invalid_member(
            "scope",
            f"Use at most {MAX_SCOPES} scopes of visible ASCII characters without quotation "
            "marks and backslashes, each of 1 to 128.",
        )
    if len(" ".join(client.scopes)) > MAX_SCOPES_TOGETHER:
        raise invalid_member(
            "scope",
            f"Use at most {MAX_SCOPES_TOGETHER} characters for all scopes together: every access "
            "token carries them.",
        )
    for member, values in (("resource", client.resources), ("audience", client.audiences)):
        if len(values) > MAX_AUDIENCES or not all(map(AUDIENCE.fullmatch, values)):
            raise invalid_member(
                member,
                f"Use at most {MAX_AUDIENCES} names of 1 to 255 visible ASCII characters, such "
                "as https://orders.example.com.",
            )
        if not all(map(_sound_if_url, values)):
            raise invalid_member(
                member,
                "The host of a URL is a name such as orders.example.com: letters, digits and "
                "hyphens between dots, without wildcards and percent signs.",
            )
    if any("#" in resource for resource in client.resources):
        raise invalid_member("resource", "A resource has no fragment (RFC 8707 §2).")
    if client.jwks_uri is not None:
        check_jwks_uri(client.jwks_uri, loopback=loopback)
        _check_reachable(client.jwks_uri, loopback=loopback)


def check_client_id(client_id: str) -> None:
    """
    Refuse an id that is not one, or that could be a user's `sub`.

    A client's tokens carry its id as `sub`, where users have their UUID (RFC 9700 §4.15); the
    first-party name is taken by every login.

    Raises:
        ValidationFailed: It is.
    """
    if not CLIENT_ID.fullmatch(client_id):
        raise invalid_member(
            "client_id",
            "Use 1 to 64 characters of a-z 0-9 . _ and -, a letter or digit first and last.",
        )
    if client_id == FIRST_PARTY or _is_uuid(client_id):
        raise invalid_member(
            "client_id", f"Choose another: neither {FIRST_PARTY} nor a UUID, which users have."
        )


def check_jwks_uri(uri: str, *, loopback: bool = False) -> None:
    """
    Refuse what we would never fetch.

    Args:
        loopback: Whether this machine may be asked by http: development.

    Raises:
        ValidationFailed: It is not an https URL without credentials and fragment.
    """
    sound = AUDIENCE.fullmatch(uri) is not None and has_sound_host(uri) and "#" not in uri
    parts = urlsplit(uri if sound else "")
    local = loopback and parts.scheme == "http" and is_loopback(parts.hostname or "")
    if not (parts.scheme == "https" or local) or "@" in parts.netloc:
        raise invalid_member("jwks_uri", "Use an https URL without credentials and fragment.")


def _check_reachable(uri: str, *, loopback: bool) -> None:
    """Refuse a `jwks_uri` that would never be fetched (SSRF), while an operator reads this."""
    host = urlsplit(uri).hostname or ""
    if not is_public_host(host) and not (loopback and is_loopback(host)):
        raise invalid_member("jwks_uri", "Use a public host: private addresses are never asked.")


def _sound_if_url(name: str) -> bool:
    """Whether a name is no URL, or one with a sound host; services may have private addresses."""
    return not name.lower().startswith(("https:", "http:")) or has_sound_host(name)


def _is_uuid(text: str) -> bool:
    """Whether it can be read as a UUID; braces, dashes and `urn:uuid:` are optional."""
    try:
        UUID(text)
    except ValueError:
        return False
    return True


def invalid_member(member: str, message: str) -> ValidationFailed:
    """The refusal of a registration for one member."""
    return ValidationFailed.of("body", member, msg=message, type=member, detail=member)
