"""The public keys: prebuilt, cacheable, readable by everybody, whatever else is down."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from authsvc.http.wellknown.jwks import CACHE_CONTROL
from authsvc.keys.key_files import KeyKind
from authsvc.keys.keyring import DEFAULT_LEAD, RETIREMENT
from authsvc.keys.rotation import add
from tests.conftest import Statements
from tests.http.conftest import MovableClock

PATH = "/.well-known/jwks.json"


@pytest.mark.requirement("K1", "H2")
async def test_the_set_has_public_members_only(client: httpx.AsyncClient) -> None:
    answer = await client.get(PATH)

    assert (200, "application/json") == (answer.status_code, answer.headers["content-type"])
    (key,) = answer.json()["keys"]
    assert {"kty", "use", "alg", "kid", "n", "e"} == set(key)
    assert ("RSA", "sig", "RS256", "AQAB") == (key["kty"], key["use"], key["alg"], key["e"])


@pytest.mark.requirement("K1", "K2")
async def test_a_copy_may_be_kept_for_as_long_as_the_rotation_allows(
    client: httpx.AsyncClient,
) -> None:
    answer = await client.get(PATH)

    assert "public, max-age=300, stale-while-revalidate=600, stale-if-error=86400" == CACHE_CONTROL
    assert [CACHE_CONTROL] == answer.headers.get_list("cache-control")
    assert ["*"] == answer.headers.get_list("access-control-allow-origin")
    assert "access-control-allow-credentials" not in answer.headers
    assert "set-cookie" not in answer.headers


@pytest.mark.requirement("K4")
async def test_the_keys_cost_no_sql(client: httpx.AsyncClient, statements: Statements) -> None:
    statements.clear()

    await client.get(PATH)

    assert [] == list(statements)


@pytest.mark.requirement("K4")
@pytest.mark.settings(database_url="postgresql://nobody@127.0.0.1:1/nowhere")
async def test_the_keys_are_there_while_the_database_is_not(client: httpx.AsyncClient) -> None:
    assert 503 == (await client.get("/readyz")).status_code

    answer = await client.get(PATH)

    assert (200, 1) == (answer.status_code, len(answer.json()["keys"]))


async def test_head_says_what_get_would(client: httpx.AsyncClient) -> None:
    get, head = await client.get(PATH), await client.head(PATH)

    assert (200, b"") == (head.status_code, head.content)
    for name in ("etag", "cache-control", "content-type", "content-length"):
        assert get.headers[name] == head.headers[name]


@pytest.mark.parametrize(
    "condition",
    ["{etag}", "W/{etag}", '"other", {etag}', '"a,b" ,W/"c",W/{etag}', "*", " * ", "{etag},"],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_copy_that_is_still_right_is_not_sent_again(
    client: httpx.AsyncClient, method: str, condition: str
) -> None:
    etag = (await client.get(PATH)).headers["etag"]

    answer = await client.request(
        method, PATH, headers={"if-none-match": condition.format(etag=etag)}
    )

    assert (304, b"") == (answer.status_code, answer.content)
    assert (etag, CACHE_CONTROL, "*") == (
        answer.headers["etag"],
        answer.headers["cache-control"],
        answer.headers["access-control-allow-origin"],
    )
    assert "content-length" not in answer.headers


@pytest.mark.parametrize("condition", ['"other"', "other", "", '"', 'W/"other"', "{bare}"])
async def test_any_other_copy_is_replaced(client: httpx.AsyncClient, condition: str) -> None:
    etag = (await client.get(PATH)).headers["etag"]

    answer = await client.get(
        PATH, headers={"if-none-match": condition.format(bare=etag.strip('"'))}
    )

    assert (200, etag) == (answer.status_code, answer.headers["etag"])


@pytest.mark.requirement("K2")
async def test_a_rotation_shows_before_it_happens_and_ends_later(
    app: FastAPI, client: httpx.AsyncClient, clock: MovableClock, keys_dir: Path
) -> None:
    first = await client.get(PATH)
    add(keys_dir, KeyKind.SIGNING, now=clock.now())
    app.state.service.keys.reload(clock.now())

    announced = await client.get(PATH, headers={"if-none-match": first.headers["etag"]})
    clock.advance(DEFAULT_LEAD + RETIREMENT - timedelta(seconds=1))
    overlap = await client.get(PATH)
    clock.advance(timedelta(seconds=1))
    after = await client.get(PATH, headers={"if-none-match": overlap.headers["etag"]})

    old = {key["kid"] for key in first.json()["keys"]}
    both = {key["kid"] for key in announced.json()["keys"]}
    assert (200, 2) == (announced.status_code, len(both))
    assert both == {key["kid"] for key in overlap.json()["keys"]}
    assert both - old == {key["kid"] for key in after.json()["keys"]}


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "TRACE"])
async def test_the_keys_are_read_only(client: httpx.AsyncClient, method: str) -> None:
    answer = await client.request(method, PATH)

    assert (405, "GET, HEAD") == (answer.status_code, answer.headers["allow"])
