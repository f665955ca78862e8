"""Authorization by a valid token: roles (RFC 9068 §2.2.3.1), scope (RFC 6749 §3.3), subject."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial

from authsvc_client.tokens.claims import ROLE_NAME, AccessTokenClaims
from authsvc_client.verifier.errors import InsufficientScope

SCOPE_TOKEN = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+", re.ASCII)
Check = Callable[[AccessTokenClaims], None]


def check_roles(claims: AccessTokenClaims, roles: tuple[str, ...]) -> None:
    """
    Demand **any** of the roles.

    Raises:
        InsufficientScope: The token has none of them.
    """
    if not set(roles) & set(claims.roles):
        raise InsufficientScope("none of the roles")


def check_scope(claims: AccessTokenClaims, scope: tuple[str, ...]) -> None:
    """
    Demand **all** of the scope tokens.

    Raises:
        InsufficientScope: One is missing; the challenge names what is needed.
    """
    if not set(scope) <= set(claims.scope.split(" ")):
        raise InsufficientScope("scope is missing", scope=scope)


def check_user(claims: AccessTokenClaims) -> None:
    """
    Demand that the token stands for a person's login rather than for a service.

    Raises:
        InsufficientScope: It has no session (`sid`).
    """
    if claims.sid is None:
        raise InsufficientScope("not a user's token")


def roles_check(roles: Sequence[str]) -> Check:
    """
    `check_roles` with these.

    Raises:
        ValueError: There is none, or one that no token can have: a programming error.
    """
    if not roles or not all(ROLE_NAME.fullmatch(role) for role in roles):
        raise ValueError("name at least one role, of the characters A-Z a-z 0-9 _ . : and -")
    return partial(check_roles, roles=tuple(roles))


def scope_check(scope: Sequence[str]) -> Check:
    """
    `check_scope` with these scope tokens.

    Raises:
        ValueError: There is none, or one that no token can have: a programming error.
    """
    if not scope or not all(SCOPE_TOKEN.fullmatch(token) for token in scope):
        raise ValueError("name at least one scope, each as an argument of its own, without spaces")
    return partial(check_scope, scope=tuple(scope))
