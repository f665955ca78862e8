"""One way to begin a session, whatever has proved the user."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import jwt
import pytest
from fastapi import FastAPI

from authsvc.flows.session import Outcome, begin, issue
from authsvc.http.request.service import Service
from authsvc.protocol.refresh import Delivery
from authsvc.store.admission import Place
from authsvc.store.logins import NewSession, PasswordVerified
from authsvc.store.tables import User
from tests.conftest import CALLER, START
from tests.http.conftest import EMAIL, refresh


@pytest.fixture
def service(app: FastAPI) -> Service:
    found: Service = app.state.service
    return found


async def began(service: Service, proof: PasswordVerified, **said: Any) -> str | None:
    """The first refresh token of a session that is begun by hand."""
    family = await begin(
        service,
        NewSession(proof, Delivery.NATIVE, remember=True, **said),
        place=Place(EMAIL, "203.0.113.7/32", None),
        caller=CALLER,
        now=START,
    )
    if family is None:
        return None
    session = issue(service, family, Outcome.ROTATED, now=START)
    assert said.items() <= told(session.access_token).items()
    return session.refresh_token


def told(access_token: str) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(access_token, options={"verify_signature": False})
    return {
        "client_id": claims["client_id"],
        "scope": claims.get("scope", ""),
        "audience": claims["aud"],
        "amr": tuple(claims.get("amr", ())),
        "auth_time": START + timedelta(seconds=claims["auth_time"] - START.timestamp()),
    }


async def proof_of(service: Service, user_id: str) -> PasswordVerified:
    async with service.db.transaction() as session:
        user = await session.get(User, UUID(user_id))
    assert user is not None
    return PasswordVerified(user.id, user.password_hash)


async def test_what_a_session_begins_with_its_tokens_say_for_as_long_as_it_lives(
    service: Service, client: httpx.AsyncClient, alice: dict[str, Any]
) -> None:
    said = {
        "client_id": "shop",
        "scope": "orders:read",
        "audience": "https://orders.example.com",
        "amr": ("pwd", "otp", "mfa"),
        "auth_time": START - timedelta(minutes=5),
    }

    token = await began(service, await proof_of(service, alice["id"]), **said)
    refreshed = await refresh(client, token)

    assert said == told(refreshed.json()["access_token"])


async def test_a_session_says_no_more_of_its_beginning_than_it_was_told(
    service: Service, client: httpx.AsyncClient, alice: dict[str, Any]
) -> None:
    token = await began(service, await proof_of(service, alice["id"]))
    refreshed = await refresh(client, token)

    assert {
        "client_id": "authsvc",
        "scope": "",
        "audience": "authsvc",
        "amr": (),
        "auth_time": START,
    } == told(refreshed.json()["access_token"])


async def test_without_its_proof_no_session_begins(service: Service, alice: dict[str, Any]) -> None:
    assert await began(service, PasswordVerified(UUID(alice["id"]), "another")) is None
