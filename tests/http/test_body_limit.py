"""Bodies of at most 64 KiB, declared or counted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, Request
from starlette.requests import ClientDisconnect

from authsvc.http.wire.body_limit import MAX_BODY, limited
from authsvc.protocol.errors import BadRequest
from tests.support.small import application, client_of

CANARY = b"canary-7f3a9c"


def endpoints(seen: list[int]) -> APIRouter:
    router = APIRouter()

    @router.post("/size")
    async def size(request: Request) -> int:
        body = await request.body()
        seen.append(len(body))
        return len(body)

    return router


@pytest.fixture
def seen() -> list[int]:
    return []


@pytest.fixture
def client(seen: list[int]) -> httpx.AsyncClient:
    return client_of(application(endpoints(seen)))


async def chunks(size: int) -> AsyncIterator[bytes]:
    """Without a Content-Length."""
    for start in range(0, size, 1000):
        yield b"x" * min(1000, size - start)


@pytest.mark.requirement("B3", "H4")
@pytest.mark.parametrize("size", [0, 1, MAX_BODY])
async def test_a_body_up_to_the_limit_arrives_whole(client: httpx.AsyncClient, size: int) -> None:
    declared = await client.post("/size", content=b"x" * size)
    counted = await client.post("/size", content=chunks(size))

    assert [(200, size)] * 2 == [(a.status_code, a.json()) for a in (declared, counted)]


@pytest.mark.requirement("B3", "H4")
async def test_a_longer_body_is_refused_before_the_endpoint_is_called(
    client: httpx.AsyncClient, seen: list[int]
) -> None:
    declared = await client.post("/size", content=CANARY + b"x" * MAX_BODY)
    counted = await client.post("/size", content=chunks(MAX_BODY + 1))
    elsewhere = await client.post("/nowhere", content=b"x" * (MAX_BODY + 1))

    for answer in (declared, counted, elsewhere):
        assert (413, "payload_too_large") == (answer.status_code, answer.json()["code"])
        assert "application/problem+json" == answer.headers["content-type"]
        assert CANARY.decode() not in answer.text
    assert [] == seen


@pytest.mark.parametrize(
    "length", [b"-1", b"+1", b"1 ", b"0x10", b"", b"1,1", b"9" * 19, b"\xd9\xa1"], ids=repr
)
async def test_a_length_that_is_no_number_is_refused(length: bytes) -> None:
    with pytest.raises(BadRequest):
        await limited(never, {b"content-length": [length]})


async def test_a_body_that_never_comes_calls_nothing() -> None:
    messages = iter(
        [
            {"type": "http.request", "body": b"half", "more_body": True},
            {"type": "http.disconnect"},
        ]
    )

    async def receive() -> Any:
        return next(messages)

    with pytest.raises(ClientDisconnect):
        await limited(receive, {b"content-length": [b"8"]})


async def test_after_the_body_the_connection_itself_is_heard() -> None:
    messages = iter(
        [{"type": "http.request", "body": b"1", "more_body": False}, {"type": "http.disconnect"}]
    )

    async def receive() -> Any:
        return next(messages)

    replayed = await limited(receive, {b"content-length": [b"1"]})

    assert {"type": "http.request", "body": b"1", "more_body": False} == await replayed()
    assert {"type": "http.disconnect"} == await replayed()


async def never() -> Any:
    raise AssertionError("nothing was to be read")
