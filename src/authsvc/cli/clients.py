"""`authsvc clients`: services that authenticate themselves (docs/service-to-service.md)."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from authsvc.cli.client_texts import as_json, facts, table
from authsvc.cli.console import print_json, print_table, timestamp
from authsvc.cli.database import with_database
from authsvc.cli.group import Json, group
from authsvc.flows import administer_clients
from authsvc.operator_errors import OperatorError
from authsvc.protocol.clients import AuthMethod, Client, ClientKeys, Listed
from authsvc.settings import Settings

app = group()

MAX_JWKS = 65_536  # bytes; 20 keys of 8192 bits take half of it
SHOWN_ONCE = "The secret is not shown again: authsvc keeps only its hash."

TheClient = Annotated[str, typer.Argument(metavar="CLIENT", help="The client's id.")]
Alg = Annotated[
    str | None,
    typer.Option(
        metavar="ALG", help="The one algorithm of its assertions: RS256, PS256, ES256 or EdDSA."
    ),
]
Jwks = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Its public keys, a JWK Set; - is standard input."),
]

JwksUri = Annotated[
    str | None, typer.Option(metavar="URL", help="Or the https URL where it publishes them.")
]


@app.command(
    epilog="Example: authsvc clients create shop --resource https://orders.example.com "
    "--scope orders:read"
)
def create(
    client_id: Annotated[
        str,
        typer.Argument(metavar="CLIENT", help="Its id, which never changes: a-z 0-9 . _ and -."),
    ],
    *,
    name: Annotated[str | None, typer.Option(help="A name for people; by default the id.")] = None,
    auth_method: Annotated[
        AuthMethod, typer.Option(help="The one way in which it authenticates.")
    ] = AuthMethod.CLIENT_SECRET_BASIC,
    resource: Annotated[
        list[str] | None,
        typer.Option(help="A service that its tokens may be for (`aud`); repeat it for more."),
    ] = None,
    scope: Annotated[
        list[str] | None, typer.Option(help="Scopes it may have; repeat it, or put spaces between.")
    ] = None,
    audience: Annotated[
        list[str] | None,
        typer.Option(help="An `aud` whose tokens it may introspect; repeat it for more."),
    ] = None,
    alg: Alg = None,
    jwks: Jwks = None,
    jwks_uri: JwksUri = None,
    json_wanted: Json = False,
) -> None:
    """Register a client and show its secret, only once."""
    client = Client(
        client_id=client_id,
        name=client_id if name is None else name,
        auth_method=auth_method,
        grant_types=(),
        scopes=_scopes(scope),
        resources=_listed(resource),
        audiences=_listed(audience),
        assertion_alg=alg,
        jwks=_jwks(jwks),
        jwks_uri=jwks_uri,
    )
    settings = Settings.load()
    created = with_database(
        settings,
        lambda db: administer_clients.create_client(db, client, loopback=not settings.production),
    )
    if json_wanted:
        secret = {} if created.secret is None else {"client_secret": created.secret}
        print_json({**as_json(created.client), **secret})
        return
    typer.echo(f"Created {client.client_id}.")
    if created.secret is not None:
        _show_secret(client_id, created.secret)


@app.command("list", epilog="Example: authsvc clients list --limit 20 --after shop")
def list_clients(
    *,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 100,
    after: Annotated[str, typer.Option(help="The last id of the previous page.")] = "",
    json_wanted: Json = False,
) -> None:
    """List clients in the order of their ids."""
    page = with_database(
        Settings.load(),
        lambda db: administer_clients.list_clients(db, limit=limit + 1, after=after),
    )
    clients = page[:limit]
    following = clients[-1].client_id if len(page) > limit else None
    if json_wanted:
        print_json({"clients": [as_json(client) for client in clients], "next": following})
        return
    if not clients:
        typer.echo("No clients." if not after else "No more clients.")
        return
    print_table(table(clients))
    if following:
        typer.echo(f"There are more: authsvc clients list --after {following}", err=True)


@app.command(epilog="Example: authsvc clients show shop --json")
def show(client_id: TheClient, *, json_wanted: Json = False) -> None:
    """Show one client; its secret is never shown again."""
    found = with_database(Settings.load(), lambda db: administer_clients.find_client(db, client_id))
    if json_wanted:
        print_json(as_json(found))
        return
    for label, value in facts(found):
        typer.echo(f"{label:<12}{value}")


@app.command("rotate-secret", epilog="Example: authsvc clients rotate-secret shop --overlap 48")
def rotate_secret(
    client_id: TheClient,
    *,
    overlap: Annotated[
        int,
        typer.Option(
            min=0,
            max=24 * 90,
            help="Hours for which the old secret stays valid; 0 ends it now (a leak).",
        ),
    ] = 24,
    json_wanted: Json = False,
) -> None:
    """Make a new secret; the old one stays valid for a while."""
    rotated = with_database(
        Settings.load(),
        lambda db: administer_clients.rotate_client_secret(
            db, client_id, overlap=timedelta(hours=overlap)
        ),
    )
    if json_wanted:
        print_json(
            {
                "client_id": client_id,
                "client_secret": rotated.secret,
                "previous_secret_expires_at": timestamp(rotated.old_until),
            }
        )
    else:
        _show_secret(client_id, rotated.secret)
        until = f"is valid until {timestamp(rotated.old_until)}" if overlap else "has ended"
        typer.echo(f"The old secret {until}.", err=True)
    if rotated.ended_early:
        typer.echo(
            "The secret before the old one was still valid and has ended: at most two are valid.",
            err=True,
        )


@app.command("set-keys", epilog="Example: authsvc clients set-keys shop --alg ES256 --jwks k.json")
def set_keys(
    client_id: TheClient, *, alg: Alg = None, jwks: Jwks = None, jwks_uri: JwksUri = None
) -> None:
    """Replace the public keys of a private_key_jwt client; to change over, list old and new."""
    keys = ClientKeys(alg=alg, jwks=_jwks(jwks), jwks_uri=jwks_uri)
    settings = Settings.load()
    with_database(
        settings,
        lambda db: administer_clients.set_client_keys(
            db, client_id, keys, loopback=not settings.production
        ),
    )
    typer.echo(f"{client_id} has new keys; they are used from now on.")


@app.command("set-scopes", epilog="Example: authsvc clients set-scopes shop orders:read")
def set_scopes(
    client_id: TheClient,
    scopes: Annotated[
        list[str] | None,
        typer.Argument(metavar="SCOPE", help="All scopes that it may have; none removes all."),
    ] = None,
) -> None:
    """Replace the scopes that a client may have."""
    _set_list(client_id, Listed.SCOPES, _scopes(scopes))


@app.command(
    "set-resources", epilog="Example: authsvc clients set-resources shop https://orders.example.com"
)
def set_resources(
    client_id: TheClient,
    resources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RESOURCE",
            help="All services that its tokens may be for; none: it gets no tokens.",
        ),
    ] = None,
) -> None:
    """Replace the services that a client's tokens may be for."""
    _set_list(client_id, Listed.RESOURCES, resources)


@app.command(
    "set-audiences",
    epilog="Example: authsvc clients set-audiences orders https://orders.example.com",
)
def set_audiences(
    client_id: TheClient,
    audiences: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="AUDIENCE", help="All audiences; none: it may not introspect tokens."
        ),
    ] = None,
) -> None:
    """Replace the audiences whose tokens a client may introspect."""
    _set_list(client_id, Listed.AUDIENCES, audiences)


@app.command(epilog="Example: authsvc clients disable shop")
def disable(client_id: TheClient) -> None:
    """Refuse a client from now on."""
    settings = Settings.load()
    changed = _set_disabled(client_id, disabled=True)
    left = int(settings.access_ttl.total_seconds())
    if changed:
        typer.echo(
            f"Disabled {client_id}. Introspection refuses its access tokens from now on; "
            f"services that verify them themselves, within {left} s."
        )
    else:
        typer.echo(f"{client_id} was disabled already.")


@app.command(epilog="Example: authsvc clients enable shop")
def enable(client_id: TheClient) -> None:
    """Enable a disabled client again, with the credential it had."""
    changed = _set_disabled(client_id, disabled=False)
    typer.echo(f"Enabled {client_id}." if changed else f"{client_id} is not disabled.")


def _set_list(client_id: str, listed: Listed, values: Sequence[str] | None) -> None:
    changed = with_database(
        Settings.load(),
        lambda db: administer_clients.set_client_list(db, client_id, listed, values or ()),
    )
    named = " ".join(sorted(set(values or ()))) or "none"
    if changed:
        typer.echo(f"{client_id} now has the {listed}: {named}. New tokens have them.")
    else:
        typer.echo(f"{client_id} has these {listed} already: {named}.")


def _set_disabled(client_id: str, *, disabled: bool) -> bool:
    return with_database(
        Settings.load(),
        lambda db: administer_clients.set_client_disabled(db, client_id, disabled=disabled),
    )


def _scopes(values: Sequence[str] | None) -> tuple[str, ...]:
    """Scopes as RFC 6749 §3.3 writes them, too: several in one argument, with spaces between."""
    return _listed([scope for value in values or () for scope in value.split()])


def _listed(values: Sequence[str] | None) -> tuple[str, ...]:
    return tuple(sorted(set(values or ())))


def _jwks(file: Path | None) -> str | None:
    """
    A file of keys, as it is stored.

    Raises:
        OperatorError: It cannot be read.
    """
    if file is None:
        return None
    try:
        if str(file) == "-":
            data = sys.stdin.buffer.read(MAX_JWKS + 1)
        else:
            with file.open("rb") as stream:
                data = stream.read(MAX_JWKS + 1)
        if len(data) > MAX_JWKS:
            raise OperatorError(f"{file} has more than {MAX_JWKS} bytes; a JWK Set has fewer.")
        return json.dumps(json.loads(data.decode("utf-8-sig")), separators=(",", ":"))
    except OSError as exc:
        raise OperatorError(f"{file} cannot be read: {exc.strerror}") from exc
    except (ValueError, RecursionError):
        raise OperatorError(f"{file} is not JSON; give a JWK Set (RFC 7517 §5).") from None


def _show_secret(client_id: str, secret: str) -> None:
    """What the operator of the client needs."""
    typer.echo(f"{'client_id':<15}{client_id}")
    typer.echo(f"{'client_secret':<15}{secret}")
    typer.echo(SHOWN_ONCE, err=True)
