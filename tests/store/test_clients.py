"""Clients and spent `jti`s as PostgreSQL keeps them."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import asyncpg
import pytest

from authsvc.flows.client_authentication import ClientAttempt, authenticate_client
from authsvc.keys.client_secrets import digest, new_client_secret
from authsvc.protocol.client_auth import PresentedClient
from authsvc.protocol.clients import AuthMethod, Client
from authsvc.protocol.oauth_errors import InvalidClient
from authsvc.protocol.throttle import Limits
from authsvc.store import clients, spent_jtis
from authsvc.store.database import Database
from authsvc_client.tokens.secret import Secret
from tests.conftest import CALLER, NO_REMOTE_KEYS, START, database_at

CLIENT = Client(
    client_id="shop",
    name="Shop",
    auth_method=AuthMethod.CLIENT_SECRET_BASIC,
    grant_types=("client_credentials",),
    scopes=("orders:read",),
    resources=("https://orders.example.com",),
    audiences=(),
)


async def registered(db: Database) -> Secret:
    secret = new_client_secret()
    async with db.transaction() as session:
        assert await clients.create(session, CLIENT, secret_digest=digest(secret))
    return secret


async def authenticated(db: Database, secret: str, *, at: timedelta = timedelta(0)) -> Client:
    with database_at(START + at):
        return await authenticate_client(
            db,
            attempt=ClientAttempt(
                PresentedClient("shop", AuthMethod.CLIENT_SECRET_BASIC, Secret(secret)),
                network="203.0.113.7/32",
                caller=CALLER,
            ),
            remote_keys=NO_REMOTE_KEYS,
            issuer="https://auth.example.com",
            limits=Limits(),
            now=START + at,
        )


@pytest.mark.requirement("A4")
async def test_during_a_change_both_secrets_work_and_afterwards_the_new_one(db: Database) -> None:
    old, new = await registered(db), new_client_secret()
    with database_at(START):
        async with db.transaction() as session:
            ends = await clients.rotate_secret(
                session, "shop", new_digest=digest(new), overlap=timedelta(hours=1)
            )

    assert START + timedelta(hours=1) == ends
    assert CLIENT == await authenticated(db, old)
    assert CLIENT == await authenticated(db, new)
    with pytest.raises(InvalidClient, match="wrong_secret"):
        await authenticated(db, old, at=timedelta(hours=1))
    assert CLIENT == await authenticated(db, new, at=timedelta(hours=1, seconds=1))


@pytest.mark.requirement("A6")
async def test_a_jti_is_consumed_once_however_many_ask_at_once(db: Database) -> None:
    async def consume() -> bool:
        async with db.autocommit() as connection:
            return await spent_jtis.consume_assertion(
                connection, client_id="shop", jti="1", expires_at=START
            )

    assert [True] == [won for won in await asyncio.gather(*(consume() for _ in range(8))) if won]


@pytest.mark.requirement("A6")
async def test_a_jti_is_forgotten_only_after_its_token_is_too_old(db: Database) -> None:
    async with db.autocommit() as connection:
        await spent_jtis.consume_assertion(connection, client_id="shop", jti="1", expires_at=START)

    async with db.transaction() as session:
        with database_at(START + spent_jtis.PRUNE_AFTER):
            early = await spent_jtis.prune(session, batch=9)
        with database_at(START + spent_jtis.PRUNE_AFTER + timedelta(seconds=1)):
            late = await spent_jtis.prune(session, batch=9)

    assert (0, 1) == (early, late)


@pytest.mark.requirement("T15")
async def test_the_database_takes_no_client_with_the_id_of_a_user(
    db: Database, database_url: str
) -> None:
    await registered(db)
    connection = await asyncpg.connect(database_url)
    try:
        with pytest.raises(asyncpg.CheckViolationError):
            await connection.execute("UPDATE clients SET client_id = gen_random_uuid()::text")
    finally:
        await connection.close()
