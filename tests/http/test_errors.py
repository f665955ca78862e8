"""Every refusal is problem+json, says what to do, and repeats nothing that was sent."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal
from uuid import UUID

import pytest
from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field, field_validator
from starlette.exceptions import HTTPException

from authsvc.http.request.strict_json import StrictJSONRoute
from authsvc.http.response.problem_schema import PROBLEM_JSON, STATUS, status_of
from authsvc.protocol import errors
from authsvc.protocol.errors import (
    DatabaseUnavailable,
    FieldError,
    InvalidCredentials,
    OutcomeUnknown,
    Overloaded,
    Refusal,
    TooManyAttempts,
    Unauthenticated,
    ValidationFailed,
)
from tests.support.small import ORIGIN, application, client_of

CANARY = "canary-7f3a9c"


def every_refusal() -> list[type[Refusal]]:
    found = [
        value
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, Refusal) and value is not Refusal
    ]
    assert len(found) > 20
    return found


def refusing(refusal: Exception) -> APIRouter:
    router = APIRouter()

    @router.get("/refuse")
    async def refuse() -> None:
        raise refusal

    return router


class Nested(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    # pydantic's message for a bad UUID quotes it.
    id: Annotated[UUID | None, Field(strict=False)] = None


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    name: Annotated[str, Field(max_length=5)]
    kind: Literal["a", "b"] = "a"
    nested: Nested | None = None

    @field_validator("name")
    @classmethod
    def _no_x(cls, value: str) -> str:
        if value.startswith("x"):
            raise ValueError("Begin with another letter.")
        return value


def accepting() -> APIRouter:
    router = APIRouter(route_class=StrictJSONRoute)

    @router.post("/things/{thing}")
    async def things(thing: str, body: Body, limit: Annotated[int, Query(ge=1)] = 1) -> None:
        del thing, body, limit

    return router


@pytest.mark.requirement("H3")
@pytest.mark.parametrize("refusal", every_refusal(), ids=lambda refusal: refusal.__name__)
async def test_every_refusal_has_a_status_and_the_members_of_a_problem(
    refusal: type[Refusal],
) -> None:
    answer = await client_of(application(refusing(refusal(f"detail {CANARY}")))).get("/refuse")

    assert status_of(refusal) == answer.status_code
    assert PROBLEM_JSON == answer.headers["content-type"]
    assert "no-store" == answer.headers["cache-control"]
    problem = answer.json()
    waits = {"retry_after"} if answer.status_code in {429, 503} else set()
    assert {"type", "title", "status", "detail", "instance", "code"} | waits == set(problem)
    assert f"{ORIGIN}/auth/errors.json#{refusal.code}" == problem["type"]
    assert answer.status_code == problem["status"]
    assert f"urn:uuid:{answer.headers['x-request-id']}" == problem["instance"]
    assert CANARY not in answer.text


@pytest.mark.parametrize(
    ("wait", "seconds"),
    [(None, 1), (timedelta(milliseconds=1), 1), (timedelta(seconds=1.2), 2), (timedelta(0), 1)],
    ids=["unknown", "a moment", "rounded up", "none"],
)
@pytest.mark.parametrize("refusal", [TooManyAttempts, Overloaded, DatabaseUnavailable])
async def test_a_refusal_for_now_says_in_whole_seconds_when_to_come_back(
    refusal: type[Refusal], wait: timedelta | None, seconds: int
) -> None:
    answer = await client_of(application(refusing(refusal(retry_after=wait)))).get("/refuse")

    assert (str(seconds), seconds) == (
        answer.headers["retry-after"],
        answer.json()["retry_after"],
    )


@pytest.mark.parametrize(
    ("refusal", "challenge"),
    [
        (InvalidCredentials(), 'Bearer realm="authsvc"'),
        (Unauthenticated(error=None), 'Bearer realm="authsvc"'),
        (
            Unauthenticated(),
            (
                'Bearer realm="authsvc", error="invalid_token", '
                'error_description="The access token is not valid"'
            ),
        ),
    ],
    ids=["login", "nothing presented", "bad token"],
)
async def test_a_401_carries_the_challenge_of_rfc_6750(
    refusal: Unauthenticated, challenge: str
) -> None:
    answer = await client_of(application(refusing(refusal))).get("/refuse")

    assert challenge == answer.headers["www-authenticate"]


async def test_an_unknown_outcome_looks_like_an_unavailable_database() -> None:
    answer = await client_of(application(refusing(OutcomeUnknown()))).get("/refuse")

    assert (503, "database_unavailable") == (answer.status_code, answer.json()["code"])


async def test_the_fields_that_are_wrong_are_listed() -> None:
    wrong = FieldError(loc=("header", "Idempotency-Key"), msg="Send it once.", type="once")

    answer = await client_of(application(refusing(ValidationFailed(errors=(wrong,))))).get(
        "/refuse"
    )

    assert [
        {"loc": ["header", "Idempotency-Key"], "msg": "Send it once.", "type": "once"}
    ] == answer.json()["errors"]


@pytest.mark.requirement("H3", "B5")
@pytest.mark.parametrize(
    ("body", "errors"),
    [
        ({}, [(["body", "name"], "missing")]),
        ({"name": 1}, [(["body", "name"], "string_type")]),
        ({"name": CANARY}, [(["body", "name"], "string_too_long")]),
        ({"name": "x"}, [(["body", "name"], "value_error")]),
        ({"name": "a", "kind": CANARY}, [(["body", "kind"], "literal_error")]),
        ({"name": "a", "nested": {"id": CANARY}}, [(["body", "nested", "id"], "uuid_parsing")]),
        ({"name": "a", CANARY: 1, f"{CANARY}2": 2}, [(["body"], "extra_forbidden")]),
        ({"name": "a", "nested": {CANARY: 1}}, [(["body", "nested"], "extra_forbidden")]),
    ],
    ids=[
        "missing",
        "type",
        "length",
        "own rule",
        "choice",
        "a message that quotes",
        "unknown members, once",
        "unknown member, its parent",
    ],
)
async def test_a_422_says_where_and_why_but_never_what(
    body: dict[str, object], errors: list[tuple[list[str], str]]
) -> None:
    answer = await client_of(application(accepting())).post("/things/1", json=body)

    assert (422, "validation_error") == (answer.status_code, answer.json()["code"])
    assert errors == [(error["loc"], error["type"]) for error in answer.json()["errors"]]
    assert all({"loc", "msg", "type"} == set(error) for error in answer.json()["errors"])
    assert CANARY not in answer.text


async def test_a_parameter_outside_the_body_is_refused_in_the_same_way() -> None:
    answer = await client_of(application(accepting())).post(
        f"/things/1?limit={CANARY}", json={"name": "a"}
    )

    assert [["query", "limit"]] == [error["loc"] for error in answer.json()["errors"]]
    assert CANARY not in answer.text


async def test_our_own_rules_speak_for_themselves() -> None:
    answer = await client_of(application(accepting())).post("/things/1", json={"name": "x"})

    assert "Begin with another letter." == answer.json()["errors"][0]["msg"]


@pytest.mark.parametrize(
    ("raised", "status", "code"),
    [
        (401, 401, "unauthenticated"),
        (403, 403, "forbidden"),
        (404, 404, "not_found"),
        (413, 413, "payload_too_large"),
        (415, 415, "unsupported_media_type"),
        (418, 400, "bad_request"),
        (502, 500, "internal_error"),
    ],
)
async def test_what_the_framework_raises_is_answered_in_our_words(
    raised: int, status: int, code: str
) -> None:
    raising = refusing(HTTPException(raised, detail=CANARY))

    answer = await client_of(application(raising)).get("/refuse")

    assert (status, code) == (answer.status_code, answer.json()["code"])
    assert CANARY not in answer.text


async def test_a_path_that_does_not_exist_is_not_found() -> None:
    answer = await client_of(application()).get(f"/{CANARY}")

    assert (404, "not_found", PROBLEM_JSON) == (
        answer.status_code,
        answer.json()["code"],
        answer.headers["content-type"],
    )
    assert CANARY not in answer.text


@pytest.mark.requirement("H7")
async def test_a_405_lists_every_method_of_the_path() -> None:
    router = refusing(InvalidCredentials())
    router.add_api_route("/refuse", lambda: None, methods=["HEAD"])
    router.add_api_route("/refuse", lambda: None, methods=["DELETE"], operation_id="another")

    answer = await client_of(application(router)).put("/refuse")

    assert (405, "method_not_allowed") == (answer.status_code, answer.json()["code"])
    assert "DELETE, GET, HEAD" == answer.headers["allow"]


async def test_every_code_is_listed_with_its_status() -> None:
    answer = await client_of(application()).get("/auth/errors.json")

    listed = {entry["code"]: entry["status"] for entry in answer.json()["errors"]}
    assert {refusal.code: status for refusal, status in STATUS.items()} == listed
    assert {refusal.code for refusal in every_refusal()} == set(listed)
    assert all(entry["title"] and entry["description"] for entry in answer.json()["errors"])
