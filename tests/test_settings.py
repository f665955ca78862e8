"""Settings: where they come from, which win, and what a bad one says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from authsvc.settings import Settings, SettingsError, unknown_names

PRODUCTION = {
    "ENV": "production",
    "DATABASE_URL": "postgresql://authsvc@db/authsvc",
    "ISSUER": "https://auth.example.com",
}


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty environment and a directory without .env."""
    import os  # noqa: PLC0415 - only to find what is to be removed

    for name in [n for n in os.environ if n.startswith("AUTHSVC_") or n == "DATABASE_URL"]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def load(monkeypatch: pytest.MonkeyPatch, **settings: str) -> Settings:
    for name, value in settings.items():
        monkeypatch.setenv(f"AUTHSVC_{name}", value)
    return Settings.load()


@pytest.mark.parametrize(
    ("dotenv", "environment", "expected"),
    [
        pytest.param("", {"DATABASE_URL": "bare"}, "bare", id="bare"),
        pytest.param("DATABASE_URL=postgresql://dotenv/x", {}, "dotenv", id="bare-in-dotenv"),
        pytest.param(
            "", {"DATABASE_URL": "bare", "AUTHSVC_DATABASE_URL": "ours"}, "ours", id="prefixed"
        ),
        pytest.param(
            "AUTHSVC_DATABASE_URL=postgresql://dotenv/x",
            {"AUTHSVC_DATABASE_URL": "ours"},
            "ours",
            id="environment-over-dotenv",
        ),
        pytest.param(
            "AUTHSVC_DATABASE_URL=postgresql://dotenv/x",
            {"DATABASE_URL": "bare"},
            "dotenv",
            id="a-stray-bare-name-never-outranks-ours",
        ),
        pytest.param(
            "DATABASE_URL=postgresql://dotenv/x",
            {"DATABASE_URL": "bare"},
            "bare",
            id="bare-environment-over-dotenv",
        ),
    ],
)
def test_the_database_url_is(
    monkeypatch: pytest.MonkeyPatch, dotenv: str, environment: dict[str, str], expected: str
) -> None:
    Path(".env").write_text(dotenv)
    for name, host in environment.items():
        monkeypatch.setenv(name, f"postgresql://{host}/x")

    url = Settings.load().database_url

    assert url is not None
    assert f"postgresql://{expected}/x" == url.get_secret_value()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ENV", "prod"),
        ("DATABASE_URL", "mysql://x/y"),
        ("DATABASE_URL", "not a url"),
        ("DATABASE_URL", "postgresql://db/x?sslrootcert=/ca.pem"),
        ("PORT", "http"),
        ("PORT", "70000"),
        ("WORKERS", "0"),
        ("HOST", "example.com"),
        ("ISSUER", "http://auth.example.com"),
        ("ISSUER", "https://auth.example.com/"),
        ("ISSUER", "https://auth.example.com/path"),
        ("ISSUER", "https://user@auth.example.com"),
        ("ISSUER", "https://AUTH.example.com"),
        ("ISSUER", "https://auth.example.com:443"),
        ("ISSUER", "auth.example.com"),
        ("ACCESS_TTL", "59"),
        ("ACCESS_TTL", "3601"),
        ("ACCESS_TTL", "15m"),
        ("REFRESH_IDLE_TTL", "299"),
        ("REFRESH_ABSOLUTE_TTL", "40000000"),
        ("REFRESH_RETRY_WINDOW", "61"),
        ("REFRESH_RETRY_WINDOW", "-1"),
        ("CORS_ORIGINS", "*"),
        ("CORS_ORIGINS", "https://app.example.com/"),
        ("CORS_ORIGINS", "null"),
        ("COOKIE_DOMAIN", "other.example"),
        ("COOKIE_SECURE", "maybe"),
        ("ALLOWED_HOSTS", "https://auth.example.com"),
        ("TRUSTED_PROXIES", "10.0.0.0/8,proxy"),
        ("ASSERTION_UPSTREAMS", "orders,Billing"),
        ("ASSERTION_UPSTREAMS", "urn:authsvc:upstream:orders"),
        ("ASSERTION_UPSTREAMS", "orders"),  # without a trusted proxy
        ("REGISTRATION", "invite"),
        ("ARGON2_MEMORY_KIB", "1"),
        ("HASH_MEMORY_BUDGET_MIB", "1"),
        ("THROTTLE", "sometimes"),
        ("LOG_LEVEL", "loud"),
    ],
)
def test_a_bad_value_stops_the_start_with_its_name_and_is_not_repeated(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    with pytest.raises(SettingsError) as refused:
        load(monkeypatch, **{name: value})

    lines = str(refused.value).split("\n")
    assert all(line.startswith("AUTHSVC_") for line in lines)
    assert any(line.startswith(f"AUTHSVC_{name}: ") for line in lines)
    assert "not a url" not in str(refused.value)


def test_every_bad_value_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError) as refused:
        load(monkeypatch, PORT="x", ACCESS_TTL="y", CORS_ORIGINS="*")

    assert 3 == len(str(refused.value).split("\n"))


def test_the_idle_time_cannot_exceed_the_absolute_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="AUTHSVC_REFRESH_IDLE_TTL: is longer than"):
        load(monkeypatch, REFRESH_IDLE_TTL="7200", REFRESH_ABSOLUTE_TTL="3600")


@pytest.mark.requirement("C4")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", ""),
        ("ISSUER", "http://localhost:8000"),
        ("COOKIE_SECURE", "off"),
        ("THROTTLE", "off"),
        ("ARGON2_TIME", "1"),
    ],
)
def test_production_refuses(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    load(monkeypatch, **PRODUCTION)

    with pytest.raises(SettingsError, match="AUTHSVC_"):
        load(monkeypatch, **{**PRODUCTION, name: value})


@pytest.mark.finding("11.15")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TRUSTED_PROXIES", "10.0.0.0/8,0.0.0.0/0"),
        ("TRUSTED_PROXIES", "::/0"),
        ("CORS_ORIGINS", "https://app.example.com,http://app.example.com"),
        ("METRICS_TOKEN", "fifteen letters"),
    ],
)
def test_production_refuses_by_name_what_opens_it_to_strangers(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    with pytest.raises(SettingsError, match=f"^AUTHSVC_{name}: ") as refused:
        load(monkeypatch, **{**PRODUCTION, name: value})

    assert value not in str(refused.value)


@pytest.mark.parametrize(
    ("settings", "secure"),
    [
        ({}, False),
        ({"COOKIE_SECURE": "on"}, True),
        ({"ISSUER": "https://auth.example.com"}, True),
        ({"ISSUER": "https://auth.example.com", "COOKIE_SECURE": "off"}, False),
        ({"ISSUER": "https://localhost:8443"}, True),
    ],
)
def test_cookies_are_secure_unless_the_issuer_is_loopback_http(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], *, secure: bool
) -> None:
    assert secure is load(monkeypatch, **settings).secure_cookies


def test_the_issuer_follows_the_port(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(monkeypatch, PORT="9000")

    assert "http://localhost:9000" == settings.issuer
    assert "http://127.0.0.1:9000" in settings.own_origins


def test_lists_are_comma_separated(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(
        monkeypatch,
        CORS_ORIGINS="https://a.example.com, https://b.example.com:8443",
        TRUSTED_PROXIES="10.0.0.0/8,::1",
        ALLOWED_HOSTS="Auth.example.com",
    )

    assert ("https://a.example.com", "https://b.example.com:8443") == settings.cors_origins
    assert ["10.0.0.0/8", "::1/128"] == [str(network) for network in settings.trusted_proxies]
    assert ("auth.example.com",) == settings.allowed_hosts


@pytest.mark.requirement("S3")
def test_the_repr_holds_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    canaries: dict[str, Any] = {
        "DATABASE_URL": "postgresql://authsvc:canary@db/authsvc",
        "METRICS_TOKEN": "canary",
        "KEYS_PASSPHRASE": "canary",
    }

    assert "canary" not in repr(load(monkeypatch, **canaries))


def test_a_misspelt_name_is_told_with_the_one_that_was_meant(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AUTHSVC_ISSUR", "https://auth.example.com")
    Path(".env").write_text("AUTHSVC_NONSENSE_XYZ=1")

    assert {"AUTHSVC_ISSUR": "AUTHSVC_ISSUER", "AUTHSVC_NONSENSE_XYZ": None} == unknown_names()


@pytest.mark.parametrize(
    ("url", "hosts"),
    [
        ("postgresql://me:secret@db.example.com:5432/authsvc", ("db.example.com",)),
        ("postgresql://me:secret@/authsvc?host=a:5432&host=b:5433", ("a:5432", "b:5433")),
        ("postgresql://me:secret@/authsvc?host=/run/postgresql", ()),
    ],
    ids=["one", "several", "socket"],
)
def test_the_hosts_of_the_database_are_told_without_the_password(
    monkeypatch: pytest.MonkeyPatch, url: str, hosts: tuple[str, ...]
) -> None:
    assert hosts == load(monkeypatch, DATABASE_URL=url).database_hosts
