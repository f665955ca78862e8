"""Towards browsers: issuer, cookies, proxies, CORS."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from authsvc.cli.diagnosis.finding import Finding, error, info, ok, warning
from authsvc.settings import Settings, is_loopback


def examine(settings: Settings) -> Iterator[Finding]:
    """What the settings mean to browsers and proxies."""
    yield _issuer(settings)
    yield _cookies(settings)
    yield from _proxies(settings)
    yield _cors(settings)
    if settings.cookie_domain:
        yield info(
            "WEB-005",
            f"every host below {settings.cookie_domain} gets the access and csrf cookies and can "
            "replace them",
            "nothing if all of them are yours; otherwise remove AUTHSVC_COOKIE_DOMAIN",
        )
    else:
        yield ok("WEB-005", "cookies stay on the issuer's host")
    yield _address(settings)


def _issuer(settings: Settings) -> Finding:
    if settings.issuer.startswith("https://"):
        return ok("WEB-001", settings.issuer)
    return info(
        "WEB-001",
        f"{settings.issuer} is not https: suitable only for this machine",
        "set AUTHSVC_ISSUER to the public https origin before others use it",
    )


def _cookies(settings: Settings) -> Finding:
    if settings.secure_cookies:
        return ok("WEB-002", "are Secure and carry their prefixes")
    if settings.issuer_is_loopback and not settings.issuer.startswith("https://"):
        return info("WEB-002", "are not Secure, since the issuer is plain http on this machine")
    return warning(
        "WEB-002",
        "are not Secure although the issuer is https",
        "remove AUTHSVC_COOKIE_SECURE",
    )


def _proxies(settings: Settings) -> Iterator[Finding]:
    wide = [str(network) for network in settings.trusted_proxies if network.prefixlen == 0]
    if wide:
        yield error(
            "WEB-003",
            f"{', '.join(wide)} lets any client claim any address and evade the throttle",
            "list in AUTHSVC_TRUSTED_PROXIES exactly the addresses that your proxies connect from",
        )
    elif settings.trusted_proxies:
        named = ", ".join(str(network) for network in settings.trusted_proxies)
        yield ok("WEB-003", f"X-Forwarded-For is trusted from {named}")
    elif settings.production:
        yield warning(
            "WEB-003",
            "none is trusted: behind a proxy, all clients share the throttle of one network",
            "set AUTHSVC_TRUSTED_PROXIES to the proxies' addresses; nothing if there are none",
        )
    else:
        yield ok("WEB-003", "none is trusted, none is needed here")


def _cors(settings: Settings) -> Finding:
    origins = settings.cors_origins
    local = [origin for origin in origins if is_loopback(urlsplit(origin).hostname or "")]
    plain = [origin for origin in origins if origin.startswith("http://") and origin not in local]
    if plain:
        return warning(
            "WEB-004",
            f"{', '.join(plain)} is plain http: anyone on the network path can act as its page",
            "serve that page by https and list its https origin",
        )
    if local and settings.production:
        return warning(
            "WEB-004",
            f"{', '.join(local)} can use production sessions from any developer's machine",
            "remove it from AUTHSVC_CORS_ORIGINS",
        )
    if settings.any_loopback_origin:
        return ok("WEB-004", "pages on any port of this machine may call, as in development")
    listed = f"{len(origins)} origins are listed" if origins else "no other origin may call"
    return ok("WEB-004", listed)


def _address(settings: Settings) -> Finding:
    if settings.host is None or is_loopback(settings.host):
        return ok("WEB-006", "only this machine reaches it")
    if settings.production:
        return ok("WEB-006", f"{settings.host}, port {settings.port}")
    return warning(
        "WEB-006",
        f"{settings.host}: other machines reach a service in development mode",
        "unset AUTHSVC_HOST, or set AUTHSVC_ENV=production",
    )
