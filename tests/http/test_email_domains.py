"""P08: what an address may be, is a question of syntax; which domains may register, a policy."""

from __future__ import annotations

import httpx
import pytest

from authsvc.protocol.email_address import SPECIAL_USE
from tests.http.conftest import EMAIL, PASSWORD, log_in

pytestmark = pytest.mark.finding("P08")
INTERNAL = ["dev@corp.local", "dev@localhost", "d.4@lan"]


async def register(client: httpx.AsyncClient, email: str) -> httpx.Response:
    return await client.post("/auth/register", json={"email": email, "password": PASSWORD})


@pytest.mark.parametrize("email", INTERNAL)
async def test_in_development_an_internal_domain_may_register_and_log_in(
    client: httpx.AsyncClient, email: str
) -> None:
    assert 201 == (await register(client, email)).status_code

    await log_in(client, email=email)


@pytest.mark.settings(email_domains="public")
@pytest.mark.parametrize(
    "email", [*INTERNAL, *(f"dev@corp.{each}" for each in sorted(SPECIAL_USE))]
)
async def test_public_refuses_special_use_domains_and_says_so(
    client: httpx.AsyncClient, email: str
) -> None:
    (error,) = (await register(client, email)).json()["errors"]

    assert "email_domain" == error["type"]
    assert "special-use" in error["msg"]


@pytest.mark.settings(email_domains="public")
async def test_public_lets_a_domain_pass_that_only_ends_like_one(client: httpx.AsyncClient) -> None:
    assert 201 == (await register(client, "dev@example.com")).status_code
    assert 201 == (await register(client, "dev@mylocal.com")).status_code


@pytest.mark.usefixtures("alice")
@pytest.mark.parametrize("email", [f"{EMAIL} ", f" {EMAIL}", f"\t{EMAIL}\r\n"])
async def test_blanks_around_an_address_are_cut(client: httpx.AsyncClient, email: str) -> None:
    await log_in(client, email=email)
    assert 409 == (await register(client, email)).status_code


@pytest.mark.settings(email_domains="public")
@pytest.mark.parametrize(
    "email",
    ["x", "dev@corp.local", "no address", "a@b", "@", "a@" + "b" * 300, "a@example.com\x01"],
)
async def test_a_login_with_an_impossible_address_is_an_unknown_account(
    client: httpx.AsyncClient, email: str
) -> None:
    answer = await client.post("/auth/login", json={"email": email, "password": PASSWORD})

    assert (401, "invalid_credentials") == (answer.status_code, answer.json()["code"])
