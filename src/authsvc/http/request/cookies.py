"""
The cookies: names, attributes, and how they are read (RFC 6265bis).

On https every name has its prefix and every cookie is Secure; on loopback http both are
dropped, since browsers differ about them there. Only the configured spelling is read, so an
unprefixed twin that a sibling host has planted is never looked at, nor is a cookie of another
instance on this host: cookies know no ports (RFC 6265 §8.5), so each has a suffix of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta

from authsvc.protocol.errors import DuplicateCredentials
from authsvc.settings import Settings
from authsvc_client.tokens.secret import Secret

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

    def clear_twins(self, host: str) -> list[str]:
        """
        Set-Cookie values that remove cookies of this name from other domains than its own.

        A sibling host can set one for every domain that the two hosts share (RFC 6265bis
        §8.6). It cannot where the name begins with `__Host-`.

        Args:
            host: The host that was asked, as browsers know it.
        """
        if self.name.startswith("__Host-"):
            return []
        domains = {f"; Domain={domain}" for domain in _domains(host)}
        own = re.search("; Domain=[^;]+", self.attributes)
        bare = self.attributes
        if own:
            bare = bare.replace(own[0], "")
            domains = {*domains, ""} - {own[0]}
        return [Cookie(self.name, bare + domain).clear() for domain in sorted(domains)]


@dataclass(frozen=True, slots=True)
class PresentedCookies:
    """Our cookies as a request brought them; several of one name are told apart by nothing."""

    _values: dict[str, tuple[Secret, ...]]

    def every(self, cookie: Cookie) -> tuple[Secret, ...]:
        """All values of that name, in the order of the header; empty ones count as absent."""
        return tuple(value for value in self._values.get(cookie.name, ()) if value)

    def only(self, cookie: Cookie) -> Secret | None:
        """
        The one value of that name, where it is the credential; an empty one counts as absent.

        Raises:
            DuplicateCredentials: The name arrives twice, so one of the two is planted.
        """
        values = self._values.get(cookie.name, ())
        if len(values) > 1:
            raise DuplicateCredentials("cookie twice")
        return next(iter(self.every(cookie)), None)


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
        suffix = f"_{settings.cookie_suffix}" if settings.cookie_suffix else ""
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
                ("__Secure-" if secure else "") + f"authsvc_refresh{suffix}",
                f"; Path=/auth{secure}; HttpOnly; SameSite=Strict",
            ),
            access=Cookie(
                f"{shared}authsvc_access{suffix}",
                f"; Path=/{domain}{secure}; HttpOnly; SameSite=Lax",
            ),
            # As the access cookie: a page that is opened by a link from elsewhere needs both, or
            # the forms in it would lack their value. It proves nothing without the other.
            csrf=Cookie(f"{shared}authsvc_csrf{suffix}", f"; Path=/{domain}{secure}; SameSite=Lax"),
            device=Cookie(
                f"{host}authsvc_device{suffix}", f"; Path=/{secure}; HttpOnly; SameSite=Lax"
            ),
        )

    @property
    def session(self) -> tuple[Cookie, Cookie, Cookie]:
        """The cookies that end with the session; the device cookie survives it."""
        return (self.refresh, self.access, self.csrf)

    def clear_session(self, host: str) -> list[str]:
        """Set-Cookie values that remove the session's cookies, and their twins."""
        return self.clear_twins(host) + [cookie.clear() for cookie in self.session]

    def clear_twins(self, host: str) -> list[str]:
        """Set-Cookie values that remove what a sibling host may have planted."""
        return [line for cookie in self.session for line in cookie.clear_twins(host)]

    def read(self, headers: Iterable[str]) -> PresentedCookies:
        """Our cookies among a request's Cookie headers."""
        found: dict[str, tuple[Secret, ...]] = {}
        for header in headers:
            for pair in header.split(";"):
                name, _, value = pair.strip(" \t").partition("=")
                if name in self._names:
                    found[name] = (*found.get(name, ()), Secret(value))
        return PresentedCookies(found)


def _domains(host: str) -> list[str]:
    """The host and its parents of two labels or more; none for an address or a single label."""
    labels = host.lower().removesuffix(".").split(".")
    if ":" in host or labels[-1].isdigit():
        return []
    return [".".join(labels[start:]) for start in range(len(labels) - 1)]
