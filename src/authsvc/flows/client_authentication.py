"""Authenticate a client (RFC 6749 §3.2.1) by its registered method and no other."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from authsvc.keys import client_secrets
from authsvc.protocol.audit import AuditEvent, Caller
from authsvc.protocol.client_assertion import key_id, verify_assertion
from authsvc.protocol.client_auth import PresentedClient
from authsvc.protocol.client_keys import BadKeySet, ClientKey, find_key, read_jwks
from authsvc.protocol.clients import AuthMethod, Client
from authsvc.protocol.oauth_errors import InvalidClient
from authsvc.protocol.throttle import Limits
from authsvc.remote.client_jwks import RemoteKeys
from authsvc.store import clients, spent_jtis, throttle_buckets
from authsvc.store.clients import Found
from authsvc.store.database import Database
from authsvc.store.throttle_buckets import Counted, bucket_key


@dataclass(frozen=True, slots=True)
class ClientAttempt:
    """
    Who says to be a client, from where.

    Args:
        network: The caller's IPv4 address or IPv6 /64.
    """

    presented: PresentedClient
    network: str
    caller: Caller


async def authenticate_client(
    db: Database,
    *,
    attempt: ClientAttempt,
    remote_keys: RemoteKeys,
    issuer: str,
    limits: Limits | None,
    now: datetime,
) -> Client:
    """
    Authenticate a client by its credential (RFC 6749 §2.3).

    Nobody guesses 256 bits or a signature, so a right credential never waits: a neighbour with a
    wrong secret keeps nobody out. Only failures are capped, per network, as each writes a row.

    Args:
        remote_keys: Those of clients that publish them themselves.
        issuer: What the `aud` of an assertion must be.
        limits: None: not throttled, for load tests.

    Raises:
        InvalidClient: It is nobody's; the failure is counted and committed.
        TooManyAttempts: It is nobody's, and its network has failed too often; not audited.
        ClientKeysUnavailable: Nothing was tried.
        DatabaseUnavailable: Nothing is known.
    """
    name = attempt.presented.client_id
    async with db.autocommit() as connection:
        found = await clients.find_for_authentication(connection, name)
    try:
        return await _verified(
            db, attempt.presented, found, remote_keys=remote_keys, issuer=issuer, now=now
        )
    except InvalidClient as refusal:
        cause = refusal.detail
    async with db.autocommit() as connection:
        if limits is not None:
            key = bucket_key(Counted.CLIENT_FAILURES, attempt.network)
            await throttle_buckets.take(
                connection, key, limits.client_failures, refusal="client_failures"
            )
        await throttle_buckets.record_failure(
            connection,
            None,
            event=AuditEvent.CLIENT_AUTHENTICATION_FAILED,
            user_id=None,
            cause=cause,
            caller=attempt.caller,
            client_id=name,
        )
    raise InvalidClient(cause)


async def _verified(
    db: Database,
    presented: PresentedClient,
    found: Found,
    *,
    remote_keys: RemoteKeys,
    issuer: str,
    now: datetime,
) -> Client:
    client = found.client
    # The same comparison for a client that is not there, so that its answer takes as long.
    right = client_secrets.matches(presented.credential, found.secret_digests)
    if client is None:
        raise InvalidClient("client_disabled" if found.disabled else "unknown_client")
    if presented.method is not client.auth_method:
        raise InvalidClient("other_method")
    if client.auth_method is not AuthMethod.PRIVATE_KEY_JWT:
        if not right:
            raise InvalidClient("wrong_secret")
        return client
    key = await _key(client, key_id(presented.credential), remote_keys, now)
    # Signature and claims first: a forged assertion must not use up the `jti` of a real one.
    assertion = verify_assertion(
        presented.credential,
        client_id=client.client_id,
        alg=client.assertion_alg or "",
        key=key,
        issuer=issuer,
        now=now,
    )
    async with db.autocommit() as connection:
        fresh = await spent_jtis.consume_assertion(
            connection,
            client_id=client.client_id,
            jti=assertion.jti,
            expires_at=assertion.expires_at,
        )
    if not fresh:
        raise InvalidClient("assertion_replayed")
    return client


async def _key(
    client: Client, kid: str | None, remote_keys: RemoteKeys, now: datetime
) -> ClientKey:
    """The key of that name; no connection to the database is held meanwhile."""
    alg = client.assertion_alg or ""
    if client.jwks_uri is not None:
        key = await remote_keys.find(client.jwks_uri, alg=alg, kid=kid, now=now)
    else:
        try:
            key = find_key(read_jwks(client.jwks or "", alg=alg), kid)
        except BadKeySet:  # a set that was good when it was registered
            raise InvalidClient("no_keys") from None
    if key is None:
        raise InvalidClient("unknown_kid")
    return key
