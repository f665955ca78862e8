"""The audit log's vocabulary: events, reasons, caller; stable words and plain values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

USER_AGENT_LIMIT = 256  # characters; longer ones are cut, nothing depends on them


class AuditEvent(StrEnum):
    """Every transition that is audited, in the statement or transaction that makes it."""

    USER_REGISTERED = "user_registered"
    USER_CREATED = "user_created"
    USER_DISABLED = "user_disabled"
    USER_ENABLED = "user_enabled"
    USER_DELETED = "user_deleted"
    ROLES_CHANGED = "roles_changed"
    PASSWORD_CHANGED = "password_changed"  # noqa: S105 - the name of an event
    LOGIN_SUCCEEDED = "login_succeeded"
    LOGIN_FAILED = "login_failed"
    SESSION_REVOKED = "session_revoked"
    REFRESH_TOKEN_REUSED = "refresh_token_reused"  # noqa: S105 - the name of an event
    REFRESH_TOKEN_ABANDONED = "refresh_token_abandoned"  # noqa: S105 - the name of an event
    DATABASE_ROLLBACK_DETECTED = "database_rollback_detected"
    GENERATION_FAR_AHEAD = "generation_far_ahead"
    CLIENT_CREATED = "client_created"
    CLIENT_CHANGED = "client_changed"
    CLIENT_DISABLED = "client_disabled"
    CLIENT_ENABLED = "client_enabled"
    CLIENT_KEYS_CHANGED = "client_keys_changed"
    CLIENT_SECRET_ROTATED = "client_secret_rotated"  # noqa: S105 - the name of an event
    CLIENT_AUTHENTICATION_FAILED = "client_authentication_failed"
    CLIENT_TOKEN_REVOKED = "client_token_revoked"  # noqa: S105 - the name of an event


class RevokeReason(StrEnum):
    """Why a family ended."""

    LOGOUT = "logout"
    LOGOUT_OTHERS = "logout_others"
    LOGOUT_ALL = "logout_all"
    SESSION_ENDED = "session_ended"
    SUPERSEDED = "superseded"
    TOO_MANY = "too_many"
    REUSE = "reuse"
    PASSWORD_CHANGED = "password_changed"  # noqa: S105 - a reason, not a password
    USER_DISABLED = "user_disabled"
    USER_DELETED = "user_deleted"
    ADMINISTRATOR = "administrator"
    TOKEN_REVOKED = "token_revoked"  # noqa: S105 - a reason, not a token


@dataclass(frozen=True, slots=True)
class Caller:
    """
    Who sent a request, as far as the transport tells.

    Args:
        ip: The address of the client itself, trusted proxies removed.
        user_agent: Cut to 256 characters.
        request_id: The UUID that the answer and the log carry.
    """

    ip: str
    user_agent: str
    request_id: str

    def __post_init__(self) -> None:
        """Cut what a stranger chose the length of."""
        object.__setattr__(self, "user_agent", self.user_agent[:USER_AGENT_LIMIT])


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """
    Which records of the trail are asked for; None and empty ask for all.

    Args:
        session_id: The family's id, `sid` in access tokens.
        since: This moment and later.
        until: Before this moment.
    """

    user_id: UUID | None = None
    session_id: UUID | None = None
    events: tuple[AuditEvent, ...] = ()
    since: datetime | None = None
    until: datetime | None = None
