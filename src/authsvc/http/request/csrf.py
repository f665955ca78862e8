"""
CSRF protection: Fetch Metadata, Origin verification and a double-submit token (OWASP).

A browser says so in `Sec-Fetch-Site` and `Origin`, or at least in `Referer`, and no page can
forge them. A caller with none of the three is not a browser.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from authsvc.protocol.errors import CsrfFailed, OpaqueOrigin
from authsvc.settings import APP_ORIGIN, Settings, is_loopback


@dataclass(frozen=True, slots=True)
class Origins:
    """The origins whose pages may use a session's cookies."""

    own: frozenset[str]
    listed: frozenset[str]
    apps: frozenset[str]
    any_loopback_port: bool

    @classmethod
    def configured(cls, settings: Settings) -> Origins:
        """As the settings say."""
        apps = frozenset(filter(APP_ORIGIN.fullmatch, settings.cors_origins))
        return cls(
            own=settings.own_origins,
            listed=frozenset(settings.cors_origins) - apps,
            apps=apps,
            any_loopback_port=settings.any_loopback_origin,
        )

    def lists(self, origin: str) -> bool:
        """Whether the origin is one that was named (in development: any local port)."""
        return origin in self.listed or (self.any_loopback_port and _local_page(origin))

    def allows(self, origin: str) -> bool:
        """Whether the origin is our own or listed; `null` is neither."""
        return origin in self.own or self.lists(origin)

    def may_read(self, origin: str) -> bool:
        """Whether the origin may read our answers: also a listed app, which has no cookies."""
        return self.allows(origin) or origin in self.apps


def check_origin(headers: Mapping[str, str], origins: Origins) -> None:
    """
    Refuse a cookie-authenticated write from a foreign page.

    Raises:
        CsrfFailed: `detail` names the header that spoke against it.
    """
    origin = page_origin(headers)
    site = headers.get("sec-fetch-site")
    if headers.get("origin") == "null" and site == "same-origin":
        # A page of ours under `Referrer-Policy: no-referrer`: its browser does not say which
        # (Fetch §4.2, "append a request Origin header"), but that it is one.
        return
    if origin is not None and not origins.allows(origin):
        raise _foreign(origin)
    if site in {None, "same-origin", "none"}:
        return
    # `same-site` is a sibling host: only a listed one. `cross-site` carries no cookie of ours.
    if site == "same-site" and origin is not None and origins.lists(origin):
        return
    raise CsrfFailed("sec-fetch-site")


def check_login_origin(headers: Mapping[str, str], origins: Origins) -> None:
    """
    Refuse a login from a foreign page (login CSRF), while a listed one may be cross-site.

    Whether cookies can work from there is another question: see `is_cross_site`.
    """
    origin = page_origin(headers)
    if origin in origins.apps:
        return
    if headers.get("sec-fetch-site") == "cross-site" and origin is not None:
        if not origins.allows(origin):
            raise _foreign(origin)
        return
    check_origin(headers, origins)


def is_cross_site(headers: Mapping[str, str]) -> bool:
    """
    Whether the page is on another site than we are, so that its browser drops our cookies.

    Without Fetch Metadata only the common local mistake is told: `127.0.0.1` and `localhost`
    are two sites.
    """
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site == "cross-site"
    page = _host(page_origin(headers) or "")
    ours = _host(f"//{headers.get('host', '')}")
    return bool(page and ours) and is_loopback(page) and is_loopback(ours) and page != ours


def drops_cookies(headers: Mapping[str, str]) -> bool:
    """
    Whether the browser would not keep our cookies: another site's page, or a frame without
    access to its storage (Sec-Fetch-Storage-Access of the Storage Access API).
    """
    storage = headers.get("sec-fetch-storage-access")
    return storage in {"none", "inactive"} or is_cross_site(headers)


def page_origin(headers: Mapping[str, str]) -> str | None:
    """The origin of the page that sent the request: Origin, else the Referer's."""
    origin = headers.get("origin")
    if origin is not None:
        return origin
    referer = headers.get("referer")
    if referer is None:
        return None
    try:
        parts = urlsplit(referer)
    except ValueError:
        return "null"
    return f"{parts.scheme}://{parts.netloc}"


def _foreign(origin: str) -> CsrfFailed:
    return (OpaqueOrigin if origin == "null" else CsrfFailed)("origin")


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _local_page(origin: str) -> bool:
    scheme, _, authority = origin.partition("://")
    host, _, port = authority.partition(":")
    return (
        scheme == "http"
        and host in {"localhost", "127.0.0.1"}
        and (not port or (port.isascii() and port.isdigit() and len(port) <= 5))  # noqa: PLR2004 - a port
    )
