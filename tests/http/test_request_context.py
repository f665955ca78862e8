"""Every request gets an id, a deadline, an answer with our headers, and one line in the log."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import httpx
import pytest
import structlog
from fastapi import APIRouter, FastAPI, Request, Response
from starlette.responses import StreamingResponse

from authsvc.http.wire import Edge
from authsvc.protocol.errors import EmailTaken
from authsvc.settings import Settings
from tests.support.small import CLIENT, application, client_of

CANARY = "canary-7f3a9c"
PAGE_POLICY = "default-src 'self'"


def endpoints() -> APIRouter:
    router = APIRouter()

    @router.get("/auth/things/{thing}")
    async def thing(thing: str) -> str:
        return thing

    @router.get("/auth/taken")
    async def taken() -> None:
        raise EmailTaken("users_email_key")

    @router.get("/page")
    async def page() -> Response:
        headers = {"Cache-Control": "public", "Content-Security-Policy": PAGE_POLICY}
        return Response("page", headers=headers)

    @router.get("/auth/id")
    async def identifier(request: Request) -> str:
        identifier: str = request.state.request_id
        return identifier

    @router.get("/healthz")
    async def healthz() -> str:
        return "ok"

    return router


def defects() -> APIRouter:
    router = APIRouter()

    @router.get("/auth/broken")
    async def broken() -> None:
        raise RuntimeError(CANARY)

    @router.get("/auth/breaks-off")
    async def breaks_off() -> Response:
        async def parts() -> AsyncIterator[bytes]:
            yield b"half"
            raise RuntimeError(CANARY)

        return StreamingResponse(parts())

    @router.get("/auth/never")
    async def never() -> None:
        await asyncio.Event().wait()

    @router.get("/auth/slow-reader")
    async def slow_reader() -> Response:
        async def parts() -> AsyncIterator[bytes]:
            yield b"first, "
            later = asyncio.Event()
            asyncio.get_running_loop().call_later(0.05, later.set)
            await later.wait()
            yield b"last"

        return StreamingResponse(parts())

    return router


@pytest.fixture
def app() -> FastAPI:
    return application(endpoints(), defects(), log_level="info")


@pytest.fixture
def client(app: FastAPI) -> httpx.AsyncClient:
    return client_of(app)


class Lines:
    """What the log got since it was last asked."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def read(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._capsys.readouterr().out.splitlines()]


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Lines:
    return Lines(capsys)


def impatient(app: FastAPI) -> Edge:
    """The same, with a deadline that passes at once."""
    edge = Edge(app, settings=Settings.load())
    edge._deadline = 0.01
    return edge


async def test_every_request_has_an_id_of_its_own_that_nobody_chooses(
    client: httpx.AsyncClient,
) -> None:
    answers = [await client.get("/auth/id", headers={"x-request-id": CANARY}) for _ in range(3)]

    ids = {answer.headers["x-request-id"] for answer in answers}
    assert 3 == len(ids)
    assert all(UUID(identifier).version == 4 for identifier in ids)
    assert ids == {answer.json() for answer in answers}


@pytest.mark.requirement("H1", "H2")
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/auth/things/1"),
        ("GET", "/auth/taken"),
        ("GET", "/nowhere"),
        ("GET", "/auth/broken"),
        ("POST", "/auth/things/1"),
    ],
)
async def test_every_answer_carries_the_security_headers(
    client: httpx.AsyncClient, method: str, path: str
) -> None:
    answer = await client.request(method, path)

    assert {
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "x-frame-options": "DENY",
        "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "cache-control": "no-store",
    }.items() <= answer.headers.items()
    assert "server" not in answer.headers
    assert "strict-transport-security" not in answer.headers


@pytest.mark.requirement("H2")
async def test_over_tls_browsers_are_told_to_stay_there() -> None:
    issuer = "https://auth.example.com"

    answer = await client_of(application(issuer=issuer), base_url=issuer).get("/")

    assert "max-age=31536000; includeSubDomains" == answer.headers["strict-transport-security"]


async def test_what_an_endpoint_says_about_itself_stands(client: httpx.AsyncClient) -> None:
    answer = await client.get("/page")

    assert ["public"] == answer.headers.get_list("cache-control")
    assert [PAGE_POLICY] == answer.headers.get_list("content-security-policy")


@pytest.mark.requirement("H3")
async def test_a_defect_is_a_500_that_says_nothing_and_a_log_that_says_where(
    client: httpx.AsyncClient, lines: Lines
) -> None:
    answer = await client.get("/auth/broken")

    assert (500, "internal_error") == (answer.status_code, answer.json()["code"])
    logged, request = lines.read()
    assert ("unhandled_exception", "error") == (logged["event"], logged["level"])
    assert answer.headers["x-request-id"] == logged["request_id"] == request["request_id"]
    assert "RuntimeError" == logged["exception"][-1]
    assert "in broken" in logged["exception"][-2]
    assert CANARY not in answer.text + json.dumps(logged) + json.dumps(request)
    assert "Traceback" not in answer.text


async def test_an_answer_that_breaks_off_is_cut_and_not_completed(
    client: httpx.AsyncClient, lines: Lines
) -> None:
    with pytest.raises(AssertionError):  # httpx: the answer never ended
        await client.get("/auth/breaks-off")

    logged, request = lines.read()
    assert "unhandled_exception" == logged["event"]
    assert ("internal_error", 200) == (request["code"], request["status"])


@pytest.mark.requirement("Z1")
async def test_no_request_waits_longer_than_the_deadline(app: FastAPI) -> None:
    answer = await client_of(impatient(app)).get("/auth/never")

    assert (503, "database_unavailable") == (answer.status_code, answer.json()["code"])
    assert "1" == answer.headers["retry-after"]


async def test_an_answer_that_has_begun_has_no_deadline(app: FastAPI) -> None:
    answer = await client_of(impatient(app)).get("/auth/slow-reader")

    assert "first, last" == answer.text


async def test_the_deadline_leaves_a_login_its_turn_in_the_queue() -> None:
    patient = Edge(application(), settings=Settings.load(hash_queue_seconds=10.0))

    assert 13.0 == patient._deadline


async def test_a_client_that_goes_away_is_not_an_error(app: FastAPI, lines: Lines) -> None:
    sent: list[Any] = []

    async def gone() -> dict[str, str]:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    head = [(b"host", b"localhost"), (b"content-length", b"9")]
    scope = {"type": "http", "method": "POST", "path": "/auth/taken", "query_string": b""}
    await app({**scope, "headers": head, "client": ("::1", 1)}, gone, send)

    assert [] == sent
    assert [(499, "info")] == [(line["status"], line["level"]) for line in lines.read()]


async def test_a_web_socket_is_refused(app: FastAPI) -> None:
    sent: list[Any] = []

    async def receive() -> dict[str, str]:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    await app({"type": "websocket", "path": "/", "headers": []}, receive, send)

    assert [{"type": "websocket.close"}] == sent


@pytest.mark.requirement("S4")
async def test_a_request_is_one_line_with_the_template_and_nothing_that_was_sent(
    client: httpx.AsyncClient, lines: Lines
) -> None:
    answer = await client.get(
        f"/auth/things/{CANARY}?access_token={CANARY}",
        headers={"authorization": f"Bearer {CANARY}", "cookie": CANARY, "user-agent": CANARY},
    )

    (line,) = lines.read()
    assert {
        "level": "info",
        "event": "request",
        "request_id": answer.headers["x-request-id"],
        "method": "GET",
        "route": "/auth/things/{thing}",
        "status": 200,
        "client": CLIENT,
    }.items() <= line.items()
    assert {"timestamp", "duration_ms"} == set(line) - {
        "level", "event", "request_id", "method", "route", "status", "client",
    }  # fmt: skip
    assert CANARY not in json.dumps(line)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/auth/taken", {"code": "email_taken", "detail": "users_email_key", "level": "info"}),
        ("/" + CANARY, {"route": "unmatched", "code": "not_found", "level": "info"}),
    ],
)
async def test_a_refusal_is_logged_with_its_cause(
    client: httpx.AsyncClient, lines: Lines, path: str, expected: dict[str, str]
) -> None:
    await client.get(path)

    (line,) = lines.read()
    assert expected.items() <= line.items()
    assert CANARY not in json.dumps(line)


async def test_an_answer_of_5xx_is_a_warning(client: httpx.AsyncClient, lines: Lines) -> None:
    await client.get("/auth/broken")

    assert ["error", "warning"] == [line["level"] for line in lines.read()]


async def test_probes_do_not_fill_the_log(client: httpx.AsyncClient, lines: Lines) -> None:
    await client.get("/healthz")

    assert [] == lines.read()


async def test_below_the_level_nothing_is_written(lines: Lines) -> None:
    client = client_of(application(endpoints(), log_level="warning"))

    await client.get("/auth/taken")

    assert [] == lines.read()


async def test_the_id_is_on_every_line_of_a_request_and_on_no_other(
    client: httpx.AsyncClient, lines: Lines
) -> None:
    await asyncio.gather(*[client.get("/auth/broken") for _ in range(5)])

    by_id: dict[str, list[str]] = {}
    for line in lines.read():
        by_id.setdefault(line["request_id"], []).append(line["event"])
    assert [["unhandled_exception", "request"]] * 5 == list(by_id.values())


@pytest.mark.requirement("S3")
async def test_an_application_without_a_configured_log_does_not_print_local_variables(
    capsys: pytest.CaptureFixture[str],
) -> None:
    app = application(defects())
    structlog.reset_defaults()

    await client_of(app).get("/auth/broken")

    assert structlog.is_configured()
    assert CANARY not in "".join(capsys.readouterr())
