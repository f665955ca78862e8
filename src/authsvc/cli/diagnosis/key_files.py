"""Keys: is there one that signs and one that seals, are they used, and are they only ours."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from authsvc.cli.console import duration, plural, timestamp
from authsvc.cli.diagnosis.finding import Finding, error, info, ok, warning
from authsvc.cli.key_directory import inventory_of, passphrase_of
from authsvc.keys import pem
from authsvc.keys.inventory import ListedKey, State
from authsvc.keys.key_files import KeyDirectoryError, KeyKind, planted_directory
from authsvc.keys.reading import Reading, read
from authsvc.settings import Settings
from authsvc_client.private_file import OTHERS_WRITE

# Nothing forces a rotation; a key that nobody remembers how to replace is the risk.
OLD, VERY_OLD = timedelta(days=180), timedelta(days=730)
REPAIR = "repair the refused files below first; a new key would end what theirs began"


def examine(settings: Settings, *, now: datetime) -> Iterator[Finding]:
    """Look at the key directory as a service that starts now would."""
    path = settings.keys_dir
    try:
        inventory = inventory_of(settings, now=now, repairs=True)
    except KeyDirectoryError as exc:
        if not settings.production and isinstance(exc.__cause__, FileNotFoundError):
            yield info(
                "KEY-001",
                f"{path} does not exist yet",
                "nothing: `authsvc serve` creates the first keys in development",
            )
            return
        found, _, fix = str(exc).partition("; ")
        yield error("KEY-001", found, fix)
        return
    yield ok("KEY-001", f"{path} has {plural(len(inventory.keys), 'key')}")
    yield from _signing(inventory.keys, now)
    yield from _sealing(inventory.keys)
    refused = _refused(settings, now) if settings.production else []
    yield from refused
    for problem in inventory.reading.problems:
        if not (problem.refused and refused):
            code = "KEY-005" if problem.refused else "KEY-006"
            yield warning(code, f"{problem.file}: {problem.problem}", problem.fix)
    verdicts = inventory.reading.verdicts.values()
    yield from _writers(path, linked=any(verdict.file.lax_folder for verdict in verdicts))
    if settings.keys_passphrase:
        yield _encryption(inventory.reading)
    expired = [key for key in inventory.keys if key.state is State.EXPIRED]
    if expired:
        yield info(
            "KEY-008",
            f"{plural(len(expired), 'key')} that no live token needs",
            "remove them with `authsvc keys prune`",
        )


def _signing(keys: tuple[ListedKey, ...], now: datetime) -> Iterator[Finding]:
    of_signing = [key for key in keys if key.kind is KeyKind.SIGNING]
    signing = next((key for key in of_signing if key.state is State.SIGNING), None)
    waiting = [key for key in of_signing if key.state is State.NEXT]
    if signing is None:
        refused = any(key.state is State.REFUSED for key in of_signing)
        yield error(
            "KEY-002",
            "none is active, so no token can be signed",
            REPAIR if refused else "create one with `authsvc keys add --now`",
        )
        return
    age = now - signing.activation
    yield ok(
        "KEY-002",
        f"{signing.file} ({signing.bits} bits) has been signing for {duration(age)}",
    )
    if waiting:
        yield ok("KEY-003", f"the next key signs from {timestamp(waiting[0].activation)} on")
    elif age >= OLD:
        severe = warning if age >= VERY_OLD else info
        yield severe(
            "KEY-003",
            f"the signing key is {duration(age)} old and has no successor",
            "create one with `authsvc keys add`, and do so regularly",
        )
    else:
        yield ok("KEY-003", "no successor is waiting, and none is needed yet")


def _sealing(keys: tuple[ListedKey, ...]) -> Iterator[Finding]:
    sealing = next((key for key in keys if key.state is State.SEALING), None)
    if sealing is None:
        refused = any(key.kind is KeyKind.MAC and key.state is State.REFUSED for key in keys)
        yield error(
            "KEY-004",
            "there is none, so no session can begin or continue",
            REPAIR if refused else "create one with `authsvc keys add --refresh --now`",
        )
    else:
        yield ok("KEY-004", f"{sealing.file} seals refresh tokens")


def _encryption(reading: Reading) -> Finding:
    """A passphrase encrypts what is written from then on; what lay there before stays plain."""
    plain = [
        name
        for name, verdict in reading.verdicts.items()
        if verdict.file.kind is KeyKind.SIGNING and pem.is_plain(verdict.file.content)
    ]
    if plain:
        return warning(
            "KEY-009",
            f"AUTHSVC_KEYS_PASSPHRASE is set, and these are not encrypted: {', '.join(plain)}",
            "encrypt them as docs/keys.md#permissions shows, or replace them: `authsvc keys add` "
            "writes the next one encrypted",
        )
    return ok("KEY-009", "every signing key is encrypted")


def _refused(settings: Settings, now: datetime) -> list[Finding]:
    """What keeps `serve` in production from starting, beside keys that are not there."""
    path = settings.keys_dir
    reading = read(path, now=now, passphrase=passphrase_of(settings), strict_modes=True)
    return [
        error(
            "KEY-005",
            f"{path}/{problem.file}: {problem.problem}; production does not start with it",
            problem.fix,
        )
        for problem in reading.problems
        if problem.refused
    ]


def _writers(path: Path, *, linked: bool) -> Iterator[Finding]:
    """
    Users who can write the key directory, and so sign as us.

    Args:
        linked: A link leads where others can write; the finding on the file has said so.
    """
    writers = planted_directory(path)
    if writers is not None:
        found, fix = writers
        tell = error if path.stat().st_mode & OTHERS_WRITE else warning
        yield tell(
            "KEY-007", f"{path}: {found}, and a key that is put there would sign tokens", fix
        )
    elif not linked:
        yield ok("KEY-007", "only the user that runs authsvc")
