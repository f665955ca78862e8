"""How `authsvc clients` shows a client; never a secret, nor the hash of one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime

from authsvc.cli.console import printable, timestamp
from authsvc.store.tables import ClientRow


def table(clients: Sequence[ClientRow]) -> list[tuple[str, ...]]:
    """A row for each client below the headings."""
    rows: list[tuple[str, ...]] = [("CLIENT", "NAME", "METHOD", "STATE", "RESOURCES", "SCOPES")]
    rows += [
        (
            client.client_id,
            client.name,
            client.auth_method,
            "disabled" if client.disabled_at else "active",
            " ".join(client.resources),
            " ".join(client.scopes),
        )
        for client in clients
    ]
    return rows


def facts(client: ClientRow) -> list[tuple[str, str]]:
    """One client in labelled lines."""
    return [
        ("client", client.client_id),
        ("name", client.name),
        ("method", client.auth_method),
        ("resources", " ".join(client.resources) or "none: it gets no tokens"),
        ("scopes", " ".join(client.scopes) or "none"),
        ("audiences", " ".join(client.audiences) or "none: it may not introspect tokens"),
        ("credential", _credential(client)),
        ("created", timestamp(client.created_at)),
        ("disabled", timestamp(client.disabled_at) if client.disabled_at else "no"),
    ]


def as_json(client: ClientRow) -> dict[str, object]:
    """One client for programs."""
    return {
        "client_id": client.client_id,
        "name": client.name,
        "auth_method": client.auth_method,
        "grant_types": client.grant_types,
        "scopes": client.scopes,
        "resources": client.resources,
        "audiences": client.audiences,
        "assertion_alg": client.assertion_alg,
        "jwks": json.loads(client.jwks) if client.jwks else None,
        "jwks_uri": client.jwks_uri,
        "secret_created_at": client.secret_created_at,
        "previous_secret_expires_at": _previous_until(client),
        "created_at": client.created_at,
        "disabled_at": client.disabled_at,
    }


def _credential(client: ClientRow) -> str:
    if client.assertion_alg is not None:
        where = client.jwks_uri or ", ".join(_kids(client)) or "one key without a kid"
        return f"{client.assertion_alg} keys: {where}"
    made = timestamp(client.secret_created_at or client.created_at)
    previous = _previous_until(client)
    return f"secret created {made}" + (
        f"; the previous one is valid until {previous}" if previous else ""
    )


def _previous_until(client: ClientRow) -> str | None:
    ends = client.previous_secret_expires_at
    return timestamp(ends) if ends is not None and ends > datetime.now(UTC) else None


def _kids(client: ClientRow) -> list[str]:
    keys = json.loads(client.jwks or '{"keys":[]}')["keys"]
    return [printable(str(key["kid"])) for key in keys if "kid" in key]
