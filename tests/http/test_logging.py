"""A log line is one line, can be read by a program, and holds no secret."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import structlog
from pydantic import SecretStr

from authsvc.observe.logging import configure_logging, request_id_var
from authsvc.observe.redaction import CUT, redacted
from authsvc.settings import Settings
from authsvc_client.tokens.secret import Secret, SecretBytes

CANARY = "canary7f3a9c"
TOKEN = "eyJhbGciOiJSUzI1NiIsInR5cCI6ImF0K2p3dCJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"


class Holder:
    def __repr__(self) -> str:
        return CANARY


class Log:
    """What was written: JSON to stdout, lines for people to stderr, and nothing to the other."""

    def __init__(self, capsys: pytest.CaptureFixture[str], log_format: str = "json") -> None:
        self._capsys = capsys
        self._is_json = log_format == "json"

    def text(self) -> str:
        out, err = self._capsys.readouterr()
        written, other = (out, err) if self._is_json else (err, out)
        assert "" == other
        return written

    def one(self) -> dict[str, Any]:
        (line,) = self.text().splitlines()
        parsed: dict[str, Any] = json.loads(line)
        return parsed


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Leave the process's logging as other tests expect it."""
    yield
    configure_logging(Settings.load(log_format="json", log_level="warning"))


@pytest.fixture
def as_json(capsys: pytest.CaptureFixture[str]) -> Log:
    configure_logging(Settings.load(log_format="json", log_level="info"))
    return Log(capsys)


@pytest.fixture
def on_a_terminal(capsys: pytest.CaptureFixture[str]) -> Log:
    configure_logging(Settings.load(log_format="console", log_level="info"))
    return Log(capsys, "console")


def test_a_json_line_has_time_level_event_and_the_request_it_belongs_to(as_json: Log) -> None:
    token = request_id_var.set("6d1b2b0a")
    structlog.get_logger().warning("key_problem", file="a.pem")
    request_id_var.reset(token)

    line = as_json.one()
    moment = datetime.fromisoformat(line.pop("timestamp"))
    assert abs(datetime.now(UTC) - moment) < timedelta(minutes=1)
    assert {
        "level": "warning",
        "event": "key_problem",
        "request_id": "6d1b2b0a",
        "file": "a.pem",
    } == line


def test_the_standard_library_logs_in_the_same_form(as_json: Log) -> None:
    logging.getLogger("uvicorn.error").info("Started server process [%d]", 7)

    assert {
        "level": "info",
        "event": "Started server process [7]",
        "logger": "uvicorn.error",
    }.items() <= as_json.one().items()


def test_uvicorn_writes_no_access_log_of_its_own(as_json: Log) -> None:
    logging.getLogger("uvicorn.access").info('GET /auth/me?access_token=x HTTP/1.1" 200')

    assert "" == as_json.text()


def test_libraries_that_talk_much_are_heard_from_warnings_on(as_json: Log) -> None:
    for name in ("sqlalchemy.engine", "asyncio", "httpx"):
        logging.getLogger(name).info("SELECT 1")

    assert "" == as_json.text()


def test_a_badly_formatted_record_is_logged_all_the_same(as_json: Log) -> None:
    record = logging.makeLogRecord({"msg": "%d of %d", "args": ("one",), "levelname": "ERROR"})

    # Not through a logger: pytest's own handler would fail the test.
    for handler in logging.getLogger().handlers:
        if handler.__module__ == "authsvc.observe.logging":
            handler.emit(record)

    assert "%d of %d" == as_json.one()["event"]


def test_configuring_twice_does_not_write_twice(as_json: Log) -> None:
    configure_logging(Settings.load(log_format="json", log_level="info"))

    logging.getLogger("library").error("once")

    assert "once" == as_json.one()["event"]


@pytest.mark.parametrize(
    ("level", "written"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)]
)
def test_the_level_decides_for_everybody(
    capsys: pytest.CaptureFixture[str], level: str, written: int
) -> None:
    configure_logging(Settings.load(log_format="json", log_level=level))

    for log in (structlog.get_logger(), logging.getLogger("library")):
        for name in ("debug", "info", "warning", "error"):
            getattr(log, name)("event")

    assert 2 * written == len(Log(capsys).text().splitlines())


@pytest.mark.requirement("S3")
@pytest.mark.parametrize(
    "fields",
    [
        {"value": Secret(CANARY)},
        {"value": SecretBytes(CANARY.encode())},
        {"value": SecretStr(CANARY)},
        {"value": {"inner": [Secret(CANARY)]}},
        {"value": Holder()},
        {"password": CANARY},
        {"new_password": CANARY},
        {"refresh_token": CANARY},
        {"Authorization": CANARY},
        {"headers": {"Cookie": CANARY}},
        {"idempotency_key": CANARY.encode()},
        {"value": CANARY.encode()},
        {"value": TOKEN},
        {"value": f"art1.{CANARY}"},
        {"value": f"acs1.{CANARY}"},
        {"client_assertion": CANARY},
        {"value": f"Bearer {CANARY}"},
        {"value": f"postgresql://user:{CANARY}@host/name"},
        {"value": f"postgresql://:{CANARY}@host/name"},
        {"value": f"$argon2id$v=19$m=8,t=1,p=1${CANARY}${CANARY}"},
        {"value": f"Cookie: a=b; authsvc_refresh={CANARY}"},
        {"value": f"set-cookie: a={CANARY}; Path=/auth"},
        {"value": f"{{'authorization': 'Token {CANARY}'}}"},
        {"value": f"[(b'cookie', b'{CANARY}')]"},
        {"value": f'{{"password":"{CANARY}\\"{CANARY}"}}'},
        {"value": f"password={CANARY}&email=a"},
        {"value": f"AUTHSVC_KEYS_PASSPHRASE: {CANARY}"},
        {"value": f"X-CSRF-Token: {CANARY}"},
        {"value": f"Idempotency-Key: {CANARY}"},
        {"value": f"client_secret = {CANARY}"},
        {"value": f"-----BEGIN PRIVATE KEY-----\n{CANARY}\n-----END PRIVATE KEY-----"},
        {"value": f"-----BEGIN RSA PRIVATE KEY-----\n{CANARY}"},
        {
            "value": "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n"
            f"DEK-Info: AES-256-CBC,00\n\n{CANARY}\n-----END RSA PRIVATE KEY-----"
        },
        {"value": ["fine", {"deep": f"refresh_token: {CANARY}"}]},
    ],
    ids=repr,
)
@pytest.mark.parametrize("log_format", ["json", "console"])
def test_no_secret_is_written_in_whatever_form_it_comes(
    capsys: pytest.CaptureFixture[str], fields: dict[str, Any], log_format: str
) -> None:
    configure_logging(Settings.load(log_format=log_format, log_level="info"))

    structlog.get_logger().info("event", **fields)
    if isinstance(fields.get("value"), str | SecretBytes):
        logging.getLogger("library").warning("received %s", fields["value"])

    written = Log(capsys, log_format).text()
    assert CANARY not in written
    assert TOKEN not in written
    assert "event" in written


@pytest.mark.requirement("S3")
def test_a_secret_inside_a_message_of_a_library_is_cut_out(as_json: Log) -> None:
    logging.getLogger("library").warning("connecting to postgresql://u:%s@h/n", CANARY)

    assert f"connecting to postgresql://{CUT}@h/n" == as_json.one()["event"]


@pytest.mark.parametrize(
    "text",
    [
        "cookie and body",
        "authorization twice",
        "content-type twice",
        "invalid_refresh_token",
        "current_password_wrong",
        "no metrics token",
        "http://localhost:8000/docs",
        "password changed",
    ],
)
def test_what_is_no_secret_stays_readable(text: str) -> None:
    assert text == redacted(text)


def test_plain_values_are_written_plainly(as_json: Log) -> None:
    structlog.get_logger().info(
        "event",
        number=1,
        share=0.5,
        nothing=None,
        yes=True,
        id=UUID(int=1),
        at=datetime(2026, 11, 22, tzinfo=UTC),
        wait=timedelta(seconds=1),
        path=Path("keys"),
        several=("a", {"b"}),
        long="x" * 10_000,
    )

    line = as_json.one()
    assert (1, 0.5, None, True) == tuple(line[k] for k in ("number", "share", "nothing", "yes"))
    assert ("00000000-0000-0000-0000-000000000001", "keys") == (line["id"], line["path"])
    assert ("2026-11-22 00:00:00+00:00", "0:00:01") == (line["at"], line["wait"])
    assert ["a", ["b"]] == line["several"]
    assert len(line["long"]) < 5000


@pytest.mark.requirement("S4")
@pytest.mark.parametrize(
    "attack",
    [
        'x\n{"level":"info","event":"forged"}',
        "x\r\nforged",
        "x\x1b[31mred\x1b]0;title\x07",
        "x\x00\x7f\x9b31m",
        "x\u2028forged\u2029\x85",
        "x\u202eforged\u2066",
    ],
    ids=repr,
)
@pytest.mark.parametrize("log_format", ["json", "console"])
def test_no_value_can_forge_a_line_or_colour_a_terminal(
    capsys: pytest.CaptureFixture[str], attack: str, log_format: str
) -> None:
    configure_logging(Settings.load(log_format=log_format, log_level="info"))

    structlog.get_logger().info("event", value=attack, nested={attack: [attack]})
    logging.getLogger("library").warning(attack)

    written = Log(capsys, log_format).text()
    assert 2 == written.count("\n")
    assert written.replace("\n", "").isprintable()


def broken(secret: str) -> None:
    try:
        raise ValueError(secret)
    except ValueError as exc:
        raise KeyError(secret) from exc


@pytest.mark.requirement("S3", "H3")
@pytest.mark.parametrize("log_format", ["json", "console"])
def test_an_exception_is_logged_with_types_and_places_but_without_values(
    capsys: pytest.CaptureFixture[str], log_format: str
) -> None:
    configure_logging(Settings.load(log_format=log_format, log_level="info"))

    try:
        broken(CANARY)
    except KeyError:
        structlog.get_logger().exception("failed")
        logging.getLogger("asyncio").exception("failed")

    written = Log(capsys, log_format).text()
    assert CANARY not in written
    for part in ("ValueError", "KeyError", "test_logging.py", "in broken"):
        assert 2 <= written.count(part)


def test_an_exception_tells_the_numbers_that_mean_something(as_json: Log) -> None:
    structlog.get_logger().error("failed", exc_info=FileNotFoundError(2, "x", CANARY))

    assert ["FileNotFoundError (errno 2)"] == as_json.one()["exception"]


def test_exceptions_that_name_each_other_in_a_circle_are_logged_once(as_json: Log) -> None:
    first, second = ValueError(), KeyError()
    first.__context__, second.__context__ = second, first

    structlog.get_logger().error("failed", exc_info=first)

    assert ["KeyError", "ValueError"] == as_json.one()["exception"]


def test_a_log_that_cannot_be_written_fails_no_request(
    as_json: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        def write(self, text: str) -> int:
            del text
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(sys, "stdout", Full())

    structlog.get_logger().error("failed")
    logging.getLogger("library").error("failed")

    monkeypatch.undo()
    assert "" == as_json.text()


def test_a_line_for_people_reads_well(on_a_terminal: Log) -> None:
    structlog.get_logger().info("request", method="GET", route="/auth/me", status=200)

    line = on_a_terminal.text()
    assert 1 == line.count("\n")
    for part in ("info", "request", "method=GET", "route=/auth/me", "status=200"):
        assert part in line
