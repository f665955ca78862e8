"""What one setting may be, as text from the environment; errors say what to write instead."""

from __future__ import annotations

import os
import re
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator
from pydantic_settings import NoDecode

from authsvc_client.tokens import loopback

YEAR = 31_536_000
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")


def _seconds(value: object) -> object:
    if isinstance(value, timedelta):
        return value
    try:
        return timedelta(seconds=int(str(value)))
    except (ValueError, OverflowError):
        raise ValueError("is not a whole number of seconds; write one, such as 900") from None


def _commas(value: object) -> object:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def _networks(value: object) -> object:
    parts = _commas(value)
    try:
        return tuple(ip_network(part) for part in parts)  # type: ignore[attr-defined]  # text or networks
    except (TypeError, ValueError):
        raise ValueError(
            "holds something that is not a network; write CIDRs such as 10.0.0.0/8, comma separated"
        ) from None


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


Lower = BeforeValidator(_lower)
Seconds = Annotated[timedelta, BeforeValidator(_seconds)]
CommaSeparated = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_commas)]
Networks = Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode, BeforeValidator(_networks)]


def default_data_dir() -> Path:
    """For root the system's place, else the user's (XDG Base Directory)."""
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        return Path("/var/lib/authsvc")
    base = os.environ.get("XDG_DATA_HOME")
    try:
        return Path(base or Path.home() / ".local" / "share") / "authsvc"
    except RuntimeError:
        # No HOME and no passwd entry, as of a user that a platform has made up. With a database
        # of one's own nothing is kept there; without, it cannot be written, and `serve` says so.
        return Path("/var/lib/authsvc")


def usable_cores() -> int:
    """The cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def absolute(value: Path) -> Path:
    """From the root, so that a message says which directory a relative name has meant."""
    return value.absolute()


def host(value: str | None) -> str | None:
    """An address to listen on; None for loopback."""
    if value is None or value == "localhost":
        return None
    try:
        ip_address(value)
    except ValueError:
        raise ValueError(
            "is not an IP address; write 0.0.0.0 for every interface, or unset it for loopback"
        ) from None
    return value


# Web views of apps and pages of browser extensions: exact, and for `native` delivery only.
APP_ORIGIN = re.compile(r"(?:capacitor|chrome-extension|ionic|tauri)://[a-z0-9][a-z0-9.-]*")


def origins(value: tuple[str, ...]) -> tuple[str, ...]:
    """Exact origins (RFC 6454)."""
    for origin in value:
        if origin == "*":
            raise ValueError("* would let every site use the cookies; list exact origins")
        if not APP_ORIGIN.fullmatch(origin):
            require_origin(origin, example="https://app.example.com")
    return value


def cookie_domain(value: str | None) -> str | None:
    """A domain, as `Domain=` wants it."""
    if value is not None and not re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]*[a-z][a-z0-9-]*)+", value):
        raise ValueError(
            "is not a domain name; write one such as example.com, without a dot in front"
        )
    return value


def cookie_suffix(value: str | None) -> str | None:
    """What tells the cookies of two instances on one host apart; browsers limit a name's length."""
    if value is not None and not re.fullmatch(r"[a-z0-9-]{1,16}", value):
        raise ValueError(
            "is not 1 to 16 lower-case letters, digits and hyphens; write one such as staging"
        )
    return value


def host_names(value: tuple[str, ...]) -> tuple[str, ...]:
    """Hosts as a Host header names them, in lower case."""
    for host in value:
        if not re.fullmatch(r"[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\]", host):
            raise ValueError(
                "holds something that is not a host name; write names without "
                "scheme, port or wildcard, such as auth.example.com"
            )
    return tuple(host.lower() for host in value)


def is_loopback(host: str) -> bool:
    """Whether a Host-header host names this machine (RFC 6761 §6.3 for `localhost`)."""
    bare = host.strip("[]")
    return bare.endswith(".localhost") or loopback.is_loopback(bare)


def between(low: int, high: int) -> AfterValidator:
    """Seconds within these, both included."""

    def check(value: timedelta) -> timedelta:
        if not timedelta(seconds=low) <= value <= timedelta(seconds=high):
            raise ValueError(f"is out of range; write {low} to {high} seconds")
        return value

    return AfterValidator(check)


def require_origin(text: str, *, example: str) -> None:
    """RFC 6454 §6.1: scheme, host and port, in the one spelling that browsers send."""
    wrong = ValueError(
        f"is not an origin in its plain form; write scheme, lower-case host and, unless it is "
        f"the scheme's own, a port, without a path or a slash at the end, such as {example}"
    )
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise wrong from None
    host = parts.hostname or ""
    netloc = f"[{host}]" if ":" in host else host
    if port is not None:
        netloc += f":{port}"
    default = {"http": 80, "https": 443}.get(parts.scheme)
    if (
        not host
        or default is None
        or port == default
        or text != f"{parts.scheme}://{netloc}"
        or not re.fullmatch(r"[a-z0-9.-]+|[0-9a-f:.]+", host)
    ):
        raise wrong
