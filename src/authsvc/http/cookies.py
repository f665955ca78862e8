"""
The cookies: names, attributes, and how they are read (RFC 6265bis).

On https every name has its prefix and every cookie is Secure; on loopback http both are
dropped, since browsers differ about them there. Only the configured spelling is read, so an
unprefixed twin that a sibling host has planted is never looked at.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta

from authsvc.protocol.errors import DuplicateCredentials
from authsvc.protocol.secret import Secret
from authsvc.settings import Settings

# The longest life that browsers give a cookie.
DEVICE_LIFE = timedelta(days=400)


@dataclass(frozen=True, slots=True)
class Cookie:
    """One of our cookies; `attributes` are the same when it is set and when it is cleared."""

    name: str
    attributes: str

    def set(self, value: str, *, max_age: timedelta | None) -> str:
        """
        A Set-Cookie value.

        Args:
            max_age: None makes a cookie that ends with the browser's session.
        """
        life = "" if max_age is None else f"; Max-Age={max(int(max_age.total_seconds()), 0)}"
        return f"{self.name}={value}{life}{self.attributes}"

    def clear(self) -> str:
        """A Set-Cookie value that removes it."""
        return f"{self.name}=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT{self.attributes}"


@dataclass(frozen=True, slots=True)
class Cookies:
    """The four cookies of one configuration."""

    refresh: Cookie
    access: Cookie
    csrf: Cookie
    device: Cookie
    _names: frozenset[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Remember which names to look for."""
        names = (self.refresh.name, self.access.name, self.csrf.name, self.device.name)
        object.__setattr__(self, "_names", frozenset(names))

    @classmethod
    def configured(cls, settings: Settings) -> Cookies:
        """The spelling that the settings ask for."""
        secure = "; Secure" if settings.secure_cookies else ""
        host = "__Host-" if secure else ""
        # Shared with sibling hosts, where they are asked for; the refresh cookie never is.
        shared, domain = (
            ("__Secure-" if secure else "", f"; Domain={settings.cookie_domain}")
            if settings.cookie_domain
            else (host, "")
        )
        return cls(
            refresh=Cookie(
                ("__Secure-" if secure else "") + "authsvc_refresh",
                f"; Path=/auth{secure}; HttpOnly; SameSite=Strict",
            ),
            access=Cookie(
                f"{shared}authsvc_access", f"; Path=/{domain}{secure}; HttpOnly; SameSite=Lax"
            ),
            # As the access cookie: a page that is opened by a link from elsewhere needs both, or
            # the forms in it would lack their value. It proves nothing without the other.
            csrf=Cookie(f"{shared}authsvc_csrf", f"; Path=/{domain}{secure}; SameSite=Lax"),
            device=Cookie(f"{host}authsvc_device", f"; Path=/{secure}; HttpOnly; SameSite=Lax"),
        )

    def read(self, headers: Iterable[str]) -> dict[str, Secret]:
        """
        Our cookies among a request's Cookie headers; empty ones count as absent.

        Raises:
            DuplicateCredentials: One of our names arrives twice, so one of the two is planted.
        """
        found: dict[str, Secret] = {}
        for header in headers:
            for pair in header.split(";"):
                name, _, value = pair.strip(" \t").partition("=")
                if name not in self._names:
                    continue
                if name in found:
                    raise DuplicateCredentials("cookie twice")
                found[name] = Secret(value)
        return {name: value for name, value in found.items() if value}
