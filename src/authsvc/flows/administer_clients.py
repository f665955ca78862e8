"""What an administrator does to clients, one transaction each, all of it audited."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from authsvc.keys import client_secrets
from authsvc.protocol.audit import AuditEvent, Caller
from authsvc.protocol.client_keys import check_keys
from authsvc.protocol.clients import (
    CLIENT_ID,
    Client,
    ClientKeys,
    Listed,
    check_client,
    grants_of,
    invalid_member,
)
from authsvc.protocol.errors import NotFound
from authsvc.store import audit, clients
from authsvc.store.database import Database, Session, in_transaction
from authsvc.store.rows import existing
from authsvc.store.tables import ClientRow
from authsvc_client.tokens.secret import Secret


@dataclass(frozen=True, slots=True)
class Created:
    """
    A new client.

    Args:
        secret: To be shown now or never; None for one that has keys.
    """

    client: ClientRow
    secret: Secret | None


@dataclass(frozen=True, slots=True)
class Rotated:
    """
    A new secret beside the old one.

    Args:
        old_until: When the old one ends.
        ended_early: Whether a still older one was good until now, and is not any more.
    """

    secret: Secret
    old_until: datetime
    ended_early: bool


async def find_client(db: Database, client_id: str) -> ClientRow:
    """
    The client of an id.

    Raises:
        NotFound: There is none.
    """
    _require_form(client_id)
    async with db.transaction() as session:
        return await existing(session, ClientRow, client_id, name="client")


async def list_clients(db: Database, *, limit: int, after: str = "") -> Sequence[ClientRow]:
    """
    A page of clients in the order of their ids; `after` is the last one seen.

    Raises:
        NotFound: `after` is no id.
    """
    if after:
        _require_form(after)
    async with db.transaction() as session:
        return await clients.list_all(session, limit=limit, after=after)


@in_transaction
async def create_client(
    session: Session,
    client: Client,
    *,
    loopback: bool = False,
    caller: Caller | None = None,
) -> Created:
    """
    Register a client, and make its secret if its method needs one.

    Args:
        client: Its grants follow from its resources.
        loopback: Whether keys may be fetched from this machine by http: development.
        caller: None for the command line.

    Raises:
        ValidationFailed: A member will not do, or the id was given before.
    """
    client = replace(client, grant_types=grants_of(client.resources))
    check_client(client, loopback=loopback)
    check_keys(client)
    if not client.resources and not client.audiences:
        raise invalid_member(
            "resource",
            "Name what its tokens are for (--resource), or what it introspects tokens as "
            "(--audience); without either it could do nothing.",
        )
    secret = client_secrets.new_client_secret() if client.auth_method.by_secret else None
    row = await clients.create(
        session,
        client,
        secret_digest=client_secrets.digest(secret) if secret else None,
    )
    if row is None:
        raise invalid_member("client_id", "There is a client of this id already; choose another.")
    await audit.record_client(
        session,
        AuditEvent.CLIENT_CREATED,
        client.client_id,
        caller=caller,
        auth_method=client.auth_method,
        **{name: list(values) for name, values in client.lists.items()},
    )
    return Created(row, secret)


@in_transaction
async def rotate_client_secret(
    session: Session,
    client_id: str,
    *,
    overlap: timedelta,
    caller: Caller | None = None,
) -> Rotated:
    """
    Give a client a new secret; the one it has stays good for `overlap`.

    Raises:
        NotFound: There is no such client.
        ValidationFailed: It has keys, and no secret.
    """
    _require_form(client_id)
    secret = client_secrets.new_client_secret()
    _, ended_early = await clients.lock(session, client_id)
    old_until = await clients.rotate_secret(
        session, client_id, new_digest=client_secrets.digest(secret), overlap=overlap
    )
    if old_until is None:
        raise invalid_member("client_id", "This client has keys instead of a secret; see set-keys.")
    await audit.record_client(
        session,
        AuditEvent.CLIENT_SECRET_ROTATED,
        client_id,
        caller=caller,
        old_until=old_until.isoformat(),
    )
    return Rotated(secret, old_until, ended_early)


@in_transaction
async def set_client_keys(
    session: Session,
    client_id: str,
    keys: ClientKeys,
    *,
    loopback: bool = False,
    caller: Caller | None = None,
) -> None:
    """
    Replace the keys of a client; assertions of the old ones are refused at once.

    Args:
        loopback: As `create_client`.

    Raises:
        NotFound: There is no such client.
        ValidationFailed: It has a secret, or the keys will not do.
    """
    _require_form(client_id)
    client, _ = await clients.lock(session, client_id)
    if client.auth_method.by_secret:
        raise invalid_member(
            "client_id", "This client has a secret and no keys; see rotate-secret."
        )
    changed = replace(client, assertion_alg=keys.alg, jwks=keys.jwks, jwks_uri=keys.jwks_uri)
    check_client(changed, loopback=loopback)
    check_keys(changed)
    await clients.set_keys(session, client_id, keys)
    await audit.record_client(
        session, AuditEvent.CLIENT_KEYS_CHANGED, client_id, caller=caller, alg=keys.alg
    )


@in_transaction
async def set_client_list(
    session: Session,
    client_id: str,
    listed: Listed,
    values: Sequence[str],
    *,
    caller: Caller | None = None,
) -> bool:
    """
    Replace what a client may have of one kind; the next token has it.

    Returns:
        False if it was so already.

    Raises:
        NotFound: There is no such client.
        ValidationFailed: A value will not do.
    """
    _require_form(client_id)
    wanted = tuple(sorted(set(values)))
    client, _ = await clients.lock(session, client_id)
    before = client.lists[listed]
    if tuple(sorted(before)) == wanted:
        return False
    changed = client.with_list(listed, wanted)
    check_client(replace(changed, jwks_uri=None))  # which was looked at when it was given
    await clients.set_lists(session, changed)
    await audit.record_client(
        session,
        AuditEvent.CLIENT_CHANGED,
        client_id,
        caller=caller,
        member=listed,
        before=list(before),
        after=list(wanted),
    )
    return True


@in_transaction
async def set_client_disabled(
    session: Session,
    client_id: str,
    *,
    disabled: bool,
    caller: Caller | None = None,
) -> bool:
    """
    Refuse a client from now on, or let it in again.

    Returns:
        False if it was so already.

    Raises:
        NotFound: There is no such client.
    """
    _require_form(client_id)
    changed = await clients.set_disabled(session, client_id, disabled=disabled)
    if not changed:
        await existing(session, ClientRow, client_id, name="client")
    else:
        event = AuditEvent.CLIENT_DISABLED if disabled else AuditEvent.CLIENT_ENABLED
        await audit.record_client(session, event, client_id, caller=caller)
    return changed


def _require_form(client_id: str) -> None:
    """No client has an id of another form, so that the database need not be asked for it."""
    if not CLIENT_ID.fullmatch(client_id):
        raise NotFound("client")
