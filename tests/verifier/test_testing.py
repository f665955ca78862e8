"""What integrators' tests are given: claims without a token."""

from __future__ import annotations

import httpx
import pytest
from fastapi import FastAPI

from authsvc_client.verifier.fastapi import CurrentUser, current_caller, require_roles
from authsvc_client.verifier.testing import claims

pytestmark = pytest.mark.finding("P33")


async def status(app: FastAPI) -> int:
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
        return (await client.get("/admin")).status_code


async def test_one_override_decides_for_every_dependency() -> None:
    """Roles and the kind of token are still checked, so a test sees the refusals as well."""
    app = FastAPI()

    @app.get("/admin", dependencies=[require_roles("admin")])
    async def admin(user: CurrentUser) -> str:
        return user.sub

    for changes, expected in (
        ({"roles": ("admin",)}, 200),
        ({}, 403),
        ({"roles": ("admin",), "sid": None, "sub": "billing", "client_id": "billing"}, 403),
    ):
        made = claims(**changes)
        app.dependency_overrides[current_caller] = lambda made=made: made
        assert expected == await status(app), changes


def test_an_unknown_claim_is_a_mistake() -> None:
    with pytest.raises(TypeError, match="rolls"):
        claims(rolls=("admin",))
