"""`authsvc serve` from outside: what it prints, serves, keeps and leaves behind."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.cli.running import Running
from tests.support.key_material import put_mac, put_signing
from tests.support.other_user import AS_ROOT, NOBODY, python_for_everybody
from tests.support.waiting import HANGS, until

ACCOUNT = {"email": "alice@example.com", "password": "correct horse battery staple"}
NATIVE = {**ACCOUNT, "delivery": "native"}
CHEAP = {"ARGON2_MEMORY_KIB": "8", "ARGON2_TIME": "1"}

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's parent-death signal")


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """A directory whose cluster and keys are made once; others start on them."""
    directory = Path(tempfile.mkdtemp(prefix="authsvc serve "))
    yield directory
    shutil.rmtree(directory)


def test_one_command_brings_up_everything_and_ctrl_c_takes_it_down(home: Path) -> None:
    running = Running(home, CHEAP).ready()

    urls = re.findall(r"http://localhost:\d+\S*", running.complaint)
    answers = {url: running.request("GET", "/" + url.split("/", 3)[-1])[0] for url in urls[1:]}
    ipv4 = running.request("GET", "/readyz")
    registered, _ = running.request("POST", "/auth/register", ACCOUNT)
    code = running.end()

    assert f"http://localhost:{running.port}" == urls[0]
    assert answers
    assert {200} == set(answers.values())
    assert (200, "ok") == (ipv4[0], ipv4[1]["status"])
    assert 201 == registered
    assert str(home / "data") in running.complaint
    assert str(home / "keys") in running.complaint
    assert 0 == code
    assert [] == running.processes()
    with socket.create_server(("127.0.0.1", running.port)):
        pass


@pytest.mark.finding("P18")
@pytest.mark.parametrize("workers", ["1", "2"])
def test_stdout_has_the_log_as_json_and_nothing_else_to_its_last_line(
    home: Path, workers: str
) -> None:
    """Collectors take stdout for lines and stderr for errors; what people read is on stderr."""
    running = Running(home, {"WORKERS": workers, **CHEAP}).ready()
    running.request("GET", "/.well-known/jwks.json")
    code = running.end(signal.SIGTERM)

    events = [json.loads(line)["event"] for line in running.out]
    assert 0 == code
    assert "request" in events
    assert "Application shutdown complete." in events, "what was logged last is lost"
    assert "authsvc has stopped.\n" == running.err[-1]
    assert "{" not in running.complaint


@pytest.mark.finding("11.8")
def test_log_tells_of_a_key_that_was_repaired_before_the_workers_began(home: Path) -> None:
    earlier = datetime.now(UTC) - timedelta(days=1)
    name = put_signing(home / "keys", earlier)
    put_mac(home / "keys", earlier)
    (home / "keys" / name).chmod(0o644)

    running = Running(home, {"WORKERS": "2", **CHEAP}).ready()
    running.end()

    (told,) = (event for event in map(json.loads, running.out) if event["event"] == "key_problem")
    assert f"{name}: others can read this private key (mode 0644)" in told["problem"]
    assert 0o600 == (home / "keys" / name).stat().st_mode & 0o777


@pytest.mark.finding("P19")
@pytest.mark.parametrize("workers", ["1", "2"])
def test_log_that_is_not_read_stops_no_request(home: Path, tmp_path: Path, workers: str) -> None:
    """A pipe takes 64 KiB; 600 requests log three times as much."""
    os.mkfifo(tmp_path / "log")
    unread = os.open(tmp_path / "log", os.O_RDONLY | os.O_NONBLOCK)
    log = os.open(tmp_path / "log", os.O_WRONLY)
    running = Running(home, {"WORKERS": workers, **CHEAP}, stdout=log).ready()
    try:
        answers = {running.request("GET", "/.well-known/jwks.json")[0] for _ in range(600)}
        assert {200} == answers
    finally:
        assert 0 == running.end(signal.SIGTERM)
        os.close(unread)
        os.close(log)


@pytest.mark.finding("P19")
def test_full_disk_behind_the_log_stops_no_service_and_is_counted(home: Path) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    running = Running(home, {"WORKERS": "1", **CHEAP}, stdout=full).ready()
    try:
        running.request("GET", "/.well-known/jwks.json")
        status, metrics = running.request("GET", "/metrics")
    finally:
        assert 0 == running.end()
        os.close(full)

    assert 200 == status
    counted = re.search(r"\nauthsvc_log_lines_dropped_total ([0-9.]+)", metrics.decode())
    assert counted is not None
    assert float(counted[1]) >= 1


@pytest.mark.finding("11.6")
@linux
def test_soft_limit_of_open_files_is_raised_to_the_hard_one(home: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))
    try:
        running = Running(home, {"WORKERS": "1", **CHEAP}).ready()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    limits = resource.prlimit(running.process.pid, resource.RLIMIT_NOFILE)
    running.end()

    assert (hard, hard) == limits


def test_second_start_has_the_data_of_the_first(home: Path) -> None:
    running = Running(home, {"WORKERS": "1", **CHEAP}).ready()

    status, answer = running.request("POST", "/auth/login", NATIVE)
    code = running.end(signal.SIGTERM)

    assert 200 == status
    assert answer["access_token"]
    assert 0 == code
    assert [] == running.processes()


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6")
def test_both_loopbacks_are_served_and_nothing_else(home: Path) -> None:
    running = Running(home, {"WORKERS": "1"}).ready()
    try:
        assert 200 == running.request("GET", "/healthz", host="::1")[0]
        with pytest.raises(OSError, match="refused"):
            running.request("GET", "/healthz", host="127.0.0.2")
    finally:
        running.end()


@linux
@pytest.mark.parametrize("workers", ["1", "2"])
def test_kill_9_leaves_no_process(home: Path, workers: str) -> None:
    running = Running(home, {"WORKERS": workers}).ready()
    assert [] != running.processes()

    running.process.kill()
    running.wait()

    until(lambda: not running.processes())


@pytest.mark.requirement("Z4")
@pytest.mark.parametrize("workers", ["1", "2"])
def test_running_request_is_answered_after_sigterm_and_new_ones_are_refused(
    home: Path, workers: str
) -> None:
    running = Running(home, {"WORKERS": workers}).ready()
    body = b'{"email": "nobody@example.com", "password": "wrong password", "delivery": "native"}'
    head = (
        f"POST /auth/login HTTP/1.1\r\nHost: localhost:{running.port}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", running.port), timeout=HANGS) as connection:
        connection.sendall(head.encode() + body[:10])
        # Another connection's answer shows that the first has been accepted and read.
        assert 200 == running.request("GET", "/healthz")[0]
        os.kill(running.process.pid, signal.SIGTERM)
        until(lambda: refuses(running.port))
        connection.sendall(body[10:])
        answer = connection.recv(65536)

    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b"connection: close" in answer.lower()
    assert 0 == running.wait()


def refuses(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=HANGS).close()
    except ConnectionRefusedError:
        return True
    return False


def test_worker_that_dies_is_replaced(home: Path) -> None:
    running = Running(home).ready()
    before = set(running.workers())
    try:
        os.kill(min(before), signal.SIGKILL)
        until(lambda: len(set(running.workers()) - before) == 1 and len(running.workers()) == 2)
        assert 200 == running.request("GET", "/healthz")[0]
        assert 200 == running.request("GET", "/metrics")[0]
    finally:
        assert 0 == running.end()


@pytest.mark.finding("N05")
@pytest.mark.parametrize("workers", ["1", "2"])
def test_without_a_usable_database_it_says_so_instead_of_ready(home: Path, workers: str) -> None:
    nowhere = "postgresql://u@127.0.0.1:1/d"
    running = Running(home, {"WORKERS": workers, "DATABASE_URL": nowhere, "LOG_LEVEL": "error"})
    try:
        until(lambda: refuses(running.port) is False and "cannot work yet" in running.complaint)
        assert 503 == running.request("GET", "/readyz")[0]
    finally:
        running.end()

    (line,) = [line for line in running.complaint.splitlines() if "cannot work yet" in line]
    assert "nothing listens there" in line
    assert "`authsvc doctor`" in line
    assert "is ready" not in running.output + running.complaint


@pytest.mark.finding("N05")
def test_an_empty_database_is_named_with_the_command_to_run(
    home: Path, empty_database_url: str
) -> None:
    settings = {"WORKERS": "1", "DATABASE_URL": empty_database_url, "LOG_LEVEL": "error"}
    running = Running(home, settings)
    try:
        until(lambda: "cannot work yet" in running.complaint)
    finally:
        running.end()

    assert "the schema is empty" in running.complaint
    assert "`authsvc db upgrade`" in running.complaint


@pytest.mark.finding("N25")
def test_busy_port_is_one_line_that_says_what_to_do(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        running = Running(tmp_path, {"PORT": str(port)})
        code = running.wait()

    assert 1 == code
    assert 1 == len(running.complaint.splitlines())
    assert f"Port {port} is taken" in running.complaint
    assert "AUTHSVC_PORT, or with --port" in running.complaint
    assert "make run" not in running.complaint
    assert not (tmp_path / "data").exists()


def test_second_server_on_the_same_data_is_refused_and_names_the_first(home: Path) -> None:
    first = Running(home, {"WORKERS": "1"}).ready()
    second = Running(home, {"WORKERS": "1"})
    try:
        assert 1 == second.wait()
        assert 1 == len(second.complaint.splitlines())
        assert f"(process {first.process.pid})" in second.complaint
        assert 200 == first.request("GET", "/readyz")[0]
    finally:
        assert 0 == first.end()


def test_unwritable_data_directory_is_a_temporary_one_and_a_loud_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    running = Running(
        tmp_path, {"DATA_DIR": str(tmp_path / "file" / "data"), "WORKERS": "1"}
    ).ready()

    place = re.search(r"data  (\S+)", running.complaint)
    status, _ = running.request("GET", "/readyz")
    running.end()

    assert "NOT PERSISTENT" in running.complaint
    assert 200 == status
    assert place is not None
    assert not Path(place[1]).exists()


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"ACCESS_TTL": "soon"}, ["AUTHSVC_ACCESS_TTL"]),
        ({"HOST": "192.0.2.1"}, ["192.0.2.1", "AUTHSVC_HOST"]),
        ({"ENV": "production"}, ["AUTHSVC_DATABASE_URL", "AUTHSVC_ISSUER"]),
        (
            {
                "ENV": "production",
                "ISSUER": "https://auth.example.com",
                "DATABASE_URL": "postgresql://u@127.0.0.1:1/d",
                "KEYS_DIR": "absent",
            },
            ["absent", "authsvc keys"],
        ),
    ],
    ids=["value", "address", "production", "production-without-keys"],
)
def test_start_that_cannot_succeed_says_why_and_leaves_nothing(
    tmp_path: Path, settings: dict[str, str], named: list[str]
) -> None:
    running = Running(tmp_path, settings)

    assert 1 == running.wait()
    assert all(name in running.complaint for name in named), running.complaint
    assert "Traceback" not in running.complaint
    assert [] == list(tmp_path.iterdir())


@linux
@pytest.mark.skipif(not AS_ROOT, reason="only root can become another user")
def test_normal_user_can_run_it_with_a_read_only_home() -> None:
    python = python_for_everybody()
    if python is None:
        pytest.skip("no Python here that another user can run")
    directory = Path(tempfile.mkdtemp(prefix="authsvc user "))
    os.chown(directory, NOBODY, NOBODY)
    running = Running(directory, {"WORKERS": "1", **CHEAP}, user=NOBODY, python=python).ready()
    try:
        assert 201 == running.request("POST", "/auth/register", ACCOUNT)[0]
        assert NOBODY == (directory / "data" / "postgres").stat().st_uid
    finally:
        assert 0 == running.end()
    assert [] == running.processes()
    shutil.rmtree(directory)
