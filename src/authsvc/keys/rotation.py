"""Create, retire and remove keys. Everything a running service learns by reading the files."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from authsvc.keys import pem
from authsvc.keys.key_files import KeyDirectoryError, Kind, file_name, parse_name
from authsvc.keys.key_writer import create, writing
from authsvc.keys.refresh_tokens import KEY_LENGTH

SECOND = timedelta(seconds=1)


def create_first_keys(
    path: Path, now: datetime, *, passphrase: str | None = None, bits: int = pem.MIN_BITS
) -> tuple[str, ...]:
    """
    Make sure that there is a signing key and a MAC key, both active at once.

    Files of that kind that exist are left alone, whatever is in them. Safe when two start at
    once: they take turns, and the second finds what the first made.

    Returns:
        The names of the files that were created.

    Raises:
        KeyDirectoryError: The directory cannot be written.
    """
    created = []
    with writing(path):
        kinds = _kinds(path)
        if Kind.SIGNING not in kinds:
            created.append(
                _create_signing(path, pem.generate(bits), activation=now, passphrase=passphrase)
            )
        if Kind.MAC not in kinds:
            created.append(_create_mac(path, activation=now))
    return tuple(created)


def _create_signing(
    path: Path, key: RSAPrivateKey, *, activation: datetime, passphrase: str | None
) -> str:
    return _create(
        path, Kind.SIGNING, pem.private_pem(key, passphrase=passphrase), activation=activation
    )


def _create_mac(path: Path, *, activation: datetime) -> str:
    return _create(path, Kind.MAC, secrets.token_bytes(KEY_LENGTH), activation=activation)


def _create(path: Path, kind: Kind, content: bytes, *, activation: datetime) -> str:
    """Create a key file; if that second is taken, one of the next."""
    for _ in range(60):
        name = file_name(kind, activation)
        if create(path / name, content):
            return name
        activation += SECOND
    raise KeyDirectoryError(f"{path}: {name} and the minute after it are taken; wait and repeat")


def _kinds(path: Path) -> set[Kind]:
    if not path.is_dir():
        return set()
    parsed = (parse_name(entry.name) for entry in path.iterdir())
    return {found[0] for found in parsed if found}
