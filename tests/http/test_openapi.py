"""The OpenAPI document tells the truth: every operation, every code, every credential."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from authsvc.http.openapi import EXAMPLES, SECURITY, TAGS
from authsvc.http.response.oauth_errors import OAUTH_PATHS
from authsvc.http.response.problem_schema import BY_CODE, PROBLEM_JSON, status_of
from tests.support.small import ORIGIN

# Served, but no part of the API.
UNDOCUMENTED = {
    "/docs",
    "/docs/assets/{version}/{name}",
    "/",
    "/demo",
    "/demo/assets/{version}/{name}",
    "/auth/continue/assets/{version}/{name}",
    "/openapi.json",
}
OPERATIONS = {
    "register": "post /auth/register",
    "me": "get /auth/me",
    "change_password": "post /auth/password/change",
    "login": "post /auth/login",
    "refresh": "post /auth/refresh",
    "continue_session": "get /auth/continue",
    "logout": "post /auth/logout",
    "list_sessions": "get /auth/sessions",
    "end_session": "delete /auth/sessions/{session_id}",
    "jwks": "get /.well-known/jwks.json",
    "metadata": "get /.well-known/oauth-authorization-server",
    "revocations": "get /.well-known/revocations",
    "list_errors": "get /auth/errors.json",
    "healthz": "get /healthz",
    "readyz": "get /readyz",
    "read_version": "get /version",
    "metrics": "get /metrics",
    "token": "post /oauth/token",
    "introspect": "post /oauth/introspect",
    "revoke": "post /oauth/revoke",
    "verify": "get /auth/verify",
}


@pytest.fixture
def document(app: FastAPI) -> dict[str, Any]:
    return app.openapi()


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield f"{method} {path}", operation


def codes(operation: dict[str, Any]) -> dict[str, set[str]]:
    """The codes of an operation, by status."""
    return {
        status: set(response["content"][PROBLEM_JSON]["schema"]["properties"]["code"]["enum"])
        for status, response in operation["responses"].items()
        if PROBLEM_JSON in response.get("content", {})
    }


async def test_the_document_is_what_the_application_says(
    app: FastAPI, client: httpx.AsyncClient
) -> None:
    answer = await client.get("/openapi.json")

    assert (200, "application/json") == (answer.status_code, answer.headers["content-type"])
    assert json.loads(json.dumps(app.openapi())) == answer.json()
    assert "3.1.0" == answer.json()["openapi"]


def test_operation_ids_are_names_that_stay(document: dict[str, Any]) -> None:
    """Generated clients are full of them; add new ones here, and never change one."""
    assert OPERATIONS == {
        operation["operationId"]: place for place, operation in operations(document)
    }


def test_every_route_is_documented(app: FastAPI, document: dict[str, Any]) -> None:
    documented = set(document["paths"])

    served = {route.path_format for route in iter_route_contexts(app.routes)}

    assert documented == served - UNDOCUMENTED


def test_the_template_of_a_route_is_its_whole_path(app: FastAPI) -> None:
    """Logs and metrics name routes by it: no router may have a prefix."""
    for route in iter_route_contexts(app.routes):
        assert route.path == getattr(route.original_route, "path", None)


def test_every_operation_says_what_it_is(document: dict[str, Any]) -> None:
    tags = {tag["name"] for tag in TAGS}

    for place, operation in operations(document):
        assert operation["summary"], place
        assert operation["description"], place
        assert 1 == len(operation["tags"]), place
        assert set(operation["tags"]) <= tags, place
    used = {tag for _, operation in operations(document) for tag in operation["tags"]}
    assert tags == used


def test_every_code_stands_under_its_status_with_an_example(document: dict[str, Any]) -> None:
    for place, operation in operations(document):
        for status, found in codes(operation).items():
            content = operation["responses"][status]["content"][PROBLEM_JSON]
            for code in found:
                assert int(status) == status_of(BY_CODE[code]), (place, code)
                example = content["examples"][code]["value"]
                assert (code, int(status)) == (example["code"], example["status"])


def test_what_every_operation_refuses_stands_at_every_operation(document: dict[str, Any]) -> None:
    for place, operation in operations(document):
        if place.partition(" ")[2] in OAUTH_PATHS:
            continue
        found = codes(operation)
        assert "bad_request" in found["400"], place
        assert "payload_too_large" in found["413"], place
        assert "internal_error" in found["500"], place
        if "requestBody" in operation:
            assert "malformed_json" in found["400"], place
            assert "unsupported_media_type" in found["415"], place
            assert "validation_error" in found["422"], place


def test_the_oauth_endpoints_refuse_in_the_words_of_rfc_6749(document: dict[str, Any]) -> None:
    for path in OAUTH_PATHS:
        responses = document["paths"][path]["post"]["responses"]
        words = {
            status: set(content["schema"]["properties"]["error"]["enum"])
            for status, response in responses.items()
            for media_type, content in response.get("content", {}).items()
            if status != "200" and media_type == "application/json"
        }
        assert {"400", "401", "405", "413", "415", "429", "500", "503"} == set(words)
        assert {"invalid_client"} == words["401"]
        assert "invalid_request" in words["400"]
        assert set(responses) == {*words, "200"}
        for status, response in responses.items():
            assert (status in {"429", "503"}) == ("Retry-After" in response.get("headers", {}))
            assert (status == "401") == ("WWW-Authenticate" in response.get("headers", {}))


def test_every_code_but_those_of_no_operation_is_documented(document: dict[str, Any]) -> None:
    found = {
        code
        for _, operation in operations(document)
        for s in codes(operation).values()
        for code in s
    }

    assert {"method_not_allowed"} == set(BY_CODE) - found


def test_statuses_that_ask_to_wait_or_to_log_in_name_their_header(
    document: dict[str, Any],
) -> None:
    for _, operation in operations(document):
        for status in codes(operation):
            headers = operation["responses"][status].get("headers", {})
            assert (status in {"429", "503"}) == ("Retry-After" in headers)
            assert (status == "401") == ("WWW-Authenticate" in headers)


def test_whoever_needs_a_credential_says_which(document: dict[str, Any]) -> None:
    schemes = set(document["components"]["securitySchemes"])

    for place, operation in operations(document):
        wanted = codes(operation).get("401", set()) & {"unauthenticated", "invalid_refresh_token"}
        if place.partition(" ")[2] in OAUTH_PATHS:
            wanted = {"invalid_client"}
        assert bool(wanted) == ("security" in operation), place
        for way in operation.get("security", []):
            assert set(way) <= schemes, place
    assert set(SECURITY) <= set(OPERATIONS)
    assert set(EXAMPLES) <= set(OPERATIONS)


@pytest.mark.parametrize(
    ("names", "refresh", "access"),
    [
        pytest.param(
            (), "authsvc_refresh", "authsvc_access", marks=pytest.mark.settings(), id="loopback"
        ),
        pytest.param(
            (),
            "__Secure-authsvc_refresh",
            "__Host-authsvc_access",
            marks=pytest.mark.settings(issuer="https://auth.example.com"),
            id="https",
        ),
        pytest.param(
            (),
            "authsvc_refresh_blue",
            "authsvc_access_blue",
            marks=[pytest.mark.settings(cookie_suffix="blue"), pytest.mark.finding("P30")],
            id="suffix",
        ),
    ],
)
def test_cookies_are_named_as_they_are_spelled(
    document: dict[str, Any], names: tuple[str, ...], refresh: str, access: str
) -> None:
    del names
    schemes = document["components"]["securitySchemes"]

    assert (refresh, access) == (
        schemes["refresh_cookie"]["name"],
        schemes["access_cookie"]["name"],
    )


def test_the_server_is_the_issuer(document: dict[str, Any]) -> None:
    assert [{"url": ORIGIN}] == document["servers"]


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]

    wanted = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(document)))

    assert wanted <= set(schemas)
    assert {"HTTPValidationError", "ValidationError"}.isdisjoint(schemas)


def test_successes_have_examples(document: dict[str, Any]) -> None:
    for place, operation in operations(document):
        for status, response in operation["responses"].items():
            assert "Successful Response" != response["description"], place
            json_answer = response.get("content", {}).get("application/json")
            if status.startswith("2") and json_answer is not None:
                assert has_example(json_answer, document), place


def has_example(content: dict[str, Any], document: dict[str, Any]) -> bool:
    name = content["schema"].get("$ref", "").rpartition("/")[2]
    described = json.dumps([content, document["components"]["schemas"].get(name)])
    return '"example' in described or '"const"' in described
