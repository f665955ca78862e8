"""`jti`s that work no more, the same for all replicas and over restarts (RFC 7523 §3, RFC 7009)."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from enum import StrEnum
from functools import cache
from uuid import UUID

from sqlalchemy import (
    CTE,
    ColumnElement,
    Interval,
    LargeBinary,
    Text,
    and_,
    bindparam,
    cast,
    func,
    literal_column,
    or_,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.sql.dml import ReturningInsert
from sqlmodel.ext.asyncio.session import AsyncSession

from authsvc.protocol.audit import AuditEvent, Caller
from authsvc.store import session_clock
from authsvc.store.audit import CALLER, audit_from, caller_binds
from authsvc.store.hot_statement import TIMESTAMPTZ, HotConnection, HotStatement, clock, constant
from authsvc.store.pruning import delete_some
from authsvc.store.revocations import client_announced, life, token_announced
from authsvc.store.tables import audit_records, spent_jtis
from authsvc_client.tokens.revocations import LIFE, SKEW
from authsvc_client.tokens.revocations import digest as digest_of

# As long as the entry in the feed may live, so that what is counted is no less than what lives
# there. And `expires_at` follows the process's clock, pruning the database's.
PRUNE_AFTER = LIFE
# Entries of one client in the revocation log, which all share; beyond it one speaks for them all.
MAX_LIVE = 100

s = spent_jtis.c
COLUMNS = ("kind", "client_id", "digest", "expires_at")
NO_DIGEST = literal_column("''::bytea", LargeBinary)


class JtiKind(StrEnum):
    """What the `jti` belongs to."""

    CLIENT_ASSERTION = "client_assertion"
    ACCESS_TOKEN = "access_token"  # noqa: S105 - a kind, not a token
    # All of a client that were issued before `expires_at - LIFE`: one row, without a digest.
    CLIENT_TOKENS = "client_tokens"


async def consume_assertion(
    connection: HotConnection, *, client_id: str, jti: str, expires_at: datetime
) -> bool:
    """
    Use up the `jti` of an assertion.

    Returns:
        False if it was used before, by whatever replica, at whatever endpoint.
    """
    row = await _consume().fetchrow(
        connection,
        kind=JtiKind.CLIENT_ASSERTION,
        client=client_id,
        jti_digest=_digest(jti),
        until=expires_at,
    )
    return row is not None


async def revoke_access_token(
    connection: HotConnection,
    *,
    client_id: str,
    jti: str,
    issued_at: datetime,
    expires_at: datetime,
    caller: Caller,
) -> bool:
    """
    Revoke one access token of a client, announce it and audit it.

    With it go all that the client has so far, if it has revoked `MAX_LIVE` of them already: a
    client may fill a part of the log, and never that of the others. Revocations at once count
    without one another, so there may be as many more as are in flight.

    Returns:
        False if it was revoked already.
    """
    [so_far] = await _so_far().fetch(connection, client=client_id, until=issued_at + LIFE)
    if so_far["covered"]:
        return False
    too_many = so_far["live"] >= MAX_LIVE
    binds: dict[str, object] = {"client_digest": digest_of(client_id)} if too_many else {}
    row = await (_revoke_all() if too_many else _revoke()).fetchrow(
        connection,
        **binds,
        kind=JtiKind.ACCESS_TOKEN,
        client=client_id,
        jti_digest=_digest(jti),
        until=expires_at,
        **caller_binds(caller),
        details=json.dumps(
            {"client_id": client_id, "jti": jti} | ({"all_so_far": True} if too_many else {})
        ),
    )
    return row is not None


async def is_revoked(
    connection: HotConnection, *, client_id: str, jti: str, issued_at: datetime
) -> bool:
    """Whether this access token of a client was revoked, by itself or with all of them."""
    row = await _find().fetchrow(
        connection, client=client_id, jti_digest=_digest(jti), until=issued_at + LIFE
    )
    return row is not None


async def prune(session: AsyncSession, *, batch: int) -> int:
    """Forget what is refused for its age by now; at most `batch`."""
    dead = s.expires_at < session_clock.once(session) - PRUNE_AFTER
    return await delete_some(session, spent_jtis, dead, batch=batch)


def _digest(jti: str) -> bytes:
    """A digest of fixed length, for ids of any length."""
    return hashlib.sha256(jti.encode("utf-8", "surrogatepass")).digest()


def _insert() -> ReturningInsert[tuple[bytes]]:
    row = select(
        bindparam("kind", type_=Text),
        bindparam("client", type_=Text),
        bindparam("jti_digest", type_=LargeBinary),
        bindparam("until", type_=TIMESTAMPTZ),
    )
    return (
        insert(spent_jtis)
        .from_select(COLUMNS, row, include_defaults=False)
        .on_conflict_do_nothing()
        .returning(s.digest)
    )


@cache
def _consume() -> HotStatement:
    return HotStatement(_insert())


@cache
def _revoke() -> HotStatement:
    revoked = _insert().cte("revoked")
    return HotStatement(_audited(revoked).add_cte(token_announced(revoked)))


@cache
def _revoke_all() -> HotStatement:
    revoked = _insert().cte("revoked")
    one_row = clock()
    # `of_client_before` in SQL: the next whole second, and what clocks differ.
    moment = func.date_trunc(
        literal_column("'second'"),
        one_row.c.now + literal_column("interval '999999 microseconds'", Interval),
    )
    skew = literal_column(f"interval '{int(SKEW.total_seconds())} seconds'", Interval)
    row = select(
        constant(JtiKind.CLIENT_TOKENS),
        bindparam("client", type_=Text),
        NO_DIGEST,
        moment + skew + life(),
    ).select_from(revoked.join(one_row, true()))
    adding = insert(spent_jtis).from_select(COLUMNS, row, include_defaults=False)
    coalesced = (
        adding.on_conflict_do_update(
            index_elements=[s.kind, s.client_id, s.digest],
            set_={"expires_at": func.greatest(s.expires_at, adding.excluded.expires_at)},
        )
        .returning(s.client_id)
        .cte("coalesced")
    )
    client = bindparam("client_digest", type_=LargeBinary)
    return HotStatement(_audited(revoked).add_cte(client_announced(coalesced, client, one_row)))


def _audited(revoked: CTE) -> ReturningInsert[tuple[UUID]]:
    return audit_from(
        select(
            constant(AuditEvent.CLIENT_TOKEN_REVOKED),
            literal_column("NULL::uuid"),
            literal_column("NULL::uuid"),
            *CALLER,
            cast(bindparam("details", type_=Text), JSONB),
        ).select_from(revoked)
    ).returning(audit_records.c.id)


@cache
def _so_far() -> HotStatement:
    """Whether a token is revoked with all of its client, and how many were one by one."""
    one_row = clock()
    live = (
        select(s.digest)
        .where(
            s.kind == constant(JtiKind.ACCESS_TOKEN),
            s.client_id == bindparam("client", type_=Text),
            s.expires_at > select(one_row.c.now).scalar_subquery() - life(),
        )
        .limit(literal_column(str(MAX_LIVE)))
        .subquery("live")
    )
    return HotStatement(
        select(
            select(s.client_id).where(_covers()).exists().label("covered"),
            select(func.count()).select_from(live).scalar_subquery().label("live"),
        )
    )


@cache
def _find() -> HotStatement:
    by_itself = and_(
        s.kind == constant(JtiKind.ACCESS_TOKEN),
        s.client_id == bindparam("client", type_=Text),
        s.digest == bindparam("jti_digest", type_=LargeBinary),
    )
    return HotStatement(select(s.client_id).where(or_(by_itself, _covers())))


def _covers() -> ColumnElement[bool]:
    """Whether a row speaks of all tokens of the client, up to the one that is asked about."""
    return and_(
        s.kind == constant(JtiKind.CLIENT_TOKENS),
        s.client_id == bindparam("client", type_=Text),
        s.digest == NO_DIGEST,
        s.expires_at > bindparam("until", type_=TIMESTAMPTZ),
    )
