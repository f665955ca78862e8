"""Clients: their row, as authentication finds it and as the administrator changes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache

from sqlalchemy import Text, Update, bindparam, case, null, select
from sqlalchemy import literal as value
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, update
from sqlmodel import select as model_select
from sqlmodel.ext.asyncio.session import AsyncSession

from authsvc.protocol.clients import AuthMethod, Client, ClientKeys
from authsvc.protocol.errors import NotFound
from authsvc.store import session_clock
from authsvc.store.hot_statement import HotConnection, HotStatement, Row, clock, names, read
from authsvc.store.tables import ClientRow, clients

ARRAYS = ("grant_types", "scopes", "resources", "audiences")


@dataclass(frozen=True, slots=True)
class Found:
    """
    What there is to compare a credential with.

    Args:
        client: None if there is no such client, or it is disabled.
        secret_digests: The current secret and, during a change, the one before.
    """

    client: Client | None
    disabled: bool
    secret_digests: tuple[bytes | None, bytes | None]


async def find_for_authentication(connection: HotConnection, client_id: str) -> Found:
    """The client with its digests."""
    [row] = await _find().fetch(connection, id=client_id)  # `clock` always has its one row
    there = row["client_id"] is not None
    client = _client(row) if there and row["disabled_at"] is None else None
    return Found(
        client=client,
        disabled=there and client is None,
        secret_digests=(row["secret_digest"], row["valid_previous_digest"]),
    )


async def is_enabled(connection: HotConnection, client_id: str) -> bool:
    """Whether there is such a client, and it is not disabled."""
    return await _is_enabled().fetchrow(connection, id=client_id) is not None


async def create(
    session: AsyncSession,
    client: Client,
    *,
    secret_digest: bytes | None,
) -> ClientRow | None:
    """
    Add a client.

    Returns:
        The row; None if the id is taken.
    """
    moment = session_clock.now(session)
    statement = (
        insert(ClientRow)
        .values(
            client_id=client.client_id,
            name=client.name,
            auth_method=client.auth_method,
            secret_digest=secret_digest,
            secret_created_at=None if secret_digest is None else moment,
            assertion_alg=client.assertion_alg,
            jwks=client.jwks,
            jwks_uri=client.jwks_uri,
            created_at=moment,
            **_arrays(client),
        )
        .on_conflict_do_nothing(index_elements=["client_id"])
        .returning(ClientRow)
    )
    return (await session.exec(statement)).scalar_one_or_none()


async def lock(session: AsyncSession, client_id: str) -> tuple[Client, bool]:
    """
    The client of this id, locked until the transaction ends.

    Returns:
        With it, whether the secret before the current one is still good.

    Raises:
        NotFound: There is none.
    """
    moment = session_clock.now(session)
    overlap = col(ClientRow.previous_secret_expires_at) > moment
    statement = (
        model_select(ClientRow, overlap).where(ClientRow.client_id == client_id).with_for_update()
    )
    found = (await session.exec(statement)).one_or_none()
    if found is None:
        raise NotFound("client")
    return _client(found[0].model_dump()), bool(found[1])


async def list_all(session: AsyncSession, *, limit: int, after: str = "") -> Sequence[ClientRow]:
    """A page of clients in the order of their ids; `after` is the last one seen."""
    id_ = col(ClientRow.client_id)
    return (
        await session.exec(model_select(ClientRow).where(id_ > after).order_by(id_).limit(limit))
    ).all()


async def rotate_secret(
    session: AsyncSession,
    client_id: str,
    *,
    new_digest: bytes,
    overlap: timedelta,
) -> datetime | None:
    """
    Give a client that has a secret a new one; the old one stays good for `overlap`.

    Returns:
        When the old secret ends; None if there is no such client, or it has no secret.
    """
    moment = session_clock.now(session)
    statement = (
        _of(client_id)
        .where(col(ClientRow.secret_digest).is_not(None))
        .values(
            previous_secret_digest=col(ClientRow.secret_digest),
            previous_secret_expires_at=moment + value(overlap),
            secret_digest=new_digest,
            secret_created_at=moment,
        )
        .returning(col(ClientRow.previous_secret_expires_at))
    )
    return (await session.exec(statement)).scalar_one_or_none()


async def set_keys(session: AsyncSession, client_id: str, keys: ClientKeys) -> None:
    """Replace the keys of a `private_key_jwt` client."""
    values = {"assertion_alg": keys.alg, "jwks": keys.jwks, "jwks_uri": keys.jwks_uri}
    await session.exec(_of(client_id).values(**values))


async def set_lists(session: AsyncSession, client: Client) -> None:
    """Store the allow-lists of a client, and its grants."""
    await session.exec(_of(client.client_id).values(**_arrays(client)))


async def set_disabled(session: AsyncSession, client_id: str, *, disabled: bool) -> bool:
    """Disable or enable; returns whether that changed anything."""
    statement = (
        _of(client_id)
        .where(col(ClientRow.disabled_at).is_(None) == disabled)
        .values(disabled_at=session_clock.now(session) if disabled else None)
    )
    return bool((await session.exec(statement)).rowcount)


def _of(client_id: str) -> Update:
    return update(ClientRow).where(col(ClientRow.client_id) == client_id)


def _arrays(client: Client) -> dict[str, list[str]]:
    return {name: list(getattr(client, name)) for name in ARRAYS}


def _client(row: Row) -> Client:
    arrays = {name: tuple(row[name]) for name in ARRAYS}
    return read(Client, row, auth_method=AuthMethod(row["auth_method"]), **arrays)


@cache
def _find() -> HotStatement:
    one_row = clock()
    c = clients.c
    valid = c.previous_secret_expires_at > one_row.c.now
    previous = case((valid, c.previous_secret_digest), else_=null()).label("valid_previous_digest")
    columns = (*(c[name] for name in names(Client)), c.secret_digest)
    joined = one_row.outerjoin(clients, c.client_id == bindparam("id", type_=Text))
    return HotStatement(select(*columns, previous).select_from(joined))


@cache
def _is_enabled() -> HotStatement:
    c = clients.c
    return HotStatement(
        select(c.client_id).where(
            c.client_id == bindparam("id", type_=Text), c.disabled_at.is_(None)
        )
    )
