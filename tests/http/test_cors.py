"""Which pages may read our answers: exact origins, on every answer, whatever its status."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from fastapi import APIRouter

from authsvc.observe.logging import configure_logging
from authsvc.protocol.errors import NotFound, TooManyAttempts
from authsvc.settings import Settings
from tests.support.small import application, client_of

LISTED = "https://app.example.com"
ISSUER = "https://auth.example.com"
PRODUCTION = {"env": "production", "issuer": ISSUER, "cors_origins": (LISTED,)}
PREFLIGHT = {"access-control-request-method": "POST"}
READABLE = {
    "access-control-allow-credentials": "true",
    "access-control-expose-headers": (
        "Authsvc-Refresh, Retry-After, WWW-Authenticate, X-Request-ID"
    ),
    "vary": "Origin",
}


def endpoints() -> APIRouter:
    router = APIRouter()

    @router.get("/auth/fine")
    async def fine() -> str:
        return "fine"

    @router.get("/auth/throttled")
    async def throttled() -> None:
        raise TooManyAttempts

    @router.get("/auth/broken")
    async def broken() -> None:
        raise RuntimeError

    @router.get("/.well-known/jwks.json")
    async def jwks(*, there: bool = True) -> str:
        if not there:
            raise NotFound
        return "keys"

    return router


def production(**overrides: object) -> httpx.AsyncClient:
    settings = {"database_url": "postgresql://u@h/n", **PRODUCTION, **overrides}
    app = application(endpoints(), **settings)
    return client_of(app, base_url=ISSUER)


def development(**overrides: object) -> httpx.AsyncClient:
    return client_of(application(endpoints(), **overrides))


def cors(answer: httpx.Response) -> dict[str, str]:
    return {
        name: value
        for name, value in answer.headers.items()
        if name.startswith("access-control-") or name == "vary"
    }


@pytest.mark.requirement("X6")
@pytest.mark.parametrize(
    ("method", "path", "kwargs", "status"),
    [
        ("GET", "/auth/fine", {}, 200),
        ("GET", "/auth/nowhere", {}, 404),
        ("PUT", "/auth/fine", {}, 405),
        ("GET", "/auth/throttled", {}, 429),
        ("GET", "/auth/broken", {}, 500),
        ("POST", "/auth/fine", {"content": b"x" * 70_000}, 413),
        ("GET", "/auth/fine", {"headers": {"host": "evil.example"}}, 400),
        ("GET", "/auth/fine?" + "x" * 9000, {}, 400),
    ],
    ids=["200", "404", "405", "429", "500", "413", "foreign host", "long URL"],
)
async def test_a_listed_page_may_read_every_answer(
    method: str, path: str, kwargs: dict[str, object], status: int
) -> None:
    client = production()
    client.headers["origin"] = LISTED

    answer = await client.request(method, path, **kwargs)  # type: ignore[arg-type]  # per case

    assert status == answer.status_code
    assert {"access-control-allow-origin": LISTED, **READABLE} == cors(answer)


@pytest.mark.requirement("X6")
@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "null",
        "http://app.example.com",
        "https://app.example.com:8443",
        "https://app.example.com.evil.example",
        "https://sub.app.example.com",
        "https://APP.example.com",
        "https://app.example.com/",
        "http://localhost:3000",
        "",
        None,
    ],
    ids=repr,
)
@pytest.mark.parametrize("path", ["/auth/fine", "/auth/nowhere", "/auth/broken"])
async def test_no_other_page_may_read_any(path: str, origin: str | None) -> None:
    headers = {} if origin is None else {"origin": origin}

    answer = await production().get(path, headers=headers)

    # A cache must not give one page's answer to another.
    assert {"vary": "Origin"} == cors(answer)


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("http://localhost:3000", True),
        ("http://127.0.0.1:5173", True),
        ("http://localhost", True),
        ("http://localhost:8000", True),
        ("https://localhost:3000", False),
        ("http://localhost:evil", False),
        ("http://localhost.evil.example", False),
        ("http://localhost:80@evil.example", False),
        ("http://192.168.0.7:3000", False),
    ],
)
async def test_in_development_pages_of_this_machine_may_read(origin: str, *, allowed: bool) -> None:
    answer = await development().get("/auth/fine", headers={"origin": origin})

    assert allowed == ("access-control-allow-origin" in answer.headers)


async def test_no_port_of_localhost_is_allowed_once_the_issuer_is_public() -> None:
    client = development(issuer=ISSUER, allowed_hosts=("localhost",))

    answer = await client.get("/auth/fine", headers={"origin": "http://localhost:3000"})

    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("path", ["/auth/login", "/auth/fine", "/nowhere"])
async def test_a_preflight_of_a_listed_page_says_what_is_allowed(path: str) -> None:
    answer = await production().options(path, headers={"origin": LISTED, **PREFLIGHT})

    assert (204, b"") == (answer.status_code, answer.content)
    assert {
        "access-control-allow-origin": LISTED,
        "access-control-allow-methods": "GET, POST, PATCH, DELETE",
        "access-control-allow-headers": (
            "Authorization, Content-Type, Idempotency-Key, X-CSRF-Token"
        ),
        "access-control-max-age": "600",
        **READABLE,
    } == cors(answer)


@pytest.mark.finding("P07")
async def test_a_listed_page_may_add_harmless_headers() -> None:
    asked = "content-type,traceparent, sentry-trace,baggage,X-Requested-With"

    answer = await production().options(
        "/auth/login",
        headers={"origin": LISTED, **PREFLIGHT, "access-control-request-headers": asked},
    )

    allowed = answer.headers["access-control-allow-headers"].lower().split(", ")
    assert {name.strip().lower() for name in asked.split(",")} <= set(allowed)
    assert "authorization" in allowed


@pytest.mark.finding("P07")
@pytest.mark.parametrize(
    "asked",
    ["x_y", "*", "a b", "x\xe9", "x" * 65, ",".join(f"x-{i}" for i in range(17)), ",,"],
    ids=["underscore", "star", "blank", "not ascii", "long", "seventeen", "empty"],
)
async def test_other_names_are_not_repeated(asked: str) -> None:
    headers = {"origin": LISTED, **PREFLIGHT, "access-control-request-headers": asked}

    answer = await production().options(
        "/auth/login", headers=[(k.encode(), v.encode("latin-1")) for k, v in headers.items()]
    )

    assert (
        "Authorization, Content-Type, Idempotency-Key, X-CSRF-Token"
        == answer.headers["access-control-allow-headers"]
    )


@pytest.mark.finding("P07")
async def test_another_page_is_allowed_none() -> None:
    headers = {"origin": "https://evil.example", "access-control-request-headers": "traceparent"}

    answer = await production().options("/auth/login", headers={**PREFLIGHT, **headers})

    assert "access-control-allow-headers" not in answer.headers


async def test_a_preflight_of_another_page_is_answered_and_allows_nothing() -> None:
    answer = await production().options(
        "/auth/login", headers={"origin": "https://evil.example", **PREFLIGHT}
    )

    assert 204 == answer.status_code
    assert {"vary": "Origin"} == cors(answer)


@pytest.mark.parametrize(
    "headers",
    [{"host": "evil.example"}, {"content-length": "999999"}, {f"x-{i}": "1" for i in range(150)}],
    ids=["foreign host", "long body", "many headers"],
)
async def test_a_preflight_is_answered_before_any_other_check(headers: dict[str, str]) -> None:
    answer = await production().options(
        "/auth/login", headers={"origin": LISTED, **PREFLIGHT, **headers}
    )

    assert (204, LISTED) == (answer.status_code, answer.headers["access-control-allow-origin"])


async def test_options_without_a_requested_method_is_no_preflight() -> None:
    answer = await production().options("/auth/fine", headers={"origin": LISTED})

    assert (405, "GET") == (answer.status_code, answer.headers["allow"])


@pytest.mark.requirement("X6")
@pytest.mark.parametrize("origin", [None, LISTED, "https://evil.example", "null"])
@pytest.mark.parametrize(
    ("query", "status"), [("", 200), ("?there=false", 404)], ids=["200", "404"]
)
async def test_everybody_may_read_the_public_keys_without_credentials(
    origin: str | None, query: str, status: int
) -> None:
    answer = await production().get(
        f"/.well-known/jwks.json{query}", headers={"origin": origin} if origin else {}
    )

    assert status == answer.status_code
    assert {"access-control-allow-origin": "*"} == cors(answer)
    assert "cross-origin" == answer.headers["cross-origin-resource-policy"]


async def test_everybody_may_ask_before_reading_the_public_keys() -> None:
    answer = await production().options(
        "/.well-known/jwks.json",
        headers={"origin": "https://evil.example", "access-control-request-method": "GET"},
    )

    assert (204, "*", "GET") == (
        answer.status_code,
        answer.headers["access-control-allow-origin"],
        answer.headers["access-control-allow-methods"],
    )


@pytest.fixture
def log(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[[], dict[str, Any]]]:
    """The one line that was logged."""

    def one() -> dict[str, Any]:
        (line,) = capsys.readouterr().out.splitlines()
        parsed: dict[str, Any] = json.loads(line)
        return parsed

    yield one
    configure_logging(Settings.load(log_format="json", log_level="warning"))


@pytest.mark.finding("N07")
async def test_a_refused_preflight_is_logged_with_the_origin_and_the_setting(
    log: Callable[[], dict[str, Any]],
) -> None:
    """The browser blames the network; here is the only place that knows."""
    client = production(log_level="info")
    asked = {"access-control-request-method": "POST"}

    await client.options("/auth/login", headers=asked | {"origin": "http://app.test:18331"})
    refused = log()
    await client.options("/auth/login", headers=asked | {"origin": "http://" + "a" * 5000})
    long = log()

    assert "http://app.test:18331" == refused["origin"]
    assert "AUTHSVC_CORS_ORIGINS" in refused["detail"]
    assert 200 == len(long["origin"])


@pytest.mark.finding("N07")
async def test_an_allowed_preflight_is_not_logged_as_refused(
    log: Callable[[], dict[str, Any]],
) -> None:
    asked = {"access-control-request-method": "POST", "origin": ISSUER}

    await production(log_level="info").options("/auth/login", headers=asked)

    assert "detail" not in log()
