"""The metadata are true, and nobody but the configuration has a say in them (RFC 8414)."""

from __future__ import annotations

import httpx
import pytest

from authsvc.http.wellknown.metadata import metadata, metadata_router
from authsvc.settings import Settings
from tests.support.small import ORIGIN, application, client_of

METHODS = ["client_secret_basic", "client_secret_post", "private_key_jwt"]
ALGORITHMS = ["RS256", "PS256", "ES256", "EdDSA", "Ed25519"]
PATH = "/.well-known/oauth-authorization-server"


def client_for(**overrides: object) -> httpx.AsyncClient:
    settings = Settings.load(**overrides)
    return client_of(application(metadata_router(settings), **overrides))


@pytest.mark.requirement("K6")
async def test_only_what_is_true_is_said() -> None:
    answer = await client_for().get(PATH)

    assert (200, "application/json") == (answer.status_code, answer.headers["content-type"])
    assert {
        "issuer": ORIGIN,
        "jwks_uri": f"{ORIGIN}/.well-known/jwks.json",
        "token_endpoint": f"{ORIGIN}/oauth/token",
        "token_endpoint_auth_methods_supported": METHODS,
        "token_endpoint_auth_signing_alg_values_supported": ALGORITHMS,
        "introspection_endpoint": f"{ORIGIN}/oauth/introspect",
        "introspection_endpoint_auth_methods_supported": METHODS,
        "introspection_endpoint_auth_signing_alg_values_supported": ALGORITHMS,
        "revocation_endpoint": f"{ORIGIN}/oauth/revoke",
        "revocation_endpoint_auth_methods_supported": [*METHODS, "none"],
        "revocation_endpoint_auth_signing_alg_values_supported": ALGORITHMS,
        "revocation_feed_uri": f"{ORIGIN}/.well-known/revocations",
        "response_types_supported": [],
        "grant_types_supported": ["client_credentials"],
        "service_documentation": f"{ORIGIN}/docs",
    } == answer.json()


async def test_documentation_is_named_only_where_it_is() -> None:
    assert "service_documentation" not in metadata(Settings.load(docs=False))


@pytest.mark.requirement("K6")
@pytest.mark.parametrize("path", ["/.well-known/jwks.json", "/docs"])
async def test_every_url_in_it_works(client: httpx.AsyncClient, path: str) -> None:
    named = (await client.get(PATH)).json().values()

    assert f"{ORIGIN}{path}" in named
    assert 200 == (await client.get(path)).status_code


@pytest.mark.requirement("K6")
async def test_every_endpoint_in_it_speaks_oauth(client: httpx.AsyncClient) -> None:
    named = {k: v for k, v in (await client.get(PATH)).json().items() if k.endswith("_endpoint")}

    answers = [
        await client.post(url.removeprefix(ORIGIN), data={"x": "y"}) for url in named.values()
    ]

    assert named
    assert {(401, "invalid_client")} == {(a.status_code, a.json()["error"]) for a in answers}


@pytest.mark.requirement("K6")
@pytest.mark.parametrize(
    "headers",
    [
        {"host": "127.0.0.1:9"},
        {"x-forwarded-host": "evil.example", "x-forwarded-proto": "https"},
        {"forwarded": "host=evil.example;proto=https"},
        {"origin": "https://evil.example"},
        {"x-original-host": "evil.example", "x-forwarded-prefix": "/evil"},
    ],
    ids=repr,
)
async def test_no_header_of_a_request_changes_it(headers: dict[str, str]) -> None:
    client = client_for()

    assert (await client.get(PATH)).content == (await client.get(PATH, headers=headers)).content


async def test_it_may_be_kept_and_confirmed() -> None:
    client = client_for()
    first = await client.get(PATH)
    again = await client.get(PATH, headers={"if-none-match": first.headers["etag"]})
    head = await client.head(PATH)

    assert first.headers["cache-control"].startswith("public, max-age=300")
    assert ("*", "*") == (
        first.headers["access-control-allow-origin"],
        again.headers["access-control-allow-origin"],
    )
    assert (304, b"") == (again.status_code, again.content)
    assert (200, b"", first.headers["etag"]) == (
        head.status_code,
        head.content,
        head.headers["etag"],
    )
