from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from authsvc.cli.diagnosis import database, key_files, passwords, web
from authsvc.cli.diagnosis.finding import TITLES, Finding, Severity
from authsvc.embedded_postgres import EmbeddedPostgres
from authsvc.keys.rotation import create_first_keys
from authsvc.settings import Settings
from authsvc.store.schema import Schema
from authsvc.store.server import DatabaseServer
from tests.cli.conftest import Command, Done
from tests.http.conftest import CHEAP_ARGON2
from tests.support.key_material import put, put_mac, put_signing

ROOT = Path(__file__).parents[2]
DAY = timedelta(days=1)
NOW = datetime(2026, 11, 22, 10, 0, 0, tzinfo=UTC)
SERVER = DatabaseServer(
    now=NOW,
    version=180_004,
    version_name="18.4",
    refusal=None,
    fsync=True,
    full_page_writes=True,
    synchronous_commit="on",
    local=False,
    encrypted=True,
    role="authsvc_serve",
    superuser=False,
    creates=False,
    connections=97,
    missing=(),
    absent=(),
    encoding="UTF8",
)


@pytest.fixture
def keys_dir(tmp_path: Path) -> Path:
    """Active for a day: signing key 0 and MAC key 1; where the commands look."""
    path = tmp_path / "keys"
    now = datetime.now(UTC).replace(microsecond=0)
    put_signing(path, now - DAY)
    put_mac(path, now - DAY)
    path.chmod(0o700)
    return path


@pytest.fixture
def production(environment: pytest.MonkeyPatch, keys_dir: Path, database_url: str) -> Path:
    """What a careful operator sets."""
    for name in CHEAP_ARGON2:
        environment.delenv(f"AUTHSVC_{name.upper()}")
    for name, value in {
        "ENV": "production",
        "DATABASE_URL": database_url,
        "ISSUER": "https://auth.example.com",
        "TRUSTED_PROXIES": "10.0.3.0/28",
        "CORS_ORIGINS": "https://app.example.com",
        "METRICS_TOKEN": "a-metrics-token-0123",
        "DOCS": "off",
        "WORKERS": "1",
    }.items():
        environment.setenv(f"AUTHSVC_{name}", value)
    return keys_dir


def severities(done: Done) -> dict[str, str]:
    """The worst of each id, without the prefix."""
    order = [str(severity) for severity in Severity]
    found: dict[str, str] = {}
    for finding in done.json["findings"]:
        short = finding["id"].removeprefix("AUTHSVC-")
        found[short] = max(found.get(short, "ok"), finding["severity"], key=order.index)
    return found


def bad(done: Done) -> dict[str, str]:
    return {i: s for i, s in severities(done).items() if s in {"warning", "error"}}


@pytest.mark.usefixtures("production")
async def test_a_careful_production_has_nothing_to_worry_about_but_the_test_database(
    run: Command,
) -> None:
    """The tests' server runs without fsync and as a superuser; both are noticed."""
    done = await run("doctor", "--json")

    assert {"DB-003": "error", "DB-008": "warning"} == bad(done)
    assert 1 == done.code
    assert {"ok", "info", "warning", "error"} == set(done.json["counts"])
    assert 1 == done.json["counts"]["error"]


async def test_a_fresh_development_machine_has_no_error(run: Command) -> None:
    done = await run("doctor")

    assert 0 == done.code, done.out
    assert "0 errors, 1 warning.\n" == done.out.splitlines(keepends=True)[-1]
    assert "AUTHSVC-PWD-001  argon2 parameters: m=8 KiB" in done.out


async def test_beside_a_running_development_service_the_database_is_examined(
    run: Command, environment: pytest.MonkeyPatch, postgres: EmbeddedPostgres
) -> None:
    environment.setenv("AUTHSVC_DATA_DIR", str(postgres.data_dir))

    found = severities(await run("doctor", "--json"))

    assert ("ok", "warning", "error") == (found["DB-001"], found["DB-003"], found["DB-006"])
    assert "ok" == found["DB-008"]


async def test_every_warning_and_error_says_what_to_do_next(
    run: Command, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("AUTHSVC_THROTTLE", "off")
    environment.setenv("AUTHSVC_DATABASE_URL", "postgresql://u@127.0.0.1:1/x")
    environment.setenv("AUTHSVC_HOST", "0.0.0.0")  # noqa: S104 - the mistake
    environment.setenv("AUTHSVC_TRUSTED_PROXIES", "0.0.0.0/0")
    environment.setenv("AUTHSVC_WORKERS", "200")

    machines = await run("doctor", "--json")
    people = await run("doctor")

    assert all(
        finding["next"]
        for finding in machines.json["findings"]
        if finding["severity"] in {"warning", "error"}
    )
    assert {"CFG-004", "CFG-005", "DB-001", "WEB-003", "WEB-006", "PWD-001"} <= set(bad(machines))
    assert "error    AUTHSVC-DB-001  database: cannot be used: nothing listens there" in people.out
    assert "→ list in AUTHSVC_TRUSTED_PROXIES exactly the addresses" in people.out


@pytest.mark.usefixtures("keys_dir")
async def test_a_database_that_is_down_is_reported_and_the_rest_is_examined(
    run: Command, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("AUTHSVC_DATABASE_URL", "postgresql://u:secret-word@127.0.0.1:1/x")

    done = await run("doctor", "--json")

    found = severities(done)
    assert ("error", 1) == (found["DB-001"], done.code)
    assert {"KEY-002", "WEB-002", "PWD-003"} <= set(found)
    assert "secret-word" not in done.out + done.err


async def test_a_configuration_that_does_not_load_is_one_error_a_line(
    run: Command, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("AUTHSVC_ACCESS_TTL", "soon")
    environment.setenv("AUTHSVC_CORS_ORIGINS", "*")
    environment.setenv("AUTHSVC_ACESS_TTL", "900")

    done = await run("doctor", "--json")

    assert 1 == done.code
    assert [
        ("AUTHSVC-CFG-001", "AUTHSVC_ACCESS_TTL"),
        ("AUTHSVC-CFG-001", "AUTHSVC_CORS_ORIGINS"),
        ("AUTHSVC-CFG-002", "AUTHSVC_ACESS_TTL"),
    ] == [(f["id"], f["found"].split()[0].rstrip(":")) for f in done.json["findings"]]
    assert "did you mean AUTHSVC_ACCESS_TTL?" in done.json["findings"][-1]["next"]


@pytest.mark.finding("P23")
@pytest.mark.usefixtures("environment")
async def test_a_dotenv_that_cannot_be_read_is_one_error(run: Command, tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes("AUTHSVC_PORT=1".encode("utf-16"))

    done = await run("doctor", "--json")

    (finding,) = done.json["findings"]
    assert ("AUTHSVC-CFG-001", ".env: is not UTF-8") == (finding["id"], finding["found"])


@pytest.mark.requirement("S2")
async def test_production_keys_that_stop_the_start_are_errors(
    run: Command, production: Path
) -> None:
    now = datetime.now(UTC)
    put(production, f"{now - 2 * DAY:%Y%m%dT%H%M%SZ}.pem", b"not a key")
    put(production, "mine.pem", b"stray")

    done = await run("doctor", "--json")

    found = bad(done)
    assert ("error", "warning") == (found["KEY-005"], found["KEY-006"])
    assert 1 == [f["id"] for f in done.json["findings"]].count("AUTHSVC-KEY-005")


async def test_missing_keys_are_errors_that_name_the_command(
    run: Command, production: Path
) -> None:
    _empty(production)

    done = await run("doctor", "--json")

    found = bad(done)
    assert ("error", "error") == (found["KEY-002"], found["KEY-004"])
    assert "KEY-005" not in found
    steps = " ".join(f["next"] for f in done.json["findings"])
    assert "authsvc keys add --now" in steps
    assert "authsvc keys add --refresh --now" in steps


async def test_no_key_directory_is_an_error_in_production(run: Command, production: Path) -> None:
    shutil.rmtree(production)

    done = await run("doctor", "--json")

    assert "error" == severities(done)["KEY-001"]


def test_a_key_directory_that_cannot_be_read_is_an_error_in_development_too(
    tmp_path: Path,
) -> None:
    (tmp_path / "keys").write_text("a file")

    found = examine_keys(tmp_path / "keys", NOW)

    assert {"KEY-001": Severity.ERROR} == {id_: f.severity for id_, f in found.items()}
    assert Severity.INFO == examine_keys(tmp_path / "none", NOW)["KEY-001"].severity


def _empty(directory: Path) -> None:
    for file in directory.iterdir():
        file.unlink()


def examine_keys(keys_dir: Path, now: datetime, **settings: Any) -> dict[str, Finding]:
    loaded = Settings.load(keys_dir=keys_dir, **settings)
    return {finding.id: finding for finding in key_files.examine(loaded, now=now)}


@pytest.mark.parametrize(
    ("age", "severity"), [(100, "ok"), (200, "info"), (800, "warning")], ids=str
)
def test_an_old_signing_key_without_a_successor_is_noticed(
    tmp_path: Path, age: int, severity: str
) -> None:
    put_signing(tmp_path, NOW - age * DAY)
    put_mac(tmp_path, NOW - age * DAY)

    assert severity == examine_keys(tmp_path, NOW)["KEY-003"].severity


def test_a_waiting_successor_is_a_rotation_under_way(tmp_path: Path) -> None:
    create_first_keys(tmp_path / "keys", now=NOW - 800 * DAY)
    put_signing(tmp_path / "keys", NOW + timedelta(hours=1))

    found = examine_keys(tmp_path / "keys", NOW)["KEY-003"]

    assert (Severity.OK, "the next key signs from 2026-11-22T11:00:00Z on") == (
        found.severity,
        found.found,
    )


def test_keys_that_nobody_needs_are_worth_a_prune(tmp_path: Path) -> None:
    put_signing(tmp_path, NOW - 9 * DAY)
    put_signing(tmp_path, NOW - 8 * DAY, 1)
    put_mac(tmp_path, NOW - 9 * DAY)

    assert "authsvc keys prune" in examine_keys(tmp_path, NOW)["KEY-008"].next_step


@pytest.mark.requirement("S2")
def test_a_directory_in_which_others_can_put_keys_is_an_error(keys_dir: Path) -> None:
    keys_dir.chmod(0o777)

    found = examine_keys(keys_dir, datetime.now(UTC))["KEY-007"]

    assert Severity.ERROR == found.severity
    assert found.next_step.endswith(f"chmod go-w {keys_dir}")


@pytest.mark.finding("N15")
def test_a_plain_key_beside_a_passphrase_is_named_until_it_is_encrypted_as_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = put_signing(tmp_path / "keys", NOW - DAY)
    put_mac(tmp_path / "keys", NOW - DAY)
    assert "KEY-009" not in examine_keys(tmp_path / "keys", NOW)

    plain = examine_keys(tmp_path / "keys", NOW, keys_passphrase="horse")
    page = (ROOT / "docs" / "keys.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"^umask 077\n(?:.*\n)+?(?=```)", page, re.MULTILINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AUTHSVC_KEYS_PASSPHRASE", "horse")
    subprocess.run(["sh", "-ec", command.replace("20261122T100000Z.pem", name)], check=True)
    encrypted = examine_keys(tmp_path / "keys", NOW, keys_passphrase="horse")

    assert Severity.WARNING == plain["KEY-009"].severity
    assert plain["KEY-009"].found.endswith(f"not encrypted: {name}")
    assert Severity.OK == encrypted["KEY-009"].severity
    assert Severity.OK == encrypted["KEY-002"].severity
    assert {"KEY-005", "KEY-006"}.isdisjoint(encrypted)


@pytest.mark.finding("11.8")
def test_a_link_to_where_others_can_write_is_named_and_nobody_is_reassured(
    keys_dir: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "elsewhere"
    name = put_signing(folder, NOW - timedelta(days=3), 1, public=True)
    (keys_dir / name).symlink_to(folder / name)
    assert "KEY-006" not in examine_keys(keys_dir, NOW)
    folder.chmod(0o777)

    found = examine_keys(keys_dir, NOW)

    assert Severity.WARNING == found["KEY-006"].severity
    assert f"{folder}, and others can write it (mode 0777)" in found["KEY-006"].found
    assert "KEY-007" not in found


@pytest.mark.parametrize(
    ("changed", "severity"),
    [
        ({}, "ok"),
        ({"version": 140_010}, "warning"),
        ({"version": 120_000}, "error"),
    ],
    ids=["new", "old", "too-old"],
)
def test_the_version_of_postgresql_matters(changed: dict[str, Any], severity: str) -> None:
    assert severity == database._version(replace(SERVER, **changed)).severity


@pytest.mark.parametrize(
    "changed",
    [{"fsync": False}, {"full_page_writes": False}, {"synchronous_commit": "off"}],
    ids=lambda changed: next(iter(changed)),
)
def test_a_database_that_may_forget_is_an_error_in_production_only(
    changed: dict[str, Any],
) -> None:
    server = replace(SERVER, **changed)
    development = Settings.load()
    production = Settings.load(
        env="production", issuer="https://a.example", database_url="postgresql://u@h/n"
    )

    assert Severity.OK == database._durability(SERVER, production).severity
    assert Severity.WARNING == database._durability(server, development).severity
    assert Severity.ERROR == database._durability(server, production).severity
    assert next(iter(changed)) in database._durability(server, production).found


@pytest.mark.requirement("Z6")
@pytest.mark.parametrize(
    ("skew", "uncertainty", "severity"),
    [
        (0.0, 0.0, "ok"),
        (1.9, 0.0, "ok"),
        (2.1, 0.0, "error"),
        (-2.1, 0.0, "error"),
        (2.5, 1.0, "ok"),
        (-30.0, 1.0, "error"),
    ],
)
def test_clocks_that_differ_by_more_than_two_seconds_for_sure_are_an_error(
    skew: float, uncertainty: float, severity: str
) -> None:
    answer = database._Answer(
        SERVER, Schema("0001"), timedelta(seconds=skew), timedelta(seconds=uncertainty)
    )

    found = database._clocks(answer)

    assert severity == found.severity
    if severity == "error":
        assert ("ahead of" if skew > 0 else "behind") in found.found


def test_a_standby_and_an_open_network_are_noticed() -> None:
    assert (
        Severity.ERROR == database._writable(replace(SERVER, refusal="is a standby: fix")).severity
    )
    assert Severity.WARNING == database._encryption(replace(SERVER, encrypted=False)).severity
    assert (
        Severity.OK == database._encryption(replace(SERVER, encrypted=False, local=True)).severity
    )


def test_more_workers_than_connections_are_noticed() -> None:
    assert Severity.OK == database._connections(SERVER, Settings.load(workers=6)).severity
    assert Severity.WARNING == database._connections(SERVER, Settings.load(workers=7)).severity


@pytest.fixture
async def least(database_url: str) -> AsyncIterator[str]:
    """The URL of a role that docs/deployment.md gives to `serve`."""
    page = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
    (sql,) = re.findall(r"^```sql\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    owner = await asyncpg.connect(database_url)
    try:
        await owner.execute(sql.replace("FOR ROLE authsvc ", "FOR ROLE postgres "))
        yield database_url.replace("//postgres@", "//authsvc_serve@")
        await owner.execute("DROP OWNED BY authsvc_serve; DROP ROLE authsvc_serve")
    finally:
        await owner.close()


@pytest.mark.requirement("S5")
@pytest.mark.usefixtures("production")
async def test_the_role_of_the_deployment_page_is_in_order(
    run: Command, environment: pytest.MonkeyPatch, least: str
) -> None:
    environment.setenv("AUTHSVC_DATABASE_URL", least)

    done = await run("doctor", "--json")

    assert {"DB-003": "error"} == bad(done)
    assert "ok" == severities(done)["DB-008"]


@pytest.mark.requirement("S5")
async def test_a_role_that_may_too_little_is_told_what(
    run: Command, environment: pytest.MonkeyPatch, database_url: str, least: str
) -> None:
    owner = await asyncpg.connect(database_url)
    await owner.execute("REVOKE DELETE, UPDATE ON audit_records FROM authsvc_serve")
    await owner.close()
    environment.setenv("AUTHSVC_DATABASE_URL", least)

    done = await run("doctor", "--json")

    (found,) = [f for f in done.json["findings"] if f["id"] == "AUTHSVC-DB-007"]
    assert "authsvc_serve lacks UPDATE on audit_records, DELETE on audit_records" == found["found"]
    assert "GRANT" in found["next"]


def examine_web(**settings: Any) -> dict[str, str]:
    return {
        f.id: f.severity for f in web.examine(Settings.load(**{"env": "development"} | settings))
    }


@pytest.mark.parametrize(
    ("settings", "id_", "severity"),
    [
        ({}, "WEB-001", "info"),
        ({}, "WEB-002", "info"),
        ({"issuer": "https://a.example.com"}, "WEB-002", "ok"),
        ({"issuer": "https://a.example.com", "cookie_secure": "off"}, "WEB-002", "warning"),
        ({"trusted_proxies": "10.0.0.0/8"}, "WEB-003", "ok"),
        ({"trusted_proxies": "::/0"}, "WEB-003", "error"),
        ({"cors_origins": "https://app.example.com"}, "WEB-004", "ok"),
        ({"cors_origins": "http://app.example.com"}, "WEB-004", "warning"),
        (
            {"issuer": "https://a.example.com", "cookie_domain": "example.com"},
            "WEB-005",
            "info",
        ),
        ({"host": "127.0.0.1"}, "WEB-006", "ok"),
        ({"host": "0.0.0.0"}, "WEB-006", "warning"),  # noqa: S104 - the mistake
    ],
)
def test_what_browsers_and_proxies_meet_is_weighed(
    settings: dict[str, Any], id_: str, severity: str
) -> None:
    assert severity == examine_web(**settings)[id_]


def test_production_without_a_known_proxy_or_with_local_origins_is_a_warning() -> None:
    found = examine_web(
        env="production",
        issuer="https://auth.example.com",
        database_url="postgresql://u@h/n",
        cors_origins="https://localhost:3000",
        host="0.0.0.0",  # noqa: S104 - as in a container
    )

    assert ("warning", "warning", "ok") == (found["WEB-003"], found["WEB-004"], found["WEB-006"])


def test_hashes_that_need_more_than_half_of_the_memory_are_a_warning(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "memory.max").write_text("67108864\n")
    monkeypatch.setattr(passwords, "CGROUP_LIMITS", (tmp_path / "memory.max", tmp_path / "none"))

    small = passwords._memory(Settings.load(workers=1, hash_memory_budget_mib=19))
    large = passwords._memory(Settings.load(workers=4, hash_memory_budget_mib=19))

    assert 64 * 1024 * 1024 == passwords.memory_limit()
    assert (Severity.OK, Severity.WARNING) == (small.severity, large.severity)


@pytest.mark.parametrize(
    ("tag", "severity", "found"),
    [
        ("cp310-abi3-manylinux_2_26_x86_64", "info", "SSE2"),
        ("cp310-abi3-musllinux_1_2_x86_64", "info", "SSE2"),
        ("cp310-abi3-manylinux_2_26_aarch64", "ok", "the registry's wheel"),
        ("cp313-cp313-linux_x86_64", "ok", "built from source"),
        ("cp310-abi3-macosx_11_0_arm64", "info", "unknown"),
    ],
)
def test_the_tag_of_the_argon2_library_tells_who_built_it(
    tag: str, severity: str, found: str
) -> None:
    wheel = f"Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: {tag}\n\n"

    said = passwords._build(wheel, "flags\t\t: fpu sse2 avx avx2 sha_ni\n")
    without = passwords._build(wheel, "flags\t\t: fpu sse2 avx\n")

    assert severity == said.severity
    assert said.found.startswith(found)
    assert "SSE2" not in without.found


def test_the_installed_argon2_library_is_known() -> None:
    assert "Tag: " in passwords._wheel()


def test_an_unlimited_container_has_the_memory_of_the_machine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "meminfo").write_text("MemTotal:       16384 kB\nMemFree:  1 kB\n")
    monkeypatch.setattr(passwords, "CGROUP_LIMITS", (tmp_path / "memory.max",))
    monkeypatch.setattr(passwords, "MEMINFO", tmp_path / "meminfo")

    assert 16 * 1024 * 1024 == passwords.memory_limit()


def test_every_id_is_explained_in_the_documentation_and_used() -> None:
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    source = "".join(
        file.read_text(encoding="utf-8")
        for file in (ROOT / "src/authsvc/cli/diagnosis").glob("*.py")
    )

    assert list(TITLES) == re.findall(r"^\| `(AUTHSVC-[A-Z]+-\d{3})` \|", page, re.MULTILINE)
    assert {id_.removeprefix("AUTHSVC-") for id_ in TITLES} == set(
        re.findall(r'"([A-Z]{2,3}-\d{3})"', source)
    )


@pytest.mark.finding("11.2")
@pytest.mark.usefixtures("production")
@pytest.mark.parametrize(
    ("networks", "severity"),
    [(["198.51.100.1"] * 60, "warning"), ([f"198.51.100.{n // 2}" for n in range(60)], "ok")],
    ids=["backend-for-frontend", "as-usual"],
)
async def test_accounts_that_all_sign_in_from_one_address_are_noticed(
    run: Command, database_url: str, networks: list[str], severity: str
) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        for number, network in enumerate(networks):
            await connection.execute(
                "WITH one AS (INSERT INTO users (id, email, password_hash) "
                "VALUES (gen_random_uuid(), $1, '-') RETURNING id) "
                "INSERT INTO known_networks SELECT id, $2, now() FROM one",
                f"{number}@example.com",
                network.encode(),
            )
    finally:
        await connection.close()

    done = await run("doctor", "--json")

    assert severity == severities(done)["WEB-007"]
