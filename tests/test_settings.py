"""Settings: where they come from, which win, and what a bad one says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url
from sqlalchemy.dialects.postgresql.asyncpg import dialect

from authsvc.settings import Settings, SettingsError, service_links, unknown_names
from authsvc.store.connections import normalise

PRODUCTION = {
    "ENV": "production",
    "DATABASE_URL": "postgresql://authsvc@db/authsvc",
    "ISSUER": "https://auth.example.com",
}


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty environment and a directory without .env."""
    import os  # noqa: PLC0415 - only to find what is to be removed

    for name in [
        n for n in os.environ if n.startswith("AUTHSVC_") or n in {"DATABASE_URL", "PORT"}
    ]:
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
        ("DATABASE_URL", "postgresql://db/x?sslrootcertificate=/ca.pem"),
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
        ("COOKIE_SUFFIX", "Staging"),
        ("COOKIE_SUFFIX", "a=b"),
        ("COOKIE_SUFFIX", "a b"),
        ("COOKIE_SUFFIX", "seventeen-letters"),
        ("ALLOWED_HOSTS", "https://auth.example.com"),
        ("TRUSTED_PROXIES", "10.0.0.0/8,proxy"),
        ("ASSERTION_UPSTREAMS", "orders,Billing"),
        ("ASSERTION_UPSTREAMS", "urn:authsvc:upstream:orders"),
        ("ASSERTION_UPSTREAMS", "orders,orders=role:admin"),
        ("ASSERTION_UPSTREAMS", "orders="),
        ("ASSERTION_UPSTREAMS", "orders role:admin"),
        ("ASSERTION_UPSTREAMS", "orders=admin"),
        ("ASSERTION_UPSTREAMS", "orders=roles:admin"),
        ("ASSERTION_UPSTREAMS", "orders=role:"),
        ("ASSERTION_UPSTREAMS", "orders=role:a|b"),
        ("ASSERTION_UPSTREAMS", 'orders=scope:"'),
        ("ASSERTION_UPSTREAMS", "orders=role:admin;billing"),
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
        ("TRUSTED_PROXIES", "0.0.0.0/1,128.0.0.0/1"),
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
    assert secure is load(monkeypatch, **{"ENV": "development"} | settings).secure_cookies


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
        pytest.param(
            "postgresql://me:secret@a:5433,b/authsvc?sslmode=require",
            ("a:5433", "b:5432"),
            marks=pytest.mark.finding("P25"),
        ),
    ],
    ids=["one", "several", "socket", "libpq"],
)
def test_the_hosts_of_the_database_are_told_without_the_password(
    monkeypatch: pytest.MonkeyPatch, url: str, hosts: tuple[str, ...]
) -> None:
    assert hosts == load(monkeypatch, DATABASE_URL=url).database_hosts


@pytest.mark.finding("11.15")
def test_an_https_issuer_elsewhere_means_production_unless_development_is_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    public = {name: value for name, value in PRODUCTION.items() if name != "ENV"}

    assert load(monkeypatch, **public).production
    assert not load(monkeypatch, **public, ENV="development").production


@pytest.mark.finding("11.15")
def test_what_that_refuses_says_why_it_is_production(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError) as refused:
        load(monkeypatch, ISSUER="https://auth.example.com")

    names = [line.partition(":")[0] for line in str(refused.value).split("\n")]
    assert ["AUTHSVC_DATABASE_URL", "AUTHSVC_ENV"] == names
    assert "write development if this is not production" in str(refused.value)


@pytest.mark.finding("11.15")
@pytest.mark.parametrize("issuer", ["http://localhost:8000", "https://localhost:8443"])
def test_this_machine_is_development(monkeypatch: pytest.MonkeyPatch, issuer: str) -> None:
    assert "development" == load(monkeypatch, ISSUER=issuer).env


@pytest.mark.finding("P01", "N02")
def test_what_kubernetes_sets_for_a_service_is_no_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    links = {
        "AUTHSVC_PORT": "tcp://10.96.14.7:8000",
        "AUTHSVC_PORT_8000_TCP": "tcp://10.96.14.7:8000",
        "AUTHSVC_PORT_8000_TCP_ADDR": "10.96.14.7",
        "AUTHSVC_PORT_8000_TCP_PORT": "8000",
        "AUTHSVC_PORT_8000_TCP_PROTO": "tcp",
        "AUTHSVC_SERVICE_HOST": "10.96.14.7",
        "AUTHSVC_SERVICE_PORT": "8000",
        "AUTHSVC_SERVICE_PORT_HTTP": "8000",
    }
    for name, value in links.items():
        monkeypatch.setenv(name, value)

    assert 8000 == Settings.load().port
    assert sorted(links) == service_links()
    assert {} == unknown_names()


@pytest.mark.finding("P15")
@pytest.mark.parametrize("end", ["\n", "\r\n", " ", "\t"])
def test_white_space_around_a_value_is_cut(monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    """What `echo` adds to a secret would be part of every token's `aud`, or of a password."""
    settings = load(
        monkeypatch,
        AUDIENCE=f"orders{end}",
        METRICS_TOKEN=f" token{end}",
        KEYS_PASSPHRASE=f"passphrase{end}",
        KEYS_DIR=f"/run/keys{end}",
        PORT=f"9000{end}",
        REGISTRATION=end,
    )

    assert settings.metrics_token is not None
    assert settings.keys_passphrase is not None
    assert ("orders", "token", "passphrase") == (
        settings.audience,
        settings.metrics_token.get_secret_value(),
        settings.keys_passphrase.get_secret_value(),
    )
    assert (Path("/run/keys"), 9000, "open") == (
        settings.keys_dir,
        settings.port,
        settings.registration,
    )


@pytest.mark.finding("P34")
@pytest.mark.parametrize(
    ("environment", "dotenv", "port"),
    [
        ({"PORT": "8080"}, "", 8080),
        ({"PORT": "8080", "AUTHSVC_PORT": "9000"}, "", 9000),
        ({"PORT": "8080"}, "AUTHSVC_PORT=9000", 9000),
        ({"PORT": "8080", "AUTHSVC_PORT": "tcp://10.0.0.1:8000"}, "", 8080),
    ],
)
def test_the_port_of_a_platform_is_read_after_ours(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], dotenv: str, port: int
) -> None:
    Path(".env").write_text(dotenv)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    assert port == Settings.load().port


@pytest.mark.finding("P25", "P34")
@pytest.mark.parametrize(("name", "value"), [("PORT", "http"), ("DATABASE_URL", "mysql://x/y")])
def test_a_bad_bare_value_is_named_as_it_was_written(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(SettingsError, match=f"^{name}: "):
        Settings.load()


@pytest.mark.finding("N18")
@pytest.mark.parametrize("value", ["?", "-1", "99999999999", "99999999999999999999.5", "x" * 5000])
def test_every_refusal_is_in_our_words(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """And says what to write, after a semicolon or as a limit."""
    refusals = []
    for field in Settings.model_fields:
        monkeypatch.setenv(f"AUTHSVC_{field.upper()}", value)
    with pytest.raises(SettingsError) as refused:
        Settings.load()
    refusals += str(refused.value).split("\n")

    assert [] == [line for line in refusals if "nput should" in line or "valid" in line]
    assert [] == [line for line in refusals if "; " not in line]
    assert {"AUTHSVC_ENV", "AUTHSVC_PORT", "AUTHSVC_WORKERS", "AUTHSVC_REGISTRATION"} <= {
        line.partition(":")[0] for line in refusals
    }


@pytest.mark.finding("P23")
@pytest.mark.parametrize("content", [b"# caf\xe9\n", "AUTHSVC_PORT=1".encode("utf-16")])
def test_a_dotenv_in_another_encoding_is_one_line(content: bytes) -> None:
    Path(".env").write_bytes(content)

    for read in (Settings.load, unknown_names):
        with pytest.raises(SettingsError, match=r"^\.env: is not UTF-8; save it again"):
            read()


@pytest.mark.finding("P23")
def test_a_dotenv_that_may_not_be_read_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """The file's mode would not stop root."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", ".env")

    Path(".env").write_text("AUTHSVC_PORT=9000")
    monkeypatch.setattr("dotenv.main.open", refuse, raising=False)

    for read in (Settings.load, unknown_names):
        with pytest.raises(SettingsError, match=r"^\.env: cannot be read \(Permission denied\); "):
            read()


@pytest.mark.finding("P28")
def test_a_byte_order_mark_of_the_dotenv_is_ignored() -> None:
    Path(".env").write_bytes(b"\xef\xbb\xbfAUTHSVC_PORT=9000\n")

    assert (9000, {}) == (Settings.load().port, unknown_names())


@pytest.mark.finding("P24")
def test_nobody_needs_a_home_whose_data_is_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr("os.geteuid", lambda: 1_000_680_000)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setattr(Path, "home", no_home)

    assert Path("/var/lib/authsvc") == Settings.load().data_dir


@pytest.mark.finding("P36")
def test_the_url_of_a_managed_database_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    query = "sslmode=require&channel_binding=require&connect_timeout=10&application_name=x"
    loaded = load(monkeypatch, DATABASE_URL=f"postgresql://u@db/x?{query}&options=-c%20a%3Db")

    assert {"channel_binding", "connect_timeout", "application_name"} == set(
        loaded.ignored_in_database_url
    )


@pytest.mark.finding("P25")
@pytest.mark.parametrize("prefix", ["", "AUTHSVC_"])
def test_a_bad_database_url_is_named_as_it_was_set(
    monkeypatch: pytest.MonkeyPatch, prefix: str
) -> None:
    monkeypatch.setenv(f"{prefix}DATABASE_URL", "mysql://x/y")

    with pytest.raises(SettingsError) as refused:
        Settings.load()

    assert str(refused.value).startswith(f"{prefix}DATABASE_URL: ")


@pytest.mark.finding("N12")
def test_an_unescaped_at_in_the_password_is_told_and_not_repeated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(SettingsError, match="%40") as refused:
        load(monkeypatch, DATABASE_URL="postgresql://u:p@ss@host/db")

    assert "ss@" not in str(refused.value)


@pytest.mark.finding("P25", "P16")
@pytest.mark.parametrize(
    "place",
    [
        "h:99999/x", "h:-1/x", "h:0/x", "h:5432x/x", "127.0.0.1:a,b:c/p1", "a,b:70000/x",
        "a,,b/x", f"{'a' * 300}/x", "a..b/x", "h/x?port=99999", "/x?port=-1",
        "/x?host=a&port=1,2", "/x?host=a&host=b&port=1,2,3", "h/x%00",
        "[::1/x", "h/x?target_session_attrs=foo", "h/x?sslmode=foo", "h/x?sslnegotiation=foo",
        "h/x?sslmode=require&sslmode=prefer", "h/x?prepared_statement_cache_size=abc",
        "h/x?connect_timeout=abc", "h/x?keepalives_idle=abc", "h/x?ssl_min_protocol_version=1",
        "h/x?require_auth=scram-sha-256",
    ],
)  # fmt: skip
def test_a_part_of_the_database_url_that_no_driver_understands_is_one_line(
    monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    with pytest.raises(SettingsError, match=r"^AUTHSVC_DATABASE_URL: .*[^>]$") as refused:
        load(monkeypatch, DATABASE_URL=f"postgresql://u:secret@{place}")

    assert "secret" not in str(refused.value)


@pytest.mark.finding("P25")
@pytest.mark.parametrize(
    ("name", "value"), [("PGPORT", "abc"), ("PGPORT", "70000"), ("PGTARGETSESSIONATTRS", "foo")]
)
def test_what_the_environment_adds_to_the_database_url_is_looked_at_as_well(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(SettingsError, match=name):
        load(monkeypatch, DATABASE_URL="postgresql://u@h/x")


@pytest.mark.finding("P25", "P36")
@pytest.mark.parametrize(
    ("given", "host", "port"),
    [
        ("u@h/n", "h", None),
        ("u@h:1/n", "h", 1),
        ("u@:1/n", None, 1),
        ("u@[::1]:1/n", "::1", 1),
        ("u@/n?host=h&port=1", "h", 1),
        ("u@/n?host=::1", "::1", None),
        ("u@%2Ftmp%2Fpg:1/n", "/tmp/pg", 1),  # noqa: S108 - a name
        ("u@/n?host=/tmp/pg&port=1", "/tmp/pg", 1),  # noqa: S108
        ("u@/n?host=/tmp/pg", "/tmp/pg", None),  # noqa: S108
        ("u@[::1]:1,127.0.0.1:2/n", ["::1", "127.0.0.1"], [1, 2]),
        ("u@/n?host=a&host=b", ["a", "b"], [5432, 5432]),
        ("u@/n?host=a:1&host=b:2", ["a", "b"], [1, 2]),
        ("u@/n?host=a,b&port=1", ["a", "b"], [1, 1]),
        ("u@%2Ftmp,b:2/n", ["/tmp", "b"], [5432, 2]),  # noqa: S108
        ("h/x?user=u&dbname=n", "h", None),
        ("w@h/x?user=u&dbname=n", "h", None),
    ],
)
def test_the_spellings_of_libpq_reach_the_driver(
    monkeypatch: pytest.MonkeyPatch,
    given: str,
    host: str | list[str] | None,
    port: int | list[int] | None,
) -> None:
    monkeypatch.delenv("PGPORT", raising=False)
    url = load(monkeypatch, DATABASE_URL=f"postgresql://{given}").database_url

    assert url is not None
    driver = dialect()  # type: ignore[no-untyped-call]
    _, arguments = driver.create_connect_args(normalise(url.get_secret_value()))  # type: ignore[no-untyped-call]
    assert (host or None, port, "u", "n") == (
        arguments.get("host") or None,
        arguments.get("port"),
        arguments["user"],
        arguments["database"],
    )


@pytest.mark.finding("P36")
@pytest.mark.parametrize(
    "parameter",
    ["tcp_user_timeout=1", "load_balance_hosts=random", "service=x", "replication=database",
     "min_protocol_version=3.0", "gssdelegation=0", "krbsrvname=x"],
)  # fmt: skip
def test_what_libpq_knows_and_the_driver_does_not_need_is_ignored_and_told(
    monkeypatch: pytest.MonkeyPatch, parameter: str
) -> None:
    loaded = load(monkeypatch, DATABASE_URL=f"postgresql://u@h/x?{parameter}")

    assert [parameter.partition("=")[0]] == list(loaded.ignored_in_database_url)


@pytest.mark.finding("P25")
def test_a_password_comes_through_whatever_it_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    url = load(monkeypatch, DATABASE_URL="postgresql://u%2B:p%40%2F+%25@a:1,b:2/n").database_url

    assert url is not None
    assert ("u+", "p@/+%") == (
        make_url(url.get_secret_value()).username,
        make_url(url.get_secret_value()).password,
    )
