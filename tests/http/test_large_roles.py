"""P37: whatever roles an account may have, its answers pass what stands in front."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import httpx
import pytest

from authsvc.flows.accounts import set_account_roles
from authsvc.protocol.errors import ValidationFailed
from authsvc.protocol.roles import MAX_ROLES, MAX_TOGETHER
from authsvc.store.database import Database
from tests.http.conftest import log_in

pytestmark = pytest.mark.finding("P37")
# As many as there may be, each as long as that leaves; names cost three characters more.
LARGEST = [f"{number:02}".ljust(MAX_TOGETHER // MAX_ROLES, "x") for number in range(MAX_ROLES)]
MAX_COOKIE = 4_000  # bytes; browsers drop one of more than 4096, name and attributes included
MAX_HEAD = 8_192  # bytes


def _head(answer: httpx.Response) -> int:
    return sum(len(name) + len(value) + 4 for name, value in answer.headers.raw)


async def test_no_cookie_and_no_head_is_larger_than_proxies_take(
    client: httpx.AsyncClient, db: Database, alice: dict[str, Any]
) -> None:
    await set_account_roles(db, UUID(alice["id"]), LARGEST)

    login = await log_in(client, "web")
    csrf = {"x-csrf-token": login.json()["csrf_token"]}
    answers = [
        login,
        await client.post("/auth/refresh", headers=csrf),
        await client.get("/auth/verify"),
        await client.get("/auth/me"),
    ]

    assert [200, 200] == [answer.status_code for answer in answers[:2]]
    assert LARGEST == answers[3].json()["roles"]
    cookies = [line for a in answers for line in a.headers.get_list("set-cookie")]
    assert max(map(len, cookies)) < MAX_COOKIE
    assert max(map(_head, answers)) < MAX_HEAD


async def test_one_character_more_is_refused_and_says_why(
    db: Database, alice: dict[str, Any]
) -> None:
    with pytest.raises(ValidationFailed) as refused:
        await set_account_roles(db, UUID(alice["id"]), [*LARGEST[:-1], LARGEST[-1] + "x"])

    (error,) = refused.value.errors
    assert "roles_too_long" == error.type
    assert "all roles together" in error.msg
