"""The client credentials grant (RFC 6749 §4.4): an access token for the client itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from authsvc.keys.issuer import Issuer
from authsvc.protocol.clients import Client, granted_audience, granted_scope
from authsvc.protocol.grants import ClientGrant
from authsvc_client.tokens.secret import Secret


@dataclass(frozen=True, slots=True)
class ClientToken:
    """An access token and what it says."""

    access_token: Secret
    grant: ClientGrant


def client_credentials(
    issuer: Issuer,
    client: Client,
    *,
    scope: str | None,
    resources: Sequence[str],
    now: datetime,
) -> ClientToken:
    """
    An access token for an authenticated client; there is no refresh token (RFC 6749 §4.4.3).

    Args:
        resources: Every `resource` parameter (RFC 8707).

    Raises:
        InvalidTarget, InvalidScope: More than the client was given.
        NoSigningKey: No key is active.
    """
    grant = ClientGrant(
        client_id=client.client_id,
        audience=granted_audience(client, resources),
        scope=granted_scope(client, scope),
    )
    return ClientToken(issuer.client_access_token(grant, now=now), grant)
