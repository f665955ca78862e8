"""
For the tests of an application that this library protects: claims without a token.

    app.dependency_overrides[current_caller] = lambda: claims(roles=("admin",))
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any
from uuid import UUID

from authsvc_client.tokens.claims import AccessTokenClaims


def claims(**changes: Any) -> AccessTokenClaims:  # noqa: ANN401 - fields by name, of several types
    """
    The claims of a user's access token that has just been issued, without roles or scope.

    Nothing is signed, so nothing outside of a test can be let in by them.

    Args:
        changes: Of the fields of `AccessTokenClaims`, such as `sub`, `roles` or `scope`;
            `sid=None` makes it a service's own token.

    Raises:
        TypeError: There is no such field.
    """
    now = datetime.now(timezone.utc).replace(microsecond=0)
    user = AccessTokenClaims(
        iss="https://auth.example.com",
        sub="00000000-0000-4000-8000-000000000001",
        aud=("authsvc",),
        exp=now + timedelta(minutes=15),
        iat=now,
        nbf=now,
        jti="test",
        client_id="authsvc",
        sid=UUID("00000000-0000-4000-8000-000000000002"),
        auth_time=now,
        amr=("pwd",),
        ver=1,
        kid="test",
    )
    return replace(user, **changes)
