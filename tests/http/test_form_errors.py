"""N17: what is wrong with a form, in words that can be put before its user."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.http.conftest import EMAIL, PASSWORD

pytestmark = pytest.mark.finding("N17")
GOOD: dict[str, object] = {"email": EMAIL, "password": PASSWORD}


async def problem(client: httpx.AsyncClient, body: dict[str, object]) -> dict[str, Any]:
    answer = await client.post("/auth/register", json=body)
    assert 422 == answer.status_code
    found: dict[str, Any] = answer.json()
    return found


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({**GOOD, "password": "short"}, "Use at least 8 characters."),
        ({"email": EMAIL}, "This is required."),
        ({**GOOD, "email": ""}, "This must not be empty."),
        ({**GOOD, "email": "x" * 321}, "Use at most 320 characters."),
        ({**GOOD, "email": 1}, "Write a text."),
        (
            {**GOOD, "email": "x"},
            "This is not an e-mail address; write one such as name@example.com.",
        ),
        ({**GOOD, "user": 1}, "This object has a member that is not known here."),
    ],
)
async def test_the_detail_of_a_single_error_is_its_text(
    client: httpx.AsyncClient, body: dict[str, object], says: str
) -> None:
    found = await problem(client, body)

    assert (says, says) == (found["detail"], found["errors"][0]["msg"])


async def test_the_choices_are_named(client: httpx.AsyncClient) -> None:
    answer = await client.post("/auth/login", json={**GOOD, "delivery": "pigeon"})

    assert "Write one of these: 'spa', 'native' or 'web'." == answer.json()["detail"]
    assert "pigeon" not in answer.text


async def test_of_several_errors_the_detail_speaks_for_all(client: httpx.AsyncClient) -> None:
    found = await problem(client, {"username": "alice"})

    assert 3 == len(found["errors"])
    assert "see `errors`" in found["detail"]
    assert ["body"] in [error["loc"] for error in found["errors"]]
