"""Bodies that two parsers could read in two ways are refused (RFC 8259, RFC 7493)."""

from __future__ import annotations

import json
from contextlib import suppress
from time import process_time

import httpx
import pytest
from fastapi import APIRouter
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from authsvc.http.request.strict_json import MAX_DEPTH, OptionalJSONRoute, StrictJSONRoute, parse
from authsvc.protocol.errors import MalformedJson, ValidationFailed
from tests.support.small import application, client_of

JSON = "application/json"
CANARY = "canary-7f3a9c"


class Body(BaseModel):
    a: str | int | float | list[object] | None = None


def endpoints() -> APIRouter:
    router = APIRouter()

    async def required(body: Body) -> Body:
        return body

    async def optional(body: Body | None = None) -> bool:
        return body is not None

    router.add_api_route(
        "/required", required, methods=["POST"], route_class_override=StrictJSONRoute
    )
    router.add_api_route(
        "/optional", optional, methods=["POST"], route_class_override=OptionalJSONRoute
    )
    return router


@pytest.fixture
def client() -> httpx.AsyncClient:
    return client_of(application(endpoints()))


async def post(
    client: httpx.AsyncClient, body: bytes, *types: str, path: str = "/required"
) -> tuple[int, str]:
    answer = await client.post(
        path, content=body, headers=[("content-type", value) for value in types]
    )
    assert CANARY not in answer.text
    return answer.status_code, answer.json().get("code", "") if answer.status_code != 200 else ""


def deep(levels: int, opening: str = "[", closing: str = "]") -> bytes:
    inside = levels - 1
    return b'{"a": %s%s}' % ((opening * inside).encode(), (closing * inside).encode())


@pytest.mark.requirement("B2", "B3")
@pytest.mark.parametrize(
    "body",
    [
        b'{"a": 1,}',
        b"{'a': 1}",
        b'{"a": 1} {"a": 2}',
        b'{"a": "\n"}',
        b'{"a": "\\x41"}',
        b'{"a": 01}',
        b'{"a": +1}',
        b'{"a": .5}',
        b'{"a"',
        b'{"a": "' + CANARY.encode(),
        b'{"a": 1, "a": 2}',
        b'{"a": 1, "\\u0061": 2}',
        b'{"a": [{"b": 1, "b": 1}]}',
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": -Infinity}',
        b'{"a": 1e400}',
        b'{"a": -1e400}',
        b'{"a": ' + b"9" * 21 + b"}",
        b'{"a": ' + b"9" * 5000 + b"}",
        b'{"a": "\\ud800"}',
        b'{"\\udc00": 1}',
        b'{"a": "\xff"}',
        b'{"a": "\xc0\xaf"}',
        b'{"a": "\xed\xa0\x80"}',
        b'\xef\xbb\xbf\xef\xbb\xbf{"a": 1}',
        '{"a": 1}'.encode("utf-16"),
        '{"a": 1}'.encode("utf-32-le"),
        deep(MAX_DEPTH + 1),
        deep(MAX_DEPTH + 1, '{"a":[', "]}"),
        b"[" * 60_000,
        b'{"a":' * 10_000,
        b'{"a": [' + b"[]," * 20 + b'"' + b'\\"' * 10_000,
    ],
    ids=[
        "comma",
        "quotes",
        "two documents",
        "line break in a string",
        "unknown escape",
        "leading zero",
        "plus",
        "no integer part",
        "cut off",
        "string cut off",
        "duplicate key",
        "duplicate key, escaped",
        "duplicate key below",
        "NaN",
        "Infinity",
        "minus Infinity",
        "float overflow",
        "negative overflow",
        "long integer",
        "integer bomb",
        "lone surrogate",
        "lone surrogate in a key",
        "not UTF-8",
        "overlong",
        "surrogate as UTF-8",
        "two BOMs",
        "UTF-16",
        "UTF-32",
        "too deep",
        "too deep, mixed",
        "bracket bomb",
        "object bomb",
        "escape bomb",
    ],
)
async def test_what_is_not_strict_json_is_malformed(client: httpx.AsyncClient, body: bytes) -> None:
    assert (400, "malformed_json") == await post(client, body, JSON)


@pytest.mark.parametrize(
    "body",
    [
        b'{"a": 1}',
        b' \t\r\n{"a": 1}\n',
        b'{"a": "\\ud83d\\ude00"}',
        '{"a": "é \U0001f600"}'.encode(),
        b'{"a": "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["}',
        b'{"a": "\\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["}',
        b'{"a": 18446744073709551615}',
        b'{"a": [' + b"[]," * 5000 + b"1]}",
        deep(MAX_DEPTH),
        b"{}",
    ],
    ids=[
        "plain",
        "white space",
        "surrogate pair",
        "beyond the BMP",
        "brackets in a string",
        "brackets after an escaped quote",
        "64 bits",
        "wide, not deep",
        "deep enough",
        "empty",
    ],
)
async def test_strict_json_is_read(client: httpx.AsyncClient, body: bytes) -> None:
    assert (200, "") == await post(client, body, JSON)


@pytest.mark.parametrize("body", [b"[]", b'"a"', b"1", b"null", b"true"])
async def test_json_that_is_not_an_object_is_invalid(
    client: httpx.AsyncClient, body: bytes
) -> None:
    assert (422, "validation_error") == await post(client, body, JSON)
    assert (422, "validation_error") == await post(client, body, JSON, path="/optional")


@pytest.mark.requirement("X3")
@pytest.mark.parametrize(
    "types",
    [
        (),
        ("text/plain",),
        ("application/x-www-form-urlencoded",),
        ("multipart/form-data; boundary=x",),
        ("application/problem+json",),
        ("application/json; charset=utf-16",),
        ("application/json; q=1",),
        ("application/json, text/plain",),
        ("text/plain; application/json",),
        ("application/json", "application/json"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("path", ["/required", "/optional"])
async def test_only_the_declared_content_type_is_parsed(
    client: httpx.AsyncClient, path: str, types: tuple[str, ...]
) -> None:
    # Two headers of one name never get as far as the endpoint.
    refused = (400, "bad_request") if len(types) > 1 else (415, "unsupported_media_type")

    assert refused == await post(client, b'{"a": 1}', *types, path=path)


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "Application/JSON",
        "application/json;charset=utf-8",
        'application/json; charset="UTF-8"',
    ],
)
async def test_every_spelling_of_the_content_type_is_read(
    client: httpx.AsyncClient, content_type: str
) -> None:
    assert (200, "") == await post(client, b'{"a": 1}', content_type)


@pytest.mark.finding("P27")
@pytest.mark.parametrize("parameter", ["profile=x", "charset=utf-16", "q=1"])
async def test_what_is_wrong_beside_the_type_is_said(
    client: httpx.AsyncClient, parameter: str
) -> None:
    answer = await client.post(
        "/required", content=b"{}", headers={"content-type": f"{JSON}; {parameter}"}
    )

    assert 415 == answer.status_code
    assert "with charset=utf-8 or without parameters" in answer.json()["detail"]


async def test_a_compressed_body_is_not_read(client: httpx.AsyncClient) -> None:
    answer = await client.post(
        "/required",
        content=b'{"a": 1}',
        headers={"content-type": JSON, "content-encoding": "gzip"},
    )

    assert (415, "unsupported_media_type") == (answer.status_code, answer.json()["code"])


async def test_a_body_that_must_be_there_is_asked_for(client: httpx.AsyncClient) -> None:
    assert (422, "validation_error") == await post(client, b"", JSON)
    assert (415, "unsupported_media_type") == await post(client, b"")


async def test_where_the_body_is_optional_nothing_at_all_may_be_sent(
    client: httpx.AsyncClient,
) -> None:
    nothing = await client.post("/optional")
    typed = await client.post("/optional", headers={"content-type": JSON})
    form = await client.post("/optional", headers={"content-type": "text/plain"})
    something = await client.post("/optional", json={})

    assert [(200, False), (200, False), (200, True)] == [
        (answer.status_code, answer.json()) for answer in (nothing, typed, something)
    ]
    assert 415 == form.status_code


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8")))
def test_no_bytes_lead_to_anything_but_an_object_or_a_refusal(body: bytes) -> None:
    try:
        parsed = parse(body)
    except (MalformedJson, ValidationFailed):
        return
    assert parsed == json.loads(body)


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=20,
)


@settings(max_examples=80, deadline=None)
@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), JSON_VALUES))
def test_everything_that_json_can_say_is_read_as_it_was_written(value: dict[str, object]) -> None:
    try:
        written = json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:  # a lone surrogate below
        return

    assert value == parse(written)
    assert value == parse(json.dumps(value).encode("ascii"))


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 65_536,
        b"[]" * 32_768,
        b'{"a":[' + b"[]," * 20_000 + b"1]}",
        b'"' * 65_536,
        b"[" * 40 + b'"' + b'\\"' * 32_000,
        b"[" * 40 + b'"\\' * 32_000,
        b'{"a":"' + b"\\u0041" * 10_000 + b'"}',
        b'{"a":' + b"1" * 65_000 + b"}",
    ],
    ids=[
        "open", "pairs", "wide", "quotes", "escaped quotes", "backslashes", "escapes", "digits",
    ],
)  # fmt: skip
@pytest.mark.requirement("B3")
def test_no_body_of_64_kib_takes_long(body: bytes) -> None:
    started = process_time()
    with suppress(MalformedJson, ValidationFailed):
        parse(body)

    # About 2 ms of work, and what the garbage collector adds in a long test run; what is
    # quadratic takes many seconds.
    assert process_time() - started < 2


@pytest.mark.finding("P28")
async def test_a_byte_order_mark_is_ignored(client: httpx.AsyncClient) -> None:
    """Windows writes one, and a receiver may ignore it (RFC 8259 §8.1)."""
    assert (200, "") == await post(client, b'\xef\xbb\xbf{"a": "b"}', JSON)


@pytest.mark.finding("P27")
@pytest.mark.parametrize(
    ("headers", "cause"),
    [
        ({"content-type": JSON, "content-encoding": "gzip"}, "Content-Encoding"),
        ({"content-type": f"{JSON}; charset=iso-8859-1"}, "charset"),
        ({"content-type": "text/plain"}, "application/json"),
    ],
    ids=["compressed", "charset", "type"],
)
async def test_415_names_what_is_wrong(
    client: httpx.AsyncClient, headers: dict[str, str], cause: str
) -> None:
    answer = await client.post("/required", content=b"{}", headers=headers)

    assert 415 == answer.status_code
    assert cause in answer.json()["detail"]
