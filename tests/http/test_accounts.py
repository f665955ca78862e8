"""Registering, logging in, changing the password: the plain ways and the refusals."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import argon2
import httpx
import pytest
from fastapi import FastAPI

from authsvc.protocol.errors import DatabaseUnavailable, Overloaded
from authsvc.store import users
from authsvc.store.database import Database
from authsvc.store.tables import User
from tests.conftest import Statements
from tests.http.conftest import (
    EMAIL,
    PASSWORD,
    ClientFactory,
    MovableClock,
    log_in,
    me,
    refresh,
)
from tests.support.hashing import computed_hashes

NEW_PASSWORD = "a fresh and different one"


async def register(client: httpx.AsyncClient, email: str, password: str) -> httpx.Response:
    return await client.post("/auth/register", json={"email": email, "password": password})


async def change(
    client: httpx.AsyncClient, access_token: str, current: str, new: str
) -> httpx.Response:
    return await client.post(
        "/auth/password/change",
        json={"current_password": current, "new_password": new},
        headers={"authorization": f"Bearer {access_token}"},
    )


async def test_registering_answers_with_the_account(client: httpx.AsyncClient) -> None:
    answer = await register(client, "Bob@EXAMPLE.com", PASSWORD)

    assert 201 == answer.status_code
    body = answer.json()
    assert {"id", "email", "roles", "created_at"} == set(body)
    assert ("bob@example.com", []) == (body["email"], body["roles"])
    assert UUID(body["id"])


@pytest.mark.parametrize("spelling", [EMAIL, EMAIL.upper(), "Alice@Example.Com"])
async def test_an_address_has_one_account(
    client: httpx.AsyncClient, alice: dict[str, Any], spelling: str
) -> None:
    answer = await register(client, spelling, PASSWORD)

    assert alice["email"] == EMAIL
    assert (409, "email_taken") == (answer.status_code, answer.json()["code"])


async def test_two_registrations_at_once_make_one_account(client: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(*(register(client, EMAIL, PASSWORD) for _ in range(8)))

    assert [201] + 7 * [409] == sorted(answer.status_code for answer in answers)


@pytest.mark.requirement("B1")
@pytest.mark.parametrize(
    "email",
    [
        "no-at-sign",
        "two@at@signs.com",
        "nul\0@example.com",
        "crlf\r\n@example.com",
        "comma,comma@example.com",
        "a@b..c",
        "fullwidth\uff20example.com",
        "@nobody.example",
        "a" * 300 + "@example.com",
        "spaces in@example.com",
        '"quoted"@example.com',
        "literal@[127.0.0.1]",
    ],
)
async def test_what_is_not_an_address_is_refused_and_not_echoed(
    client: httpx.AsyncClient, email: str
) -> None:
    answer = await register(client, email, PASSWORD)

    assert (422, "validation_error") == (answer.status_code, answer.json()["code"])
    assert email not in answer.text


@pytest.mark.requirement("P3", "P4")
@pytest.mark.parametrize(
    ("password", "status"),
    [
        ("seven77", 422),
        ("eight8-8", 201),
        ("x7" * 64, 201),
        ("x7" * 64 + "y", 422),
        ("pässwörter sind schön", 201),
        ("🔑🔒🔓🗝️🔐🛡️🚪🏠", 201),
        ("with\0nul in it", 422),
        ("  leading and trailing  ", 201),
    ],
)
async def test_password_lengths(client: httpx.AsyncClient, password: str, status: int) -> None:
    answer = await register(client, EMAIL, password)

    assert status == answer.status_code, answer.text
    assert password not in answer.text
    if status == 201:
        assert 200 == (await log_in(client, password=password)).status_code


@pytest.mark.requirement("P5")
@pytest.mark.parametrize("password", ["password123", "alice@example.com", "authsvc-authsvc"])
async def test_a_guessable_password_is_refused(client: httpx.AsyncClient, password: str) -> None:
    answer = await register(client, EMAIL, password)

    assert (422, "weak_password") == (answer.status_code, answer.json()["code"])


@pytest.mark.requirement("P4")
async def test_one_password_in_two_unicode_forms_is_one_password(
    client: httpx.AsyncClient,
) -> None:
    await register(client, EMAIL, "cafe\u0301 au lait, s'il vous plait")

    assert 200 == (await log_in(client, password="caf\u00e9 au lait, s'il vous plait")).status_code


@pytest.mark.settings(registration="closed")
async def test_registration_can_be_closed(client: httpx.AsyncClient) -> None:
    answer = await register(client, EMAIL, PASSWORD)

    assert (403, "registration_closed") == (answer.status_code, answer.json()["code"])


@pytest.mark.requirement("E1", "E3")
async def test_unknown_wrong_and_disabled_look_alike(
    client: httpx.AsyncClient, alice: dict[str, Any], db: Database
) -> None:
    async def look(email: str, password: str) -> tuple[int, str, str]:
        answer = await client.post("/auth/login", json={"email": email, "password": password})
        problem = answer.json()
        problem.pop("instance")
        headers = {k: v for k, v in answer.headers.items() if k != "x-request-id"}
        return answer.status_code, str(problem), str(sorted(headers.items()))

    unknown = await look("nobody@example.com", PASSWORD)
    wrong = await look(EMAIL, "not the password")
    async with db.transaction() as session:
        await users.set_disabled(session, UUID(alice["id"]), disabled=True)
    disabled = await look(EMAIL, PASSWORD)

    assert unknown == wrong == disabled
    assert 401 == unknown[0]


@pytest.mark.requirement("E2")
@pytest.mark.settings(throttle=False)
@pytest.mark.usefixtures("alice")
async def test_unknown_and_wrong_cost_the_same(
    client: httpx.AsyncClient, statements: Statements, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same statements, and a hash of the same parameters (supabase/auth#2674)."""
    computed = computed_hashes(monkeypatch)

    async def cost(email: str) -> tuple[list[str], list[argon2.Parameters]]:
        computed.clear()
        statements.clear()
        body = {"email": email, "password": "not it, sorry"}
        assert 401 == (await client.post("/auth/login", json=body)).status_code
        return list(statements), list(computed)

    unknown, wrong = await cost("nobody@example.com"), await cost(EMAIL)

    assert unknown == wrong
    assert 1 == len(unknown[1])


@pytest.mark.requirement("D5", "P6", "T14")
@pytest.mark.usefixtures("alice")
async def test_a_password_change_ends_every_other_session(client: httpx.AsyncClient) -> None:
    mine, other = [(await log_in(client)).json() for _ in range(2)]

    answer = await change(client, mine["access_token"], PASSWORD, NEW_PASSWORD)

    assert 204 == answer.status_code
    assert 200 == (await me(client, mine["access_token"])).status_code
    assert 200 == (await refresh(client, mine["refresh_token"])).status_code
    assert 401 == (await me(client, other["access_token"])).status_code
    assert 401 == (await refresh(client, other["refresh_token"])).status_code
    assert 200 == (await log_in(client, password=NEW_PASSWORD)).status_code
    old = await client.post("/auth/login", json={"email": EMAIL, "password": PASSWORD})
    assert 401 == old.status_code


@pytest.mark.usefixtures("alice")
async def test_a_wrong_current_password_is_403_counted_and_changes_nothing(
    client: httpx.AsyncClient,
) -> None:
    mine, other = [(await log_in(client)).json() for _ in range(2)]

    answers = [
        await change(client, mine["access_token"], "not the one", NEW_PASSWORD) for _ in range(11)
    ]

    # Those of a known network.
    assert 10 * [403] + [429] == [answer.status_code for answer in answers]
    assert "current_password_wrong" == answers[0].json()["code"]
    assert 200 == (await me(client, other["access_token"])).status_code


@pytest.mark.usefixtures("alice")
async def test_a_weak_new_password_is_refused_before_anything_is_verified(
    client: httpx.AsyncClient,
) -> None:
    mine = (await log_in(client)).json()

    answer = await change(client, mine["access_token"], PASSWORD, "password123")

    assert (422, "weak_password") == (answer.status_code, answer.json()["code"])
    assert 200 == (await log_in(client)).status_code


@pytest.mark.requirement("R13", "T14")
async def test_a_disabled_account_is_refused_everywhere_at_once(
    client: httpx.AsyncClient, alice: dict[str, Any], db: Database
) -> None:
    session_before = (await log_in(client)).json()
    async with db.transaction() as session:
        await users.set_disabled(session, UUID(alice["id"]), disabled=True)

    assert 401 == (await me(client, session_before["access_token"])).status_code
    assert 401 == (await refresh(client, session_before["refresh_token"])).status_code


@pytest.mark.requirement("R13")
async def test_roles_are_those_of_the_moment_of_the_refresh(
    client: httpx.AsyncClient, alice: dict[str, Any], db: Database, app: Any
) -> None:
    token = (await log_in(client)).json()["refresh_token"]
    async with db.transaction() as session:
        await users.set_roles(session, UUID(alice["id"]), ["editor", "admin"])

    fresh = (await refresh(client, token)).json()["access_token"]

    service = app.state.service
    assert ("admin", "editor") == service.issuer.verify(fresh, now=service.clock.now()).roles


@pytest.mark.requirement("P2")
async def test_a_login_brings_an_old_hash_to_todays_parameters(
    client: httpx.AsyncClient, alice: dict[str, Any], db: Database
) -> None:
    from argon2 import PasswordHasher  # noqa: PLC0415 - a foreign hash, as an import brings it

    old = PasswordHasher(time_cost=2, memory_cost=16, parallelism=1).hash(PASSWORD)
    async with db.transaction() as session:
        await users.set_password(session, UUID(alice["id"]), new_hash=old)

    await log_in(client)
    await log_in(client)

    async with db.transaction() as session:
        user = await session.get(User, UUID(alice["id"]))
    assert user is not None
    assert "m=8,t=1,p=1" in user.password_hash


@pytest.mark.requirement("T13")
@pytest.mark.parametrize(
    ("headers", "error"),
    [
        pytest.param({}, None, id="nothing"),
        pytest.param({"authorization": "Bearer x.y.z"}, "invalid_token", id="garbage"),
        pytest.param({"authorization": "Bearer " + "a" * 9000}, "invalid_token", id="too-long"),
        pytest.param({"authorization": "Basic YTpi"}, None, id="another-scheme"),
    ],
)
async def test_me_challenges(
    client: httpx.AsyncClient, headers: dict[str, str], error: str | None
) -> None:
    answer = await client.get("/auth/me", headers=headers)

    challenge = answer.headers["www-authenticate"]
    assert 401 == answer.status_code
    assert challenge.startswith("Bearer")
    assert (f'error="{error}"' in challenge) if error else ("error=" not in challenge)


@pytest.mark.requirement("T13")
@pytest.mark.usefixtures("alice")
async def test_a_token_in_the_query_is_not_read(client: httpx.AsyncClient) -> None:
    token = (await log_in(client)).json()["access_token"]

    assert 401 == (await client.get("/auth/me", params={"access_token": token})).status_code


@pytest.mark.requirement("P7", "F23")
@pytest.mark.settings(argon2_memory_kib=8192, argon2_time=3, hash_queue_seconds=0.1)
async def test_a_full_queue_refuses_before_the_database_is_asked(
    app: FastAPI, client: httpx.AsyncClient, statements: Statements
) -> None:
    hasher = app.state.service.hasher
    waiting: list[asyncio.Task[bool]] = []
    with pytest.raises(Overloaded):  # noqa: PT012 - it is full when it says so
        while True:
            hasher.queue.refuse_if_full("203.0.113.7/32")
            waiting.append(asyncio.create_task(hasher.verify(None, "x", network="203.0.113.7/32")))
            await asyncio.sleep(0)
    statements.clear()

    answer = await client.post("/auth/login", json={"email": EMAIL, "password": PASSWORD})

    assert (503, "overloaded") == (answer.status_code, answer.json()["code"])
    assert int(answer.headers["retry-after"]) >= 1
    assert 0 == len(statements)
    await asyncio.gather(*waiting, return_exceptions=True)


@pytest.mark.requirement("P7")
@pytest.mark.usefixtures("alice")
@pytest.mark.settings(
    argon2_memory_kib=8192, argon2_time=3, hash_memory_budget_mib=64, hash_queue_seconds=0.1
)
async def test_a_flood_of_logins_is_overloaded_and_blocks_nobody(
    client: httpx.AsyncClient, new_client: ClientFactory
) -> None:
    session = (await log_in(client)).json()
    flood = [
        asyncio.create_task(
            new_client(f"198.51.100.{n}").post(
                "/auth/login", json={"email": f"{n}@example.com", "password": "whatever it is"}
            )
        )
        for n in range(200)
    ]
    await asyncio.sleep(0)

    refreshed = await refresh(client, session["refresh_token"])
    answers = await asyncio.gather(*flood)

    assert 200 == refreshed.status_code
    overloaded = [answer for answer in answers if answer.status_code == 503]
    assert overloaded
    assert {401, 503} == {answer.status_code for answer in answers}
    # On a busy machine some wait too long for a connection to the database as well.
    codes = {answer.json()["code"] for answer in overloaded}
    assert {"overloaded"} <= codes <= {"overloaded", "database_unavailable"}
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in overloaded)


@pytest.mark.requirement("R4", "D5")
@pytest.mark.usefixtures("alice")
async def test_a_session_that_ended_meanwhile_cannot_change_the_password(
    client: httpx.AsyncClient, app: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Log out everywhere, while a thief's password change is being hashed."""
    thief = (await log_in(client)).json()
    hasher = app.state.service.hasher
    hash_password = hasher.hash

    async def logged_out_meanwhile(password: str, **kwargs: Any) -> str:
        body = {"refresh_token": thief["refresh_token"], "scope": "all"}
        assert 204 == (await client.post("/auth/logout", json=body)).status_code
        hashed: str = await hash_password(password, **kwargs)
        return hashed

    monkeypatch.setattr(hasher, "hash", logged_out_meanwhile)

    answer = await change(client, thief["access_token"], PASSWORD, NEW_PASSWORD)

    assert 401 == answer.status_code
    assert 200 == (await log_in(client)).status_code


@pytest.mark.requirement("P2")
@pytest.mark.usefixtures("alice")
async def test_a_login_whose_rehash_fails_works_all_the_same(
    client: httpx.AsyncClient, app: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unavailable(*_: object, **__: object) -> bool:
        raise DatabaseUnavailable

    monkeypatch.setattr(app.state.service.hasher, "needs_rehash", lambda _: True)
    monkeypatch.setattr(users, "replace_hash", unavailable)

    assert 200 == (await log_in(client)).status_code


@pytest.mark.requirement("R8")
@pytest.mark.settings(refresh_idle_ttl=timedelta(minutes=5), access_ttl=timedelta(hours=1))
@pytest.mark.usefixtures("alice")
async def test_a_session_that_idled_out_is_refused_here_whatever_its_access_token_says(
    client: httpx.AsyncClient, clock: MovableClock
) -> None:
    session = (await log_in(client)).json()
    clock.advance(timedelta(minutes=5))

    assert 401 == (await me(client, session["access_token"])).status_code


@pytest.mark.finding("P04")
@pytest.mark.parametrize("path", ["/auth/me", "/auth/sessions"])
@pytest.mark.parametrize("header", ["Basic c3RhZ2luZzpwdw==", "Negotiate YII", "Bearer2 x", ""])
@pytest.mark.usefixtures("alice")
async def test_a_header_of_another_scheme_leaves_the_cookie_alone(
    client: httpx.AsyncClient, path: str, header: str
) -> None:
    await log_in(client, "web")

    answer = await client.get(path, headers={"authorization": header})

    assert 200 == answer.status_code


@pytest.mark.finding("P04")
@pytest.mark.usefixtures("alice")
async def test_a_bearer_without_a_token_is_400_even_beside_a_cookie(
    client: httpx.AsyncClient,
) -> None:
    await log_in(client, "web")

    answer = await client.get("/auth/me", headers={"authorization": "Bearer "})

    assert (400, "bad_request") == (answer.status_code, answer.json()["code"])
