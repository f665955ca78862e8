"""Role names: what may stand in the `roles` claim of an access token (RFC 9068 §2.2.3.1)."""

from __future__ import annotations

from collections.abc import Iterable

from authsvc.protocol.errors import ValidationFailed
from authsvc_client.tokens.claims import ROLE_NAME

MAX_ROLES = 32
# Every access token carries all of them, and a cookie is at most 4096 bytes, a proxy's buffer for
# the head of an answer often not more.
MAX_TOGETHER = 1024  # characters, all of them ASCII


def check_roles(roles: Iterable[str]) -> None:
    """
    Refuse names that gateways could not put into a header or that no policy could match.

    Raises:
        ValidationFailed: A name is not of the form, or there are too many, or too long ones.
    """
    names = set(roles)
    if len(names) > MAX_ROLES:
        raise _invalid("too many roles", f"Use at most {MAX_ROLES} roles.", "roles_too_many")
    if sum(map(len, names)) > MAX_TOGETHER:
        raise _invalid(
            "roles too long",
            f"Use at most {MAX_TOGETHER} characters for all roles together: every access token "
            "and cookie carries them.",
            "roles_too_long",
        )
    if not all(ROLE_NAME.fullmatch(name) for name in names):
        raise _invalid(
            "role name", "A role has 1 to 64 characters of A-Z a-z 0-9 _ . : and -.", "role_name"
        )


def _invalid(detail: str, msg: str, kind: str) -> ValidationFailed:
    return ValidationFailed.of("body", "roles", msg=msg, type=kind, detail=detail)
