"""Take keys away: the leaked ones at once, the old ones when no live token needs them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from authsvc.keys import pem
from authsvc.keys.inventory import ListedKey, State, take_inventory
from authsvc.keys.key_files import KeyDirectoryError, KeyKind, file_name
from authsvc.keys.key_writer import leftovers, replace, writing
from authsvc.keys.rotation import Added, NewKey, create_at, generate

MIN_PREFIX = 6  # characters of a key id that are enough to name it, if no other begins so


@dataclass(frozen=True, slots=True)
class RevokedKey:
    """
    A key that was taken away.

    Args:
        files: What was deleted; more than one if copies lay about.
        key: What it was; None for a file that could not be read as a key.
        successor: What took its place; None if it was not in use.
        brought_forward: The successor is the key that was waiting to be the next.
    """

    files: tuple[str, ...]
    key: ListedKey | None
    successor: Added | None = None
    brought_forward: bool = False


@dataclass(frozen=True, slots=True)
class PrunedKeys:
    """
    What a pruning did, by file names.

    Args:
        halved: Of these the private half was removed.
    """

    removed: tuple[str, ...]
    halved: tuple[str, ...]


def revoke(
    path: Path,
    identifier: str,
    *,
    now: datetime,
    refresh_absolute_ttl: timedelta,
    passphrase: str | None = None,
    bits: int = pem.MIN_BITS,
    announce: Callable[[str], None] = lambda _: None,
) -> RevokedKey:
    """
    Delete a leaked key, after putting a successor in its place if it is in use.

    The successor of a signing key is the one that waits to be the next, if there is one: other
    services' verifiers know it already. Running services obey within RELOAD_INTERVAL.

    Args:
        identifier: A `kid`, a MAC-key id in hexadecimal, the beginning of either, or a file's
            name.
        announce: Called with the `kid` of a signing key, while its successor is in force and
            its own file still there. What it raises leaves it there.

    Raises:
        KeyDirectoryError: There is no such key, or the directory cannot be written.
    """
    with writing(path):
        inventory = take_inventory(
            path, now=now, passphrase=passphrase, refresh_absolute_ttl=refresh_absolute_ttl
        )
        doomed = _find(path, inventory.keys, identifier)
        files = [entry.file for entry in doomed]
        key = next((entry for entry in doomed if entry.state is not State.REFUSED), None)
        successor = waiting = None
        if key is not None and key.state in {State.SIGNING, State.SEALING}:
            waiting = _waiting(inventory.keys) if key.state is State.SIGNING else None
            heir = (
                NewKey(waiting.kind, waiting.key_id or "", (path / waiting.file).read_bytes())
                if waiting
                else generate(key.kind, passphrase=passphrase, bits=bits)
            )
            successor = _succeed(path, heir, now, files)
        # From here on the successor is in force: whoever reads now may do without the rest.
        if key is not None and key.kind is KeyKind.SIGNING and key.key_id is not None:
            announce(key.key_id)
        for name in [*files, *([waiting.file] if waiting else [])]:
            if successor is None or name != successor.file:
                (path / name).unlink(missing_ok=True)
    return RevokedKey(tuple(files), key, successor, brought_forward=waiting is not None)


def prune(
    path: Path,
    *,
    now: datetime,
    refresh_absolute_ttl: timedelta,
    passphrase: str | None = None,
) -> PrunedKeys:
    """
    Remove keys that no live token needs, and the private half of those that no longer sign.

    Files that are refused are left alone: what they are is not known.

    Raises:
        KeyDirectoryError: No key signs, so that nothing is known to be old; or the directory
            cannot be written.
    """
    removed, halved = [], []
    with writing(path):
        inventory = take_inventory(
            path, now=now, passphrase=passphrase, refresh_absolute_ttl=refresh_absolute_ttl
        )
        if not any(key.state is State.SIGNING for key in inventory.keys):
            raise KeyDirectoryError(
                f"{path}: no key signs, so no key is known to be old, and none was pruned; "
                "see `authsvc keys list`"
            )
        signing = inventory.reading.signing_keys
        for key in inventory.keys:
            if key.state is State.EXPIRED:
                (path / key.file).unlink(missing_ok=True)
                removed.append(key.file)
            elif key.state is State.RETIRED and key.kind is KeyKind.SIGNING and key.private:
                replace(path / key.file, pem.public_pem(signing[key.file].public_key))
                halved.append(key.file)
        for leftover in leftovers(path):
            leftover.unlink(missing_ok=True)
    return PrunedKeys(tuple(removed), tuple(halved))


def _find(path: Path, listed: tuple[ListedKey, ...], identifier: str) -> list[ListedKey]:
    """Every file of the key that is meant: a copy under another name must not outlive it."""
    named = [key for key in listed if key.file == identifier]
    if named and named[0].key_id is None:
        return named
    ids = {key.key_id for key in named} or {
        key.key_id for key in listed if key.key_id and _names(identifier, key.key_id)
    }
    if len(ids) > 1:
        raise KeyDirectoryError(
            f"{identifier}: several keys begin like this; write more of the key id"
        )
    if not ids and len(identifier) < MIN_PREFIX:
        raise KeyDirectoryError(
            f"{identifier}: too short to name a key; give {MIN_PREFIX} characters or more of its id"
        )
    if not ids:
        raise KeyDirectoryError(
            f"{identifier}: there is no such key in {path}; see `authsvc keys list`"
        )
    return [key for key in listed if key.key_id in ids]


def _names(identifier: str, key_id: str) -> bool:
    return key_id == identifier or (len(identifier) >= MIN_PREFIX and key_id.startswith(identifier))


def _waiting(listed: tuple[ListedKey, ...]) -> ListedKey | None:
    """The key that would sign next."""
    candidates = (
        key
        for key in listed
        if key.kind is KeyKind.SIGNING and key.state is State.NEXT and key.private
    )
    return next(candidates, None)


def _succeed(path: Path, heir: NewKey, now: datetime, doomed: list[str]) -> Added:
    """
    Let another key work from this second on, before the leaked one goes.

    A leaked key that is itself of this second gives up its name, so that there is no second
    without a key. While a waiting key has two names, readers use the earlier.
    """
    name = file_name(heir.kind, now)
    if name not in doomed:
        return create_at(path, heir, activation=now)
    replace(path / name, heir.content)
    return Added(name, heir.kind, heir.key_id, now.replace(microsecond=0))
