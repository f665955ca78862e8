"""
What docker-compose.yml promises, as far as it can be known without an engine.

No engine runs it here: docs/deployment.md says what that leaves open.
"""

from __future__ import annotations

import re
import subprocess
import sys
from ipaddress import ip_network
from typing import Any

import pytest

from authsvc.cli import processes
from authsvc.settings import Settings
from tests.support.deploy_files import ROOT, compose, exec_form, stages

COMPOSE = compose()
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
JOBS = {"password", "keys", "migrate"}
OURS = {*JOBS, "authsvc"}
SERVERS = set(SERVICES) - JOBS
NGINX = (ROOT / "deploy/nginx.conf").read_text()
DONE, HEALTHY = "service_completed_successfully", "service_healthy"

each_service = pytest.mark.parametrize("name", SERVICES)


def environment(name: str) -> dict[str, str]:
    """The variables of a service, as text."""
    return {key: str(value) for key, value in SERVICES[name].get("environment", {}).items()}


def test_the_stack_is_a_database_two_replicas_a_proxy_and_a_mail_catcher() -> None:
    assert {*OURS, "postgres", "proxy", "mailpit"} == set(SERVICES)
    assert 2 == SERVICES["authsvc"]["deploy"]["replicas"]


@each_service
def test_images_are_named_by_a_version(name: str) -> None:
    repository, _, tag = SERVICES[name]["image"].partition(":")

    if name in OURS:
        assert ("authsvc", "local") == (repository, tag)
    else:
        assert re.search(r"\d", tag), SERVICES[name]["image"]


def test_one_service_builds_the_image_and_all_others_of_ours_wait_for_it() -> None:
    """Two that build the same name at once get in each other's way."""
    assert ["password"] == [name for name, service in SERVICES.items() if "build" in service]
    for name in OURS - {"password"}:
        assert "never" == SERVICES[name]["pull_policy"]
        assert "password" in _waits_for(name)
    arguments = SERVICES["password"]["build"]["args"]
    declared = {arg.partition("=")[0] for stage in stages() for arg in stage.all("ARG")}
    assert set(arguments) <= declared


@pytest.mark.parametrize(
    ("name", "conditions"),
    [
        ("password", {}),
        ("postgres", {"password": DONE}),
        ("keys", {"password": DONE}),
        ("migrate", {"password": DONE, "postgres": HEALTHY}),
        ("authsvc", {"keys": DONE, "migrate": DONE, "postgres": HEALTHY}),
        ("proxy", {"authsvc": HEALTHY}),
        ("mailpit", {}),
    ],
)
def test_nothing_starts_before_what_it_needs(name: str, conditions: dict[str, str]) -> None:
    found = SERVICES[name].get("depends_on", {})

    assert conditions == {needed: entry["condition"] for needed, entry in found.items()}


@pytest.mark.parametrize("name", sorted(SERVERS))
def test_servers_are_restarted_and_watched(name: str) -> None:
    check = SERVICES[name]["healthcheck"]

    assert "unless-stopped" == SERVICES[name]["restart"]
    assert "CMD" == check["test"][0]
    assert {"interval", "timeout", "retries", "start_period"} < set(check)


@pytest.mark.parametrize("name", sorted(JOBS))
def test_jobs_run_once(name: str) -> None:
    assert "no" == SERVICES[name]["restart"]
    assert {"disable": True} == SERVICES[name]["healthcheck"]


@pytest.mark.parametrize("name", sorted(OURS - {"password"}))
def test_commands_exist(name: str) -> None:
    command = SERVICES[name]["command"]
    words = [word for word in command if not word.startswith("-")]
    options = [word for word in command if word.startswith("-")]

    answer = subprocess.run(
        [sys.executable, "-m", "authsvc", *words, "--help"],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert 0 == answer.returncode, answer.stderr
    assert f"authsvc {' '.join(words)}" in answer.stdout
    assert all(option in answer.stdout for option in options)


def test_the_health_check_is_that_of_the_image() -> None:
    assert SERVICES["authsvc"]["healthcheck"]["test"][1:] == exec_form(
        stages()[-1].last("HEALTHCHECK")
    )


@pytest.mark.parametrize("name", sorted(OURS - {"password"}))
def test_settings_are_known_and_accepted(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    known = {f"AUTHSVC_{field.upper()}" for field in Settings.model_fields}
    ours = environment(name)
    for key, value in ours.items():
        monkeypatch.setenv(key, value)

    settings = Settings.load()

    assert set(ours) <= known
    assert not settings.production
    assert "http://localhost:8000" == settings.issuer


@pytest.mark.requirement("L3")
def test_exactly_the_network_of_the_proxy_is_trusted() -> None:
    """Whoever is believed can claim any client address and dodge the throttle."""
    [entry] = COMPOSE["networks"]["proxy"]["ipam"]["config"]
    members = {name for name, service in SERVICES.items() if "proxy" in service.get("networks", [])}

    assert entry["subnet"] == environment("authsvc")["AUTHSVC_TRUSTED_PROXIES"]
    assert ip_network(entry["subnet"]).is_private
    assert {"proxy", "authsvc"} == members


@pytest.mark.requirement("L3")
def test_the_proxy_sets_what_the_replicas_believe() -> None:
    """Appending to what the client sent would let the client choose."""
    assert "proxy_set_header X-Forwarded-For $remote_addr;" in NGINX
    assert "proxy_set_header X-Forwarded-Proto $scheme;" in NGINX
    assert "proxy_set_header Host $http_host;" in NGINX
    assert "$proxy_add_x_forwarded_for" not in NGINX


def test_the_proxy_reaches_the_replicas_and_is_reached_where_it_listens() -> None:
    [port] = stages()[-1].all("EXPOSE")
    [published] = SERVICES["proxy"]["ports"]

    assert f"server authsvc:{port} resolve" in NGINX
    assert [port] == SERVICES["authsvc"]["expose"]
    assert f"listen {published.rsplit(':')[-1]};" in NGINX


def test_the_proxy_lets_go_of_an_idle_connection_before_a_replica_does() -> None:
    kept = re.search(r"upstream authsvc \{.*?keepalive_timeout (\d+)s;", NGINX, re.DOTALL)

    assert kept is not None
    assert int(kept[1]) < processes.KEEP_ALIVE


def test_a_replica_may_finish_what_it_does() -> None:
    """The supervisor waits twice the grace for workers that hang, then ends them itself."""
    assert 2 * processes.GRACE < int(SERVICES["authsvc"]["stop_grace_period"].removesuffix("s"))


def test_ports_are_published_to_this_machine_only() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}

    assert {"proxy": ["127.0.0.1:8000:8080"], "mailpit": ["127.0.0.1:8025:8025"]} == published


def test_the_database_is_reached_by_its_clients_only() -> None:
    assert COMPOSE["networks"]["database"]["internal"] is True
    assert {"postgres", "migrate", "authsvc"} == {
        name for name, service in SERVICES.items() if "database" in service.get("networks", [])
    }


@each_service
def test_containers_can_do_little(name: str) -> None:
    service = SERVICES[name]
    limits = service["deploy"]["resources"]["limits"]

    assert service["read_only"] is True
    assert ["ALL"] == service["cap_drop"]
    assert "cap_add" not in service
    assert "privileged" not in service
    assert ["no-new-privileges:true"] == service["security_opt"]
    assert {"cpus", "memory", "pids"} == set(limits)
    assert all(0 < int(number) for number in service["user"].split(":"))
    assert any(mount.startswith("/tmp:") for mount in service["tmpfs"])  # noqa: S108


def test_our_containers_run_as_the_user_of_the_image() -> None:
    assert {stages()[-1].last("USER")} == {SERVICES[name]["user"] for name in OURS}


@pytest.mark.requirement("S2")
@pytest.mark.parametrize(
    ("volume", "writer"), [("keys", "keys"), ("database-password", "password")]
)
def test_secrets_are_written_by_their_job_and_read_by_who_needs_them(
    volume: str, writer: str
) -> None:
    mounts = {
        name: mount
        for name, service in SERVICES.items()
        for mount in service.get("volumes", [])
        if mount.startswith(f"{volume}:")
    }

    writable = {name for name, mount in mounts.items() if not mount.endswith(":ro")}
    readers = {"keys": {"authsvc"}, "database-password": {"migrate", "authsvc", "postgres"}}
    assert {writer} == writable
    assert readers[volume] == set(mounts) - writable
    assert "none" == SERVICES[writer]["network_mode"]


@pytest.mark.requirement("S2")
@each_service
def test_no_secret_stands_in_the_file(name: str) -> None:
    for key, value in environment(name).items():
        assert not re.search(r"(PASSWORD|SECRET|TOKEN|PASSPHRASE)$", key)
        assert not re.search(r"//[^/@]*:[^/@]*@", value), key


@each_service
def test_files_and_volumes_that_are_mounted_exist(name: str) -> None:
    for mount in SERVICES[name].get("volumes", []):
        source = mount.partition(":")[0]
        if source.startswith("."):
            assert (ROOT / source).is_file()
        else:
            assert source in COMPOSE["volumes"]
    for network in SERVICES[name].get("networks", []):
        assert network in COMPOSE["networks"]


def _waits_for(name: str) -> set[str]:
    """Whoever has to be there first, by any way."""
    direct = set(SERVICES[name].get("depends_on", {}))
    return direct.union(*(_waits_for(needed) for needed in direct))
