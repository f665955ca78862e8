"""
`authsvc keys`: the life of signing keys and refresh MAC keys (CONTRACT §4).

Nothing here talks to a running service: services read the same directory every 15 s. Only
`revoke` tells the database as well, so that every verifier learns of it.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from authsvc.cli.console import print_json, print_table, timestamp
from authsvc.cli.database import database_url, with_database
from authsvc.cli.group import KEY_ID_MAY_BEGIN_WITH_A_DASH, Json, group
from authsvc.cli.key_directory import inventory_of, passphrase_of
from authsvc.cli.key_texts import as_json, rows, what_breaks
from authsvc.cli.refusals import in_words
from authsvc.flows.revoke_key import announce_key
from authsvc.keys import pem, retirement, rotation
from authsvc.keys.key_files import LAST_YEAR, KeyKind
from authsvc.keys.keyring import DEFAULT_LEAD
from authsvc.keys.rotation import Added
from authsvc.operator_errors import OperatorError
from authsvc.protocol.errors import Refusal
from authsvc.settings import Settings
from authsvc_client.tokens.jwk import rsa_jwk

MINUTE = timedelta(minutes=1)
CACHED = (
    "Verifiers that have cached the JWKS refuse its tokens until they fetch it again: up to "
    "15 minutes, unless they fetch it again for an unknown kid."
)
UNANNOUNCED = (
    "The revocation feed was not told: verifiers that follow it trust the key until they fetch "
    "the JWKS again."
)
WITHIN_15_S = "Running services read it within 15 s."

app = group()


def _moment(text: str) -> datetime:
    moment = None
    with suppress(ValueError):
        moment = datetime.fromisoformat(text)
    if moment is None or moment.tzinfo is None:
        raise typer.BadParameter("write --at with its time zone, such as 2026-11-22T10:00:00Z")
    if moment.year >= LAST_YEAR:
        raise typer.BadParameter(f"choose a year before {LAST_YEAR}")
    return moment.astimezone(UTC)


At = Annotated[
    datetime | None,
    typer.Option(
        parser=_moment,
        metavar="TEXT",
        help="When it becomes active, such as 2026-11-22T10:00:00Z; by default in an hour.",
    ),
]


@app.command("list", epilog="Example: authsvc keys list --json")
def list_keys(*, json_wanted: Json = False) -> None:
    """Show every key with what it does and until when it is needed."""
    settings = Settings.load()
    inventory = inventory_of(settings, now=datetime.now(UTC), repairs=True)
    if json_wanted:
        print_json(
            {
                "keys": [as_json(key) for key in inventory.keys],
                "problems": [asdict(problem) for problem in inventory.reading.problems],
            }
        )
        return
    if inventory.keys:
        print_table(rows(inventory.keys))
    else:
        typer.echo(f"{settings.keys_dir}: no keys.")
    for problem in inventory.reading.problems:
        typer.echo(str(problem), err=True)


@app.command(epilog="Example: authsvc keys add --at 2026-12-01T10:00:00Z")
def add(
    *,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Create a MAC key for refresh tokens instead.")
    ] = False,
    now: Annotated[
        bool, typer.Option("--now", help="Active at once: for the first key, and for emergencies.")
    ] = False,
    at: At = None,
    first: Annotated[
        bool,
        typer.Option(
            "--first",
            help="Create a first signing key and MAC key, active at once, if there is none.",
        ),
    ] = False,
    bits: Annotated[
        int,
        typer.Option(
            min=2048, max=8192, help="Bits of the RSA modulus; larger keys sign much more slowly."
        ),
    ] = 2048,
) -> None:
    """Create the next key; it is published at once and used later."""
    if sum((now, at is not None, first)) > 1 or (first and refresh):
        raise typer.BadParameter("--now, --at and --first exclude each other")
    settings = Settings.load()
    path, clock, passphrase = settings.keys_dir, datetime.now(UTC), passphrase_of(settings)
    kind = KeyKind.MAC if refresh else KeyKind.SIGNING
    if first:
        created = rotation.create_first_keys(path, clock, passphrase=passphrase, bits=bits)
        for key in created:
            _say_added(settings, key, clock)
        if not created:
            typer.echo(f"{path}: the first keys exist already; nothing to do.")
        return
    signs_already = path.is_dir() and any(
        key.state == "signing" for key in inventory_of(settings, now=datetime.now(UTC)).keys
    )
    if now:
        key = rotation.add_now(path, kind, now=clock, passphrase=passphrase, bits=bits)
    else:
        key = rotation.add(path, kind, now=clock, activation=at, passphrase=passphrase, bits=bits)
    _say_added(settings, key, clock)
    if now and signs_already and kind is KeyKind.SIGNING:
        typer.echo(CACHED)
    elif not now and not signs_already and kind is KeyKind.SIGNING:
        typer.echo("No key signs until then; for the first key use --now.", err=True)


@app.command(
    context_settings=KEY_ID_MAY_BEGIN_WITH_A_DASH,
    epilog="Example: authsvc keys revoke 20261122T100000Z.pem",
)
def revoke(
    key: Annotated[
        str,
        typer.Argument(
            metavar="KID",
            help="kid or MAC-key id, its beginning (6 characters or more), or the file.",
        ),
    ],
    *,
    without_feed: Annotated[
        bool,
        typer.Option("--without-feed", help="Skip the revocation feed, if no database answers."),
    ] = False,
) -> None:
    """Revoke a leaked key at once; a key in use gets a successor first."""
    settings = Settings.load()
    clock = datetime.now(UTC)
    revoked = retirement.revoke(
        settings.keys_dir,
        key,
        now=clock,
        refresh_absolute_ttl=settings.refresh_absolute_ttl,
        passphrase=passphrase_of(settings),
        announce=_unannounced if without_feed else partial(_announce, settings),
    )
    typer.echo(f"Deleted {', '.join(revoked.files)}; running services drop it within 15 s.")
    state = revoked.key.state if revoked.key else "refused"
    typer.echo(what_breaks(state, kind=revoked.key.kind if revoked.key else ""))
    if revoked.successor is None:
        return
    if revoked.brought_forward:
        typer.echo(
            f"The next key was brought forward: {revoked.successor.file} "
            f"({revoked.successor.key_id}) works from now on. Verifiers that have read the JWKS "
            "since it was created know it; others as soon as they fetch it again."
        )
        waiting = [
            key.file
            for key in inventory_of(settings, now=datetime.now(UTC)).keys
            if key.kind == revoked.successor.kind and key.state == "next"
        ]
        typer.echo(
            f"After it waits {waiting[0]}."
            if waiting
            else "No further key is waiting; create one with `authsvc keys add`."
        )
    else:
        _say_added(settings, revoked.successor, clock)
        if revoked.successor.kind == "signing":
            typer.echo(CACHED)


@app.command(epilog="Example: authsvc keys prune")
def prune() -> None:
    """Remove keys that no live token needs, and the private half of retired ones."""
    settings = Settings.load()
    pruned = retirement.prune(
        settings.keys_dir,
        now=datetime.now(UTC),
        refresh_absolute_ttl=settings.refresh_absolute_ttl,
        passphrase=passphrase_of(settings),
    )
    for file in pruned.removed:
        typer.echo(f"Removed {file}: no live token needs it.")
    for file in pruned.halved:
        typer.echo(f"Kept only the public half of {file}: it no longer signs.")
    if not pruned.removed and not pruned.halved:
        typer.echo("Nothing to prune.")


@app.command("import", epilog="Example: authsvc keys import old-key.pem --at 2026-12-01T10:00:00Z")
def import_key(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="PEM with an RSA private key.")],
    *,
    now: Annotated[bool, typer.Option("--now", help="Active at once.")] = False,
    at: At = None,
    passphrase_file: Annotated[
        Path | None,
        typer.Option(help="File with the passphrase; by default AUTHSVC_KEYS_PASSPHRASE is tried."),
    ] = None,
) -> None:
    """Import an existing signing key."""
    if now and at is not None:
        raise typer.BadParameter("--now and --at exclude each other")
    settings = Settings.load()
    clock = datetime.now(UTC)
    source_passphrase = passphrase_of(settings)
    try:
        content = file.read_bytes()
        if passphrase_file:
            source_passphrase = passphrase_file.read_text(encoding="utf-8-sig").strip()
    except OSError as exc:
        raise OperatorError(
            f"{exc.filename}: cannot be read ({exc.strerror}); name another file"
        ) from exc
    except UnicodeDecodeError as exc:
        raise OperatorError(
            f"{passphrase_file}: is not UTF-8; it must hold only the passphrase"
        ) from exc
    key = rotation.import_key(
        settings.keys_dir,
        content,
        now=clock,
        activation=at or (clock if now else clock + DEFAULT_LEAD),
        source_passphrase=source_passphrase,
        passphrase=passphrase_of(settings),
    )
    _say_added(settings, key, clock)
    if now:
        typer.echo(CACHED)
    typer.echo(f"Delete {file}: what others can read is not a secret.", err=True)


@app.command(
    "export-public",
    context_settings=KEY_ID_MAY_BEGIN_WITH_A_DASH,
    epilog="Example: authsvc keys export-public > jwks.json",
)
def export_public(
    key: Annotated[
        str | None, typer.Argument(metavar="KID", help="Only this key, or its beginning.")
    ] = None,
    *,
    as_pem: Annotated[bool, typer.Option("--pem", help="Print PEM instead of a JWKS.")] = False,
) -> None:
    """Print the published keys, for verifiers that cannot fetch the JWKS."""
    settings = Settings.load()
    clock = datetime.now(UTC)
    published = inventory_of(settings, now=clock).ring.published(clock)
    chosen = [each for each in published if key is None or each.kid.startswith(key)]
    if not chosen:
        named = f"{key}: no published key begins like this" if key else "no key is published"
        raise OperatorError(f"{settings.keys_dir}: {named}; see `authsvc keys list`")
    if as_pem:
        for each in chosen:
            typer.echo(pem.public_pem(each.public_key).decode("ascii"), nl=False)
    else:
        print_json({"keys": [rsa_jwk(each.public_key) for each in chosen]})


def _announce(settings: Settings, kid: str) -> None:
    """Tell the feed; without any database there is none, and nothing that could serve it."""
    try:
        database_url(settings)
    except OperatorError:
        _unannounced(kid)
        return
    try:
        with_database(settings, lambda db: announce_key(db, kid))
    except (OperatorError, Refusal) as exc:
        raise OperatorError(
            f"{in_words(exc)}. The key is still there, since its entry for the revocation feed "
            "was not written; repeat this, or add --without-feed"
        ) from exc


def _unannounced(_: str) -> None:
    typer.echo(UNANNOUNCED, err=True)


def _say_added(settings: Settings, key: Added, now: datetime) -> None:
    does = "signs" if key.kind == "signing" else "seals refresh tokens"
    minutes = round((key.activation - now) / MINUTE)
    when = (
        f"from {timestamp(key.activation)} on (in {minutes} min)" if minutes > 0 else "from now on"
    )
    typer.echo(f"Created {settings.keys_dir / key.file} ({key.key_id}): it {does} {when}.")
    typer.echo(WITHIN_15_S)
