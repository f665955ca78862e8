"""Which pages may read our answers (Fetch Standard §3.3, CORS)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from authsvc.http.request.csrf import Origins

Header = tuple[bytes, bytes]

# The same for everybody, so a cache may share them, and no credentials are involved.
PUBLIC_PATHS = frozenset(
    {
        "/.well-known/jwks.json",
        "/.well-known/oauth-authorization-server",
        "/.well-known/revocations",
    }
)

# To a gateway that passes the method of its request on, any 2xx says "let it pass": also the 204
# of a preflight, which nobody has authenticated.
ASKED_BY_GATEWAYS = frozenset({"/auth/verify"})

EXPOSED = b"Authsvc-Refresh, Retry-After, WWW-Authenticate, X-Request-ID"
VARY = (b"vary", b"Origin")
ANYBODY = (b"access-control-allow-origin", b"*")
PREFLIGHT: tuple[Header, ...] = (
    (b"access-control-allow-methods", b"GET, POST, PATCH, DELETE"),
    (b"access-control-max-age", b"600"),
)
OURS = b"Authorization, Content-Type, Idempotency-Key, X-CSRF-Token"
# What tracing and monitoring add to every call of a page: we ignore it, so it does no harm.
HEADER_NAME = re.compile(rb"[A-Za-z0-9-]{1,64}")
MAX_REQUESTED = 16
PUBLIC_PREFLIGHT: tuple[Header, ...] = (
    (b"access-control-allow-methods", b"GET"),
    (b"access-control-allow-headers", b"*"),
    (b"access-control-max-age", b"600"),
)


class Cors:
    """The CORS rules of one configuration."""

    def __init__(self, origins: Origins) -> None:
        self._origins = origins

    def headers(self, path: str, origin: bytes | None) -> tuple[Header, ...]:
        """The CORS headers of every answer to that origin, of any status."""
        if path in PUBLIC_PATHS:
            return (ANYBODY,)
        if origin is None or not self._allows(origin):
            return (VARY,)
        return (
            (b"access-control-allow-origin", origin),
            (b"access-control-allow-credentials", b"true"),
            (b"access-control-expose-headers", EXPOSED),
            VARY,
        )

    def preflight(
        self, path: str, origin: bytes, requested: Sequence[bytes] = ()
    ) -> tuple[Header, ...]:
        """
        What is added to a preflight's 204; a foreign origin gets nothing it could use.

        Args:
            requested: The values of Access-Control-Request-Headers.
        """
        if path in PUBLIC_PATHS:
            return PUBLIC_PREFLIGHT
        if not self._allows(origin):
            return ()
        names = [name.strip() for value in requested for name in value.split(b",")]
        harmless = [name for name in names if HEADER_NAME.fullmatch(name)]
        # More than that are not for us, so the answer is as if none had been asked for.
        extra = harmless if len(harmless) <= MAX_REQUESTED else []
        return (*PREFLIGHT, (b"access-control-allow-headers", b", ".join([OURS, *extra])))

    def _allows(self, origin: bytes) -> bool:
        return self._origins.may_read(origin.decode("latin-1"))
