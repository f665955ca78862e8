"""The fields of the settings: names, types and defaults, and what follows from them."""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from authsvc.protocol.throttle import Limits, per_minute
from authsvc.settings import sources, values
from authsvc.settings.database_url import checked_url, ignored_parameters, named_hosts
from authsvc.settings.errors import PREFIX
from authsvc.settings.upstreams import Upstreams
from authsvc.settings.values import YEAR, CommaSeparated, Lower, Networks, Seconds, between


class Fields(BaseSettings):
    """Everything that can be configured, each by itself (see `Settings`)."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=sources.DOTENV,
        env_file_encoding=sources.DOTENV_ENCODING,
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        populate_by_name=True,
        hide_input_in_errors=True,
        validate_default=True,
    )

    env: Annotated[Literal["development", "production"], Lower] = "development"
    database_url: Annotated[SecretStr | None, AfterValidator(checked_url)] = None
    data_dir: Path = Field(default_factory=values.default_data_dir)
    keys_dir: Annotated[Path, AfterValidator(values.absolute)] = Path("keys")
    keys_passphrase: SecretStr | None = None

    host: Annotated[str | None, AfterValidator(values.host)] = None
    port: int = Field(default=8000, ge=1, le=65535)
    workers: int = Field(default_factory=values.usable_cores, ge=1, le=256)

    issuer: str = ""
    audience: str = Field(default="authsvc", min_length=1, max_length=255)
    access_ttl: Annotated[Seconds, between(60, 3600)] = timedelta(seconds=900)
    refresh_idle_ttl: Annotated[Seconds, between(300, YEAR)] = timedelta(seconds=604_800)
    refresh_absolute_ttl: Annotated[Seconds, between(300, YEAR)] = timedelta(seconds=2_592_000)
    refresh_retry_window: Annotated[Seconds, between(0, 60)] = timedelta(seconds=10)
    max_sessions: int = Field(default=100, ge=1, le=10_000)

    cors_origins: Annotated[CommaSeparated, AfterValidator(values.origins)] = ()
    cookie_domain: Annotated[str | None, AfterValidator(values.cookie_domain)] = None
    cookie_suffix: Annotated[str | None, AfterValidator(values.cookie_suffix)] = None
    cookie_secure: Annotated[Literal["auto", "on", "off"], Lower] = "auto"
    allowed_hosts: Annotated[CommaSeparated, AfterValidator(values.host_names)] = ()
    trusted_proxies: Networks = ()
    max_connections_per_address: int = Field(default=256, ge=1, le=1_000_000)
    assertion_upstreams: Upstreams = ()

    registration: Annotated[Literal["open", "closed"], Lower] = "open"
    email_domains: Annotated[Literal["public", "any"] | None, Lower] = None
    registrations_per_minute: int = Field(default=30, ge=1, le=100_000)
    logins_per_minute: int = Field(default=60, ge=1, le=100_000)
    failures_when_known: int = Field(default=10, ge=1, le=1_000)
    failures_of_a_stranger: int = Field(default=5, ge=1, le=100)
    failures_of_strangers_per_day: int = Field(default=100, ge=1, le=1_000)
    failing_accounts_per_network: int = Field(default=50, ge=1, le=100_000)
    client_failures_per_minute: int = Field(default=1_000, ge=1, le=100_000)
    argon2_memory_kib: int = Field(default=19_456, ge=8, le=4_194_304)
    argon2_time: int = Field(default=2, ge=1, le=100)
    argon2_parallelism: int = Field(default=1, ge=1, le=16)
    hash_memory_budget_mib: int = Field(default=256, ge=1, le=1_048_576)
    hash_queue_seconds: float = Field(default=2.0, ge=0.1, le=30.0)
    throttle: bool = True
    audit_retention: Annotated[Seconds, between(86_400, 10 * YEAR)] = timedelta(days=365)

    docs: bool = True
    demo: bool | None = None
    metrics_token: SecretStr | None = None
    log_format: Annotated[Literal["console", "json"], Lower] = Field(
        default_factory=lambda: "console" if sys.stdout.isatty() else "json"
    )
    log_level: Annotated[Literal["debug", "info", "warning", "error"], Lower] = "info"
    commit: str = "unknown"

    @property
    def serves_demo(self) -> bool:
        """Whether there is a page at `/demo`: in development, unless it is off."""
        return not self.production and self.demo is not False

    @property
    def public_email_only(self) -> bool:
        """Whether new accounts need a domain that is not for special use: in production."""
        return self.production if self.email_domains is None else self.email_domains == "public"

    @property
    def production(self) -> bool:
        """Whether the strict rules of production apply."""
        return self.env == "production"

    @property
    def limits(self) -> Limits | None:
        """The throttle's limits; None where it is off."""
        if not self.throttle:
            return None
        usual = Limits()
        return replace(
            usual,
            known=replace(usual.known, size=self.failures_when_known),
            stranger=replace(usual.stranger, size=self.failures_of_a_stranger),
            strangers_per_day=self.failures_of_strangers_per_day,
            accounts_per_network=self.failing_accounts_per_network,
            logins=per_minute(self.logins_per_minute),
            registrations=per_minute(self.registrations_per_minute),
            client_failures=per_minute(self.client_failures_per_minute),
        )

    @property
    def database_hosts(self) -> tuple[str, ...]:
        """Where the database is; empty for a Unix socket and for the embedded one."""
        url = self.database_url
        return named_hosts(url.get_secret_value()) if url else ()

    @property
    def ignored_in_database_url(self) -> dict[str, str]:
        """Parameters that libpq knows and that change nothing here, each with the reason."""
        url = self.database_url
        return ignored_parameters(url.get_secret_value()) if url else {}

    @property
    def issuer_host(self) -> str:
        """The issuer's host as it stands in a Host header, without the port."""
        host = urlsplit(self.issuer).hostname or ""
        return f"[{host}]" if ":" in host else host

    @property
    def issuer_is_loopback(self) -> bool:
        """Whether browsers reach authsvc only on this very machine."""
        return values.is_loopback(self.issuer_host)

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
        twins = (f"{parts.scheme}://{name}{port}" for name in values.LOOPBACK_NAMES)
        return frozenset({self.issuer, *twins})

    @property
    def any_loopback_origin(self) -> bool:
        """Whether pages on any port of this machine may call us: development only."""
        return not self.production and self.issuer_is_loopback
