"""Requests that are refused before anything looks at what they want."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

import pytest
from fastapi import APIRouter

from tests.support.small import application, client_of

Headers = list[tuple[bytes, bytes]]
HOST = (b"host", b"localhost:8000")
PRODUCTION: dict[str, Any] = {
    "env": "production",
    "issuer": "https://auth.example.com",
    "database_url": "postgresql://u@h/n",
}


def endpoints() -> APIRouter:
    router = APIRouter()

    async def fine() -> str:
        return "fine"

    for path in ("/auth/fine", "/healthz", "/readyz", "/metrics"):
        router.add_api_route(path, fine, operation_id=path)
    return router


async def ask(
    headers: Headers,
    *,
    path: str = "/auth/fine",
    query: bytes = b"",
    method: str = "GET",
    raw_path: bytes | None = None,
    **settings: object,
) -> tuple[int, bytes]:
    """A request as no client library would send it."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "path": path,
        "raw_path": path.encode() if raw_path is None else raw_path,
        "query_string": query,
        "root_path": "",
        "scheme": "http",
        "headers": headers,
        "client": ("203.0.113.7", 50000),
        "server": ("localhost", 8000),
    }
    await application(endpoints(), **settings)(scope, receive, send)
    return sent[0]["status"], sent[1]["body"]


@pytest.mark.requirement("H6")
@pytest.mark.parametrize(
    "host",
    [b"localhost", b"localhost:8000", b"LOCALHOST:1", b"127.0.0.1:8000", b"[::1]:8000", b"[::1]"],
)
async def test_our_own_hosts_are_served_on_any_port(host: bytes) -> None:
    status, _ = await ask([(b"host", host)])

    assert 200 == status


@pytest.mark.requirement("H6")
@pytest.mark.parametrize(
    "hosts",
    [
        [],
        [b""],
        [b"evil.example"],
        [b"localhost.evil.example"],
        [b"localhost."],
        [b"localhost:"],
        [b"localhost:port"],
        [b"localhost:123456"],
        [b"user@localhost"],
        [b"localhost/path"],
        [b"local host"],
        [b"localhost\xff"],
        [b"::1"],
        [b"[::1"],
        [b"localhost", b"localhost"],
        [b"localhost", b"evil.example"],
        [b"localhost, evil.example"],
    ],
    ids=repr,
)
async def test_any_other_host_is_refused(hosts: list[bytes]) -> None:
    status, body = await ask([(b"host", host) for host in hosts])

    assert 400 == status
    assert b'"code":"bad_request"' in body
    assert b"evil" not in body


@pytest.mark.requirement("H6")
@pytest.mark.parametrize(
    ("host", "status"),
    [
        (b"auth.example.com", 200),
        (b"listed.example.com:443", 200),
        (b"localhost", 400),
        (b"127.0.0.1", 400),
        (b"other.example.com", 400),
    ],
)
async def test_in_production_only_the_issuer_and_the_listed_hosts_are_served(
    host: bytes, status: int
) -> None:
    found, _ = await ask([(b"host", host)], allowed_hosts=("listed.example.com",), **PRODUCTION)

    assert status == found


@pytest.mark.finding("P03")
@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
@pytest.mark.parametrize(
    "host", [None, b"", b"10.42.0.17:8000", b"[fd00::17]:8000", b"pod", b"a_b"]
)
async def test_operational_paths_do_not_depend_on_the_host(path: str, host: bytes | None) -> None:
    headers = [] if host is None else [(b"host", host)]

    probed, _ = await ask(headers, path=path, **PRODUCTION)
    elsewhere, _ = await ask(headers, **PRODUCTION)

    assert (200, 400) == (probed, elsewhere)


@pytest.mark.finding("P17", "N06")
async def test_a_foreign_host_is_told_and_logged_with_the_setting_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    app = application(endpoints())
    async with client_of(app) as client:
        for host in ["authsvc_backend:81"] * 3 + ["b" * 5000]:
            answer = await client.get("/auth/fine", headers={"Host": host})
        for number in range(100):
            await client.get("/auth/fine", headers={"Host": f"{number}.example"})

    assert (400, "bad_request") == (answer.status_code, answer.json()["code"])
    assert "AUTHSVC_ALLOWED_HOSTS" in answer.json()["detail"]
    lines = [line for line in "".join(capsys.readouterr()).splitlines() if "unknown_host" in line]
    assert 1 == sum("authsvc_backend" in line for line in lines)
    assert all("AUTHSVC_ALLOWED_HOSTS" in line and len(line) < 500 for line in lines)
    assert len(lines) <= 32


@pytest.mark.requirement("T13", "H5")
@pytest.mark.parametrize(
    "name",
    [
        b"authorization",
        b"content-length",
        b"content-type",
        b"host",
        b"origin",
        b"referer",
        b"sec-fetch-site",
    ],
)
async def test_a_header_that_decides_something_comes_once(name: bytes) -> None:
    status, body = await ask([HOST, (name, b"0"), (name, b"0")])

    assert (400, True) == (status, b'"code":"bad_request"' in body)


@pytest.mark.requirement("H5")
async def test_a_body_has_one_length() -> None:
    status, _ = await ask([HOST, (b"content-length", b"0"), (b"transfer-encoding", b"chunked")])

    assert 400 == status


@pytest.mark.requirement("H4")
@pytest.mark.parametrize(("length", "status"), [(8192, 200), (8193, 400)])
async def test_a_url_has_at_most_8_kib(length: int, status: int) -> None:
    query = b"x" * (length - len("/auth/fine?"))

    found, _ = await ask([HOST], query=query)

    assert status == found


async def test_the_length_of_a_url_is_that_on_the_wire() -> None:
    status, _ = await ask([HOST], raw_path=b"/auth/fine" + b"%20" * 3000)

    assert 400 == status


@pytest.mark.requirement("H4")
@pytest.mark.parametrize(("count", "status"), [(100, 200), (101, 400)])
async def test_a_request_has_at_most_100_headers(count: int, status: int) -> None:
    found, _ = await ask([HOST, *[(b"x-%d" % i, b"") for i in range(count - 1)]])

    assert status == found


@pytest.mark.parametrize(
    "path",
    ["/auth/fine\n", "/auth/fine\r\nx: y", "/auth/\x00fine", "/auth/fine\x1b[2J", "auth/fine", ""],
    ids=repr,
)
async def test_a_path_that_logs_and_routers_read_differently_is_refused(path: str) -> None:
    status, body = await ask([HOST], path=path, raw_path=b"/")

    assert (400, True) == (status, b'"code":"bad_request"' in body)


@pytest.mark.parametrize(
    "path", ["//auth/fine", "/auth//fine", "/auth/./fine", "/auth/fine/", "/AUTH/fine", "*"]
)
async def test_a_path_means_exactly_what_it_says(path: str) -> None:
    status, body = await ask([HOST], path=path)

    assert (404, True) == (status, b'"code":"not_found"' in body)


@pytest.mark.finding("11.16")
@pytest.mark.parametrize(
    "raw_path",
    [
        b"/auth/%66ine",
        b"/auth%2ffine",
        b"/auth%2Ffine",
        b"/auth/fine%20",
        b"/%68ealthz",
        b"/%",
        b"/%0a",
    ],
)
async def test_no_percent_encoded_spelling_of_a_path_is_served(raw_path: bytes) -> None:
    """A proxy that closes a path compares what was sent; so must we."""
    status, body = await ask([HOST], path=unquote(raw_path.decode()), raw_path=raw_path)

    assert (404, True) == (status, b'"code":"not_found"' in body)


@pytest.mark.finding("11.16")
async def test_nor_is_one_of_an_oauth_path() -> None:
    status, body = await ask([HOST], path="/oauth/token", raw_path=b"/oauth/%74oken", method="POST")

    assert (404, True) == (status, b'"code":"not_found"' in body)


@pytest.mark.requirement("H7")
@pytest.mark.parametrize("method", ["TRACE", "TRACK", "CONNECT", "PUT", "PATCH", "FOO", "get"])
async def test_only_the_methods_of_an_endpoint_are_served(method: str) -> None:
    status, body = await ask([HOST], method=method)

    assert (405, True) == (status, b'"code":"method_not_allowed"' in body)


@pytest.mark.requirement("H7")
@pytest.mark.parametrize(
    "name", [b"x-http-method-override", b"x-http-method", b"x-method-override"]
)
async def test_no_header_changes_the_method(name: bytes) -> None:
    status, _ = await ask([HOST, (name, b"DELETE")])

    assert 200 == status


@pytest.mark.requirement("K6")
async def test_no_header_changes_the_path_or_the_host() -> None:
    status, body = await ask(
        [
            HOST,
            (b"x-forwarded-host", b"evil.example"),
            (b"x-original-url", b"/metrics"),
            (b"x-rewrite-url", b"/metrics"),
            (b"forwarded", b"host=evil.example;proto=https"),
        ],
        path="/nowhere",
    )

    assert 404 == status
    assert b"evil" not in body


async def test_a_real_client_gets_through() -> None:
    answer = await client_of(application(endpoints())).get("/auth/fine")

    assert 200 == answer.status_code
