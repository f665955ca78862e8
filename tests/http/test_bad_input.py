"""Bad input of any kind gets a problem+json 4xx, changes nothing and is never echoed."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from sqlmodel import func, select

from authsvc.store.database import Database
from authsvc.store.tables import User
from tests.conftest import Statements
from tests.http.conftest import log_in, me, refresh

CANARY = "canary-51be7f3a"
GOOD = {"email": f"{CANARY}@example.com", "password": f"{CANARY} and then some"}
POSTS = ["/auth/register", "/auth/login", "/auth/refresh", "/auth/logout", "/auth/password/change"]


def nested(depth: int) -> bytes:
    return b'{"email":' + b"[" * depth + b"]" * depth + b"}"


BODIES = {
    "empty": b"",
    "not-json": CANARY.encode(),
    "truncated": json.dumps(GOOD).encode()[:-5],
    "array": b"[1, 2]",
    "string": b'"' + CANARY.encode() + b'"',
    "null": b"null",
    "number": b"1",
    "not-utf-8": b'{"email": "\xff\xfe"}',
    "utf-16": json.dumps(GOOD).encode("utf-16"),
    "two-byte-order-marks": 2 * b"\xef\xbb\xbf" + json.dumps(GOOD).encode(),
    "overlong-utf-8": b'{"email": "\xc0\xaf"}',
    "duplicate-key": b'{"email": "a@example.com", "email": "b@example.com", "password": "x"}',
    "nan": b'{"email": NaN}',
    "infinity": b'{"email": 1e400}',
    "huge-integer": b'{"email": ' + b"9" * 5000 + b"}",
    "deep": nested(33),
    "very-deep": nested(30_000),
    "lone-surrogate": b'{"email": "\\ud800@example.com", "password": "long enough for us"}',
    "nul": b'{"email": "a\\u0000@example.com", "password": "long enough for us"}',
    "nul-password": b'{"email": "a@example.com", "password": "long\\u0000enough for us"}',
    "wrong-types": b'{"email": 1, "password": true, "refresh_token": {}, "scope": []}',
    "null-members": b'{"email": null, "password": null, "scope": null, "refresh_token": 7}',
    "unknown-member": json.dumps({**GOOD, CANARY: 1, "is_admin": True}).encode(),
    "proto": b'{"__proto__": {"roles": ["admin"]}, "email": "a@example.com", "password": "x"}',
    "empty-strings": b'{"email": "", "password": "", "refresh_token": 0}',
    "trailing-garbage": json.dumps(GOOD).encode() + b" x",
    "comment": b'{"email": "a@example.com" /* x */}',
    "single-quotes": b"{'email': 'a@example.com'}",
}


@pytest.mark.requirement("B2", "B3", "B5", "H3", "X3")
@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
async def test_a_bad_body(
    client: httpx.AsyncClient, db: Database, statements: Statements, path: str, body: bytes
) -> None:
    statements.clear()

    answer = await client.post(path, content=body, headers={"content-type": "application/json"})

    assert 400 <= answer.status_code < 500, answer.text
    assert "application/problem+json" == answer.headers["content-type"]
    assert CANARY not in answer.text
    assert "Traceback" not in answer.text
    assert not [statement for statement in statements if "INSERT" in statement]
    async with db.transaction() as session:
        assert 0 == (await session.exec(select(func.count()).select_from(User))).one()


@pytest.mark.requirement("T10", "L3", "H4")
@pytest.mark.parametrize("size", [9_000, 70_000, 1_048_576])
async def test_a_huge_token_is_refused_quickly_and_without_sql(
    client: httpx.AsyncClient, statements: Statements, size: int
) -> None:
    huge = "a" * size
    statements.clear()

    answers = [
        await me(client, huge),
        await refresh(client, huge),
        await refresh(client, cookie=huge),
        await client.get("/auth/me", headers={"cookie": f"authsvc_access={huge}"}),
        await client.post("/auth/logout", json={"refresh_token": huge}),
    ]

    assert all(400 <= answer.status_code < 500 for answer in answers)
    assert 0 == len(statements)


@pytest.mark.requirement("H4")
async def test_a_body_over_64_kib_is_413(client: httpx.AsyncClient) -> None:
    answer = await client.post("/auth/login", json={**GOOD, "password": "x" * 65_536})

    assert (413, "payload_too_large") == (answer.status_code, answer.json()["code"])


@pytest.mark.requirement("P8")
async def test_a_long_password_is_refused_before_it_is_hashed(
    client: httpx.AsyncClient, app: Any
) -> None:
    answer = await client.post("/auth/login", json={**GOOD, "password": "x" * 50_000})

    assert 422 == answer.status_code
    assert 0 == app.state.service.hasher.queue.running + app.state.service.hasher.queue.queued


@pytest.mark.requirement("H7")
@pytest.mark.usefixtures("alice")
@pytest.mark.parametrize("header", ["x-http-method-override", "x-method-override", "x-http-method"])
async def test_a_method_override_is_ignored(client: httpx.AsyncClient, header: str) -> None:
    session = (await log_in(client)).json()
    headers = {"authorization": f"Bearer {session['access_token']}", header: "DELETE"}

    answer = await client.get("/auth/me", headers=headers)

    assert 200 == answer.status_code


@pytest.mark.requirement("H7")
@pytest.mark.parametrize("method", ["TRACE", "PUT", "PATCH", "PROPFIND", "CONNECT"])
async def test_other_methods_are_not_allowed(client: httpx.AsyncClient, method: str) -> None:
    answer = await client.request(method, "/auth/login")

    assert (405, "method_not_allowed") == (answer.status_code, answer.json()["code"])
    assert "POST" == answer.headers["allow"]


@pytest.mark.requirement("H3")
@pytest.mark.parametrize(
    "path", ["/nope", "/auth/nope", "/auth/login/", "/AUTH/LOGIN", "//auth/login", "/auth/%2e%2e/x"]
)
async def test_an_unknown_path_is_a_problem_too(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path)

    assert (404, "not_found") == (answer.status_code, answer.json()["code"])
    assert "nope" not in answer.text


async def test_errors_are_listed_with_their_status(client: httpx.AsyncClient) -> None:
    listed = {e["code"]: e for e in (await client.get("/auth/errors.json")).json()["errors"]}

    assert {
        "bad_request": 400,
        "malformed_json": 400,
        "duplicate_credentials": 400,
        "cookies_impossible": 400,
        "unauthenticated": 401,
        "invalid_credentials": 401,
        "invalid_refresh_token": 401,
        "forbidden": 403,
        "csrf_failed": 403,
        "registration_closed": 403,
        "current_password_wrong": 403,
        "not_found": 404,
        "method_not_allowed": 405,
        "email_taken": 409,
        "payload_too_large": 413,
        "unsupported_media_type": 415,
        "validation_error": 422,
        "weak_password": 422,
        "too_many_attempts": 429,
        "internal_error": 500,
        "overloaded": 503,
        "database_unavailable": 503,
    } == {code: entry["status"] for code, entry in listed.items()}
    assert all(set(e) == {"code", "status", "title", "description"} for e in listed.values())
