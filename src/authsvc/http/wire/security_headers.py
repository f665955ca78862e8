"""Security headers of every answer: HSTS, CSP, no framing (clickjacking) (OWASP ASVS 3.4)."""

from __future__ import annotations

from authsvc.http.wire.cors import PUBLIC_PATHS, Header
from authsvc.settings import Settings

HSTS = (b"strict-transport-security", b"max-age=31536000; includeSubDomains")  # a year

ALWAYS: tuple[Header, ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-opener-policy", b"same-origin"),
)
# Unless the endpoint has said otherwise.
DEFAULTS: tuple[Header, ...] = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)
# CORP concerns loads without CORS. Public documents may be loaded from anywhere.
SAME_ORIGIN = (b"cross-origin-resource-policy", b"same-origin")
CROSS_ORIGIN = (b"cross-origin-resource-policy", b"cross-origin")


class SecurityHeaders:
    """The security headers of one configuration."""

    def __init__(self, settings: Settings) -> None:
        # Only a service that is reached by TLS may demand it (RFC 6797 §7.2).
        always = (*ALWAYS, HSTS) if settings.issuer.startswith("https://") else ALWAYS
        self._own = (*always, SAME_ORIGIN)
        self._public = (*always, CROSS_ORIGIN)

    def complete(self, headers: list[Header], path: str) -> None:
        """Add to an answer's headers what is missing."""
        present = {name for name, _ in headers}
        headers.extend(self._public if path in PUBLIC_PATHS else self._own)
        headers.extend(header for header in DEFAULTS if header[0] not in present)
