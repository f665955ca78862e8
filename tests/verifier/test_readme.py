"""What the page of `authsvc-client` shows is what happens."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from authsvc_client.session import NotLoggedIn
from authsvc_client.verifier import Expired, KeysUnavailable
from authsvc_client.verifier.fastapi import protect
from authsvc_client.verifier.testing import FixedVerifier, claims
from tests.support.snippets import block, module_of

PAGE = "../clients/python/README.md"


async def test_the_fastapi_service_greets_its_user() -> None:
    app = module_of(block(PAGE, "Verify access tokens", "python")).app
    protect(app, FixedVerifier(claims(sub="ada")))

    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="https://api.example.com"
    ) as client:
        greeted = await client.get("/hello", headers={"Authorization": "Bearer any"})
        refused = await client.get("/hello")

    assert "Hello ada." == greeted.json()
    assert 401 == refused.status_code


async def test_without_a_framework_each_refusal_is_told_apart() -> None:
    snippet = module_of(block(PAGE, "Verify access tokens", "python", 1))

    snippet.__dict__["verifier"] = FixedVerifier(claims(sub="ada"))
    assert "ada" == await snippet.caller("any")
    for refusal, expected in ((Expired(), PermissionError), (KeysUnavailable(), ConnectionError)):
        snippet.__dict__["verifier"] = FixedVerifier(refusal)
        with pytest.raises(expected):
            await snippet.caller("any")


def test_without_a_session_a_call_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    api = module_of(block(PAGE, "Hold a session", "python")).api

    with pytest.raises(NotLoggedIn):
        api.get("https://api.example.com/notes")
