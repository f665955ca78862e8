"""Settings, frozen; the only reader of the environment (CONTRACT §2)."""

from __future__ import annotations

import os
import re
import sys
from datetime import timedelta
from difflib import get_close_matches
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import (
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

PREFIX = "AUTHSVC_"
YEAR = 31_536_000
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")

# OWASP Password Storage: pairs of (memory KiB, passes) that are equally strong with one lane.
OWASP_ARGON2 = ((47104, 1), (19456, 2), (12288, 3), (9216, 4), (7168, 5))


# What may stand behind the `?` of a database URL; the driver would stumble over others.
URL_PARAMETERS = frozenset(
    {
        "host",
        "passfile",
        "port",
        "prepared_statement_cache_size",
        "ssl",
        "sslmode",
        "target_session_attrs",
    }
)


class SettingsError(Exception):
    """One line per bad setting: its name, what is wrong, what to write instead."""


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


Seconds = Annotated[timedelta, BeforeValidator(_seconds)]
CommaSeparated = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_commas)]
Networks = Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode, BeforeValidator(_networks)]


def _default_data_dir() -> Path:
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        return Path("/var/lib/authsvc")
    base = os.environ.get("XDG_DATA_HOME")
    return Path(base) / "authsvc" if base else Path.home() / ".local" / "share" / "authsvc"


def usable_cores() -> int:
    """The cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _BareDatabaseUrl(PydanticBaseSettingsSource):
    """
    DATABASE_URL without the prefix.

    A name that a shell happens to hold for another program must not outrank the one that was
    written for us, wherever that stands.
    """

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[object, str, bool]:
        """Satisfy the base class; `__call__` below is all that is used."""
        del field
        return None, field_name, False

    def __call__(self) -> dict[str, object]:
        url = os.environ.get("DATABASE_URL") or dotenv_values(".env").get("DATABASE_URL")
        return {"database_url": url} if url else {}


class Settings(BaseSettings):
    """Everything that can be configured. Build it with `Settings.load()`."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=".env",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        populate_by_name=True,
        hide_input_in_errors=True,
        validate_default=True,
    )

    env: Annotated[Literal["development", "production"], BeforeValidator(_lower)] = "development"
    database_url: SecretStr | None = None
    data_dir: Path = Field(default_factory=_default_data_dir)
    keys_dir: Path = Path("keys")
    keys_passphrase: SecretStr | None = None

    host: str | None = None
    port: int = Field(default=8000, ge=1, le=65535)
    workers: int = Field(default_factory=usable_cores, ge=1, le=256)

    issuer: str = ""
    audience: str = Field(default="authsvc", min_length=1, max_length=255)
    access_ttl: Seconds = timedelta(seconds=900)
    refresh_idle_ttl: Seconds = timedelta(seconds=604_800)
    refresh_absolute_ttl: Seconds = timedelta(seconds=2_592_000)
    refresh_retry_window: Seconds = timedelta(seconds=10)

    cors_origins: CommaSeparated = ()
    cookie_domain: str | None = None
    cookie_secure: Annotated[Literal["auto", "on", "off"], BeforeValidator(_lower)] = "auto"
    allowed_hosts: CommaSeparated = ()
    trusted_proxies: Networks = ()
    assertion_upstreams: CommaSeparated = ()

    registration: Annotated[Literal["open", "closed"], BeforeValidator(_lower)] = "open"
    registrations_per_minute: int = Field(default=30, ge=1, le=100_000)
    argon2_memory_kib: int = Field(default=19_456, ge=8, le=4_194_304)
    argon2_time: int = Field(default=2, ge=1, le=100)
    argon2_parallelism: int = Field(default=1, ge=1, le=16)
    hash_memory_budget_mib: int = Field(default=256, ge=1, le=1_048_576)
    hash_queue_seconds: float = Field(default=2.0, ge=0.1, le=30.0)
    throttle: bool = True
    audit_retention: Seconds = timedelta(days=365)

    docs: bool = True
    demo: bool | None = None
    metrics_token: SecretStr | None = None
    log_format: Annotated[Literal["console", "json"], BeforeValidator(_lower)] = Field(
        default_factory=lambda: "console" if sys.stderr.isatty() else "json"
    )
    log_level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower)] = (
        "info"
    )
    commit: str = "unknown"

    @classmethod
    def load(cls, **overrides: object) -> Self:
        """
        Read the environment and `.env`.

        Args:
            overrides: Fields by name that outrank both, for tests and command-line options.

        Raises:
            SettingsError: A value is bad; the text has one line for each.
        """
        try:
            return cls(**overrides)  # type: ignore[arg-type]  # validated by pydantic
        except ValidationError as exc:
            raise SettingsError("\n".join(_explain(exc))) from None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, environment, `.env`; last and least a bare DATABASE_URL from either."""
        del file_secret_settings
        return init_settings, env_settings, dotenv_settings, _BareDatabaseUrl(settings_cls)

    @property
    def serves_demo(self) -> bool:
        """Whether there is a page at `/demo`: in development, unless it is off."""
        return not self.production and self.demo is not False

    @property
    def production(self) -> bool:
        """Whether the strict rules of production apply."""
        return self.env == "production"

    @property
    def issuer_host(self) -> str:
        """The issuer's host as it stands in a Host header, without the port."""
        host = urlsplit(self.issuer).hostname or ""
        return f"[{host}]" if ":" in host else host

    @property
    def issuer_is_loopback(self) -> bool:
        """Whether browsers reach authsvc only on this very machine."""
        return is_loopback(self.issuer_host)

    @property
    def secure_cookies(self) -> bool:
        """Whether cookies carry Secure and their name prefixes."""
        if self.cookie_secure == "auto":
            return self.issuer.startswith("https://") or not self.issuer_is_loopback
        return self.cookie_secure == "on"

    @property
    def own_origins(self) -> frozenset[str]:
        """The issuer's origin; on loopback in all its spellings."""
        if not self.issuer_is_loopback:
            return frozenset({self.issuer})
        parts = urlsplit(self.issuer)
        port = f":{parts.port}" if parts.port else ""
        twins = (f"{parts.scheme}://{name}{port}" for name in LOOPBACK_NAMES)
        return frozenset({self.issuer, *twins})

    @property
    def database_host(self) -> str:
        """Where the configured database is, without its credentials."""
        url = make_url(self.database_url.get_secret_value() if self.database_url else "")
        return url.host or str(url.query.get("host", "the default socket"))

    @property
    def any_loopback_origin(self) -> bool:
        """Whether pages on any port of this machine may call us: development only."""
        return not self.production and self.issuer_is_loopback

    @field_validator("database_url")
    @classmethod
    def _database_url(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return None
        try:
            url = make_url(value.get_secret_value())
        except ArgumentError:
            raise ValueError(
                "is not a URL; write postgresql://user:password@host:5432/name"
            ) from None
        if url.get_backend_name() not in {"postgresql", "postgres"}:
            raise ValueError("is not a PostgreSQL URL; write postgresql://user@host/name")
        unknown = sorted(set(url.query) - URL_PARAMETERS)
        if unknown:
            raise ValueError(
                f"has parameters that mean nothing here: {', '.join(unknown)}; known are "
                f"{', '.join(sorted(URL_PARAMETERS))}. Certificates are named in the environment: "
                "PGSSLROOTCERT, PGSSLCERT, PGSSLKEY"
            )
        return value

    @field_validator("host")
    @classmethod
    def _host(cls, value: str | None) -> str | None:
        if value is None or value == "localhost":
            return None
        try:
            ip_address(value)
        except ValueError:
            raise ValueError(
                "is not an IP address; write 0.0.0.0 for every interface, or leave it out "
                "for loopback"
            ) from None
        return value

    @field_validator("access_ttl", "refresh_idle_ttl", "refresh_absolute_ttl")
    @classmethod
    def _ttl(cls, value: timedelta, info: object) -> timedelta:
        name = getattr(info, "field_name", "")
        low, high = (60, 3600) if name == "access_ttl" else (300, YEAR)
        return _between(value, low, high)

    @field_validator("refresh_retry_window")
    @classmethod
    def _window(cls, value: timedelta) -> timedelta:
        return _between(value, 0, 60)

    @field_validator("audit_retention")
    @classmethod
    def _retention(cls, value: timedelta) -> timedelta:
        return _between(value, 86_400, 10 * YEAR)

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            if origin == "*":
                raise ValueError("* would let every site use the cookies; list exact origins")
            _require_origin(origin, example="https://app.example.com")
        return value

    @field_validator("cookie_domain")
    @classmethod
    def _cookie_domain(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(
            r"[a-z0-9-]+(\.[a-z0-9-]*[a-z][a-z0-9-]*)+", value
        ):
            raise ValueError(
                "is not a domain name; write one such as example.com, without a dot in front"
            )
        return value

    @field_validator("allowed_hosts")
    @classmethod
    def _allowed_hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for host in value:
            if not re.fullmatch(r"[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\]", host):
                raise ValueError(
                    "holds something that is not a host name; write names without "
                    "scheme, port or wildcard, such as auth.example.com"
                )
        return tuple(host.lower() for host in value)

    @field_validator("assertion_upstreams")
    @classmethod
    def _assertion_upstreams(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,63}", name):
                raise ValueError(
                    "holds something that is no name; write names of a-z 0-9 . _ and -, at most "
                    "64 characters long, such as orders"
                )
        return value

    @model_validator(mode="after")
    def _together(self) -> Self:
        if not self.issuer:
            object.__setattr__(self, "issuer", f"http://localhost:{self.port}")
        problems = [*self._general_problems()]
        if self.production:
            problems += self._production_problems()
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def _general_problems(self) -> list[str]:
        problems = []
        try:
            _require_origin(self.issuer, example="https://auth.example.com")
        except ValueError as exc:
            return [f"{PREFIX}ISSUER: {exc}"]
        if not self.issuer.startswith("https://") and not self.issuer_is_loopback:
            problems.append(
                f"{PREFIX}ISSUER: is not https, and its host is not this machine; write "
                f"https://{urlsplit(self.issuer).netloc}"
            )
        if self.refresh_idle_ttl > self.refresh_absolute_ttl:
            problems.append(
                f"{PREFIX}REFRESH_IDLE_TTL: is longer than {PREFIX}REFRESH_ABSOLUTE_TTL; make "
                "it shorter or equal"
            )
        if self.cookie_domain and not (
            self.issuer_host == self.cookie_domain
            or self.issuer_host.endswith(f".{self.cookie_domain}")
        ):
            problems.append(
                f"{PREFIX}COOKIE_DOMAIN: the issuer's host {self.issuer_host} does not lie in "
                "it, so browsers would drop the cookies; name a parent domain of the issuer"
            )
        if self.assertion_upstreams and not self.trusted_proxies:
            problems.append(
                f"{PREFIX}ASSERTION_UPSTREAMS: assertions go to trusted proxies only, and there "
                f"are none; name your gateway's network in {PREFIX}TRUSTED_PROXIES"
            )
        if self.argon2_memory_kib < 8 * self.argon2_parallelism:
            problems.append(
                f"{PREFIX}ARGON2_MEMORY_KIB: argon2 needs at least 8 KiB per lane; write "
                f"{8 * self.argon2_parallelism} or more"
            )
        if self.hash_memory_budget_mib * 1024 < self.argon2_memory_kib:
            problems.append(
                f"{PREFIX}HASH_MEMORY_BUDGET_MIB: is less than one hash needs; write "
                f"{-(-self.argon2_memory_kib // 1024)} or more"
            )
        return problems

    def _production_problems(self) -> list[str]:
        problems = []
        if self.database_url is None:
            problems.append(
                f"{PREFIX}DATABASE_URL: is not set, and production refuses the embedded "
                "database; write postgresql://user:password@host/name"
            )
        if not self.issuer.startswith("https://"):
            problems.append(
                f"{PREFIX}ISSUER: is not https, which production demands; write the public "
                "origin, such as https://auth.example.com"
            )
        if self.cookie_secure == "off":
            problems.append(
                f"{PREFIX}COOKIE_SECURE: off is refused in production; remove it (auto is on)"
            )
        if self.demo:
            problems.append(f"{PREFIX}DEMO: on is refused in production; remove it")
        if not self.throttle:
            problems.append(f"{PREFIX}THROTTLE: off is refused in production; remove it")
        if not any(
            self.argon2_memory_kib >= memory and self.argon2_time >= passes
            for memory, passes in OWASP_ARGON2
        ):
            problems.append(
                f"{PREFIX}ARGON2_MEMORY_KIB: the argon2 parameters are below OWASP's minimum; "
                "remove the ARGON2 settings, or write at least 19456 with time 2"
            )
        return problems


def unknown_names() -> dict[str, str | None]:
    """Names with our prefix that mean nothing, each with the name that was probably meant."""
    known = [name.upper() for name in Settings.model_fields]
    present = sorted({*os.environ, *dotenv_values(".env")})
    strays = {name: name.upper().removeprefix(PREFIX) for name in present if _is_stray(name)}
    meant = {name: get_close_matches(bare, known, n=1) for name, bare in strays.items()}
    return {name: PREFIX + close[0] if close else None for name, close in meant.items()}


def _is_stray(name: str) -> bool:
    bare = name.upper().removeprefix(PREFIX)
    return bare != name.upper() and bare.lower() not in Settings.model_fields


def is_loopback(host: str) -> bool:
    """Whether a Host-header host names this machine (RFC 6761 §6.3 for `localhost`)."""
    bare = host.strip("[]")
    if bare == "localhost" or bare.endswith(".localhost"):
        return True
    try:
        return ip_address(bare).is_loopback
    except ValueError:
        return False


def _between(value: timedelta, low: int, high: int) -> timedelta:
    if not timedelta(seconds=low) <= value <= timedelta(seconds=high):
        raise ValueError(f"is out of range; write {low} to {high} seconds")
    return value


def _require_origin(text: str, *, example: str) -> None:
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


def _explain(exc: ValidationError) -> list[str]:
    """One line per bad value; values are never repeated, since some are secrets."""
    lines = []
    for error in exc.errors(include_input=False, include_url=False):
        message = error["msg"].removeprefix("Value error, ")
        if not error["loc"]:
            lines += message.split("\n")
            continue
        name = str(error["loc"][0])
        if not name.upper().startswith(PREFIX) and name != "DATABASE_URL":
            name = PREFIX + name.upper()
        lines.append(f"{name}: {message}")
    return lines
