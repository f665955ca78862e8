"""The two programs of deploy/, run the way containers run them."""

from __future__ import annotations

import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from tests.support.deploy_files import ROOT
from tests.support.http_server import http_server

EVERYWHERE = "0.0.0.0"  # noqa: S104  # as in the image


@dataclass
class Service:
    """Answers as it is told, and remembers by which names it was asked."""

    port: int = 0
    status: int = 200
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def service() -> Iterator[Service]:
    seen = Service()

    def answer(handler: BaseHTTPRequestHandler) -> None:
        seen.asked.append(f"{handler.headers['Host']} {handler.path}")
        handler.send_response(seen.status)
        handler.end_headers()

    with http_server(answer) as seen.port:
        yield seen


def check(**environment: str) -> subprocess.CompletedProcess[str]:
    return run("healthcheck.py", **environment)


def run(script: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-I", str(ROOT / "deploy" / script), *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("environment", "host"),
    [
        ({}, "localhost"),
        ({"AUTHSVC_ISSUER": "http://localhost:8000"}, "localhost:8000"),
        ({"AUTHSVC_ISSUER": "https://auth.example.com"}, "auth.example.com"),
        (
            {
                "AUTHSVC_ISSUER": "https://auth.example.com",
                "AUTHSVC_ALLOWED_HOSTS": "internal.example.com, auth.example.com",
            },
            "internal.example.com",
        ),
    ],
    ids=["nothing set", "local stack", "production", "own list"],
)
def test_the_health_check_asks_by_a_name_that_is_allowed(
    service: Service, environment: dict[str, str], host: str
) -> None:
    """In production a request for 127.0.0.1 is refused: it is none of authsvc's names."""
    answer = check(AUTHSVC_HOST=EVERYWHERE, AUTHSVC_PORT=str(service.port), **environment)

    assert 0 == answer.returncode, answer.stderr
    assert [f"{host} /healthz"] == service.asked


@pytest.mark.finding("P01", "P34")
def test_the_health_check_finds_the_port_as_the_service_does(service: Service) -> None:
    answer = check(AUTHSVC_PORT="tcp://10.96.14.7:8000", PORT=str(service.port))

    assert 0 == answer.returncode, answer.stderr


def test_a_service_that_refuses_is_not_healthy(service: Service) -> None:
    service.status = 400

    answer = check(AUTHSVC_PORT=str(service.port))

    assert 1 == answer.returncode
    assert "/healthz answers 400 to Host localhost" in answer.stderr


def test_a_service_that_does_not_answer_is_not_healthy(service: Service) -> None:
    answer = check(AUTHSVC_HOST="127.0.0.9", AUTHSVC_PORT=str(service.port))

    assert 1 == answer.returncode
    assert "127.0.0.9" in answer.stderr


def test_the_database_password_is_made_once_and_told_to_both_sides(tmp_path: Path) -> None:
    first = run("database_password.py", str(tmp_path))
    password = (tmp_path / "password").read_text()
    again = run("database_password.py", str(tmp_path))

    assert (0, 0) == (first.returncode, again.returncode), first.stderr + again.stderr
    assert len(password.strip()) >= 40
    assert password == (tmp_path / "password").read_text()
    assert f"*:*:*:*:{password}" == (tmp_path / "pgpass").read_text()
    assert {"password", "pgpass"} == {path.name for path in tmp_path.iterdir()}
    assert password.strip() not in first.stdout + first.stderr


def test_the_pgpass_file_is_one_that_clients_accept(tmp_path: Path) -> None:
    """Clients (libpq, asyncpg) ignore one that anybody else can read; postgres has another user."""
    run("database_password.py", str(tmp_path))

    assert 0o600 == stat.S_IMODE((tmp_path / "pgpass").stat().st_mode)
    assert 0o444 == stat.S_IMODE((tmp_path / "password").stat().st_mode)
