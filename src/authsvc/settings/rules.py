"""What settings must be together; one line for each problem, with its name and the fix."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from authsvc.settings.errors import PREFIX
from authsvc.settings.model import Fields
from authsvc.settings.values import require_origin

# OWASP Password Storage: pairs of (memory KiB, passes) that are equally strong with one lane.
OWASP_ARGON2 = ((47104, 1), (19456, 2), (12288, 3), (9216, 4), (7168, 5))

# The least prefix length of a trusted network by IP version. 10.0.0.0/8 is the largest private
# one; anything wider holds strangers, and 0.0.0.0/1 with 128.0.0.0/1 is the whole world.
MIN_PREFIX_LENGTH = {4: 8, 6: 16}
MIN_METRICS_TOKEN = 16  # characters


def general_problems(settings: Fields) -> Iterator[str]:
    """What is wrong anywhere."""
    try:
        require_origin(settings.issuer, example="https://auth.example.com")
    except ValueError as exc:
        yield f"{PREFIX}ISSUER: {exc}"
        return
    if not settings.issuer.startswith("https://") and not settings.issuer_is_loopback:
        yield (
            f"{PREFIX}ISSUER: is not https, and its host is not this machine; write "
            f"https://{urlsplit(settings.issuer).netloc}"
        )
    if settings.refresh_idle_ttl > settings.refresh_absolute_ttl:
        yield (
            f"{PREFIX}REFRESH_IDLE_TTL: is longer than {PREFIX}REFRESH_ABSOLUTE_TTL; make "
            "it shorter or equal"
        )
    if settings.cookie_domain and not (
        settings.issuer_host == settings.cookie_domain
        or settings.issuer_host.endswith(f".{settings.cookie_domain}")
    ):
        yield (
            f"{PREFIX}COOKIE_DOMAIN: the issuer's host {settings.issuer_host} does not lie in "
            "it, so browsers would drop the cookies; name a parent domain of the issuer"
        )
    if settings.assertion_upstreams and not settings.trusted_proxies:
        yield (
            f"{PREFIX}ASSERTION_UPSTREAMS: assertions go to trusted proxies only, and there "
            f"are none; name your gateway's network in {PREFIX}TRUSTED_PROXIES"
        )
    if settings.argon2_memory_kib < 8 * settings.argon2_parallelism:
        yield (
            f"{PREFIX}ARGON2_MEMORY_KIB: argon2 needs at least 8 KiB per lane; write "
            f"{8 * settings.argon2_parallelism} or more"
        )
    if settings.hash_memory_budget_mib * 1024 < settings.argon2_memory_kib:
        yield (
            f"{PREFIX}HASH_MEMORY_BUDGET_MIB: is less than one hash needs; write "
            f"{-(-settings.argon2_memory_kib // 1024)} or more"
        )


def production_problems(settings: Fields) -> Iterator[str]:
    """What production refuses."""
    if settings.database_url is None:
        yield (
            f"{PREFIX}DATABASE_URL: is not set, and production refuses the embedded "
            "database; write postgresql://user:password@host/name"
        )
    if not settings.issuer.startswith("https://"):
        yield (
            f"{PREFIX}ISSUER: is not https, which production requires; write the public "
            "origin, such as https://auth.example.com"
        )
    if settings.cookie_secure == "off":
        yield f"{PREFIX}COOKIE_SECURE: off is refused in production; remove it (auto is on)"
    if any(each.prefixlen < MIN_PREFIX_LENGTH[each.version] for each in settings.trusted_proxies):
        yield (
            f"{PREFIX}TRUSTED_PROXIES: holds a network wider than /8 (IPv6: /16), so that "
            "any host in it could claim any address; write the networks of your proxies, such as "
            "10.0.0.0/8"
        )
    if any(origin.startswith("http://") for origin in settings.cors_origins):
        yield (
            f"{PREFIX}CORS_ORIGINS: holds an origin that is not https, which production "
            "demands; write https://app.example.com"
        )
    token = settings.metrics_token
    if token is not None and len(token.get_secret_value()) < MIN_METRICS_TOKEN:
        yield (
            f"{PREFIX}METRICS_TOKEN: is shorter than {MIN_METRICS_TOKEN} characters; write what "
            "`openssl rand -hex 32` prints"
        )
    if settings.demo:
        yield f"{PREFIX}DEMO: on is refused in production; remove it"
    if not settings.throttle:
        yield f"{PREFIX}THROTTLE: off is refused in production; remove it"
    if not any(
        settings.argon2_memory_kib >= memory and settings.argon2_time >= passes
        for memory, passes in OWASP_ARGON2
    ):
        yield (
            f"{PREFIX}ARGON2_MEMORY_KIB: the argon2 parameters are below OWASP's minimum; "
            "remove the ARGON2 settings, or write at least 19456 with time 2"
        )
