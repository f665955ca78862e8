"""The docs page without a browser: where it comes from and what may happen on it."""

from __future__ import annotations

import hashlib
import re
from importlib.resources import files
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from authsvc.http.openapi import install_openapi
from authsvc.http.pages.docs import ASSETS, docs_router
from authsvc.http.pages.static_page import CONTENT_SECURITY_POLICY, MEDIA_TYPES
from authsvc.http.wellknown import jwks, revocations
from authsvc.http.wellknown.metadata import metadata_router
from authsvc.settings import Settings
from tests.support.small import application, client_of

STATIC = files("authsvc.http.pages") / "static"


def documented(**overrides: object) -> FastAPI:
    settings = Settings.load(**overrides)
    plain = (jwks.router, revocations.router, metadata_router(settings))
    routers = (docs_router(settings), *plain)
    app = application(*routers, **overrides)
    install_openapi(app, settings)
    return app


@pytest.fixture
async def client() -> httpx.AsyncClient:
    return client_of(documented())


@pytest.mark.requirement("H8")
async def test_the_policy_of_the_page_allows_our_own_files_only(client: httpx.AsyncClient) -> None:
    page = await client.get("/docs")

    assert 200 == page.status_code
    assert "text/html; charset=utf-8" == page.headers["content-type"]
    assert [CONTENT_SECURITY_POLICY] == page.headers.get_list("content-security-policy")
    assert "unsafe" not in CONTENT_SECURITY_POLICY
    assert not re.search(r"//[a-z]|<style|<script(?![^>]* src=)| on[a-z]+=| style=", page.text)


async def test_every_asset_of_the_page_may_be_kept_for_ever(client: httpx.AsyncClient) -> None:
    page = (await client.get("/docs")).text
    urls = set(re.findall(r'(?:href|src)="(/docs/assets/[^"]+)"', page))

    answers = {url.rpartition("/")[2]: await client.get(url) for url in urls}

    assert set(ASSETS) == set(answers)
    for name, answer in answers.items():
        assert (200, "public, max-age=31536000, immutable") == (
            answer.status_code,
            answer.headers["cache-control"],
        )
        assert MEDIA_TYPES[Path(name).suffix] == answer.headers["content-type"]
        assert "nosniff" == answer.headers["x-content-type-options"]


@pytest.mark.parametrize("path", ["/docs", "/openapi.json"])
async def test_a_held_copy_is_confirmed_and_not_sent_again(
    client: httpx.AsyncClient, path: str
) -> None:
    first = await client.get(path)
    again = await client.get(path, headers={"if-none-match": first.headers["etag"]})

    assert (304, b"") == (again.status_code, again.content)
    assert "no-cache" == again.headers["cache-control"]
    # A cache takes over the fields of a 304: a stricter policy would break the copy that it has.
    policy = "content-security-policy"
    assert first.headers[policy] == again.headers[policy]


@pytest.mark.parametrize(
    "path",
    [
        "/docs/assets/AAAAAAAAAAAAAAAA/init.js",
        "/docs/assets/x/..%2F..%2Ferrors.py",
        "/docs/assets/x/index.html",
        "/docs/swagger-ui/swagger-ui-bundle.js",
    ],
    ids=["another version", "a path", "not an asset", "not where it is"],
)
async def test_nothing_but_the_assets_is_served(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path)

    assert (404, "not_found") == (answer.status_code, answer.json()["code"])


@pytest.mark.requirement("H8")
@pytest.mark.parametrize("path", ["/docs", "/openapi.json", "/docs/assets/x/init.js"])
async def test_without_docs_there_is_nothing_there(path: str) -> None:
    answer = await client_of(documented(docs=False)).get(path)

    assert (404, "not_found") == (answer.status_code, answer.json()["code"])


def test_the_vendored_files_are_what_their_readme_says() -> None:
    directory = STATIC / "swagger-ui"
    readme = (directory / "README.md").read_text()
    said = {
        name: sha256 for sha256, name in re.findall(r"^([0-9a-f]{64})  (.+)$", readme, re.MULTILINE)
    }

    found = {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest()
        for file in directory.iterdir()
        if file.name != "README.md"
    }

    assert said == found
    assert {"LICENSE", "NOTICE"} <= set(found)
