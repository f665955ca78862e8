"""Key rotation: create, retire and remove key files; a running service re-reads them."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from authsvc.keys import pem
from authsvc.keys.key_files import KeyDirectoryError, KeyKind, KeyRefused, file_name, parse_name
from authsvc.keys.key_writer import create, make_directory, writing
from authsvc.keys.keyring import DEFAULT_LEAD, MIN_LEAD
from authsvc.keys.reading import read
from authsvc.keys.refresh_tokens import KEY_LENGTH, mac_key_id
from authsvc_client.tokens.jwk import thumbprint

SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Added:
    """
    A key that was created.

    Args:
        key_id: The `kid` of a signing key; the key id of a MAC key in hexadecimal.
    """

    file: str
    kind: KeyKind
    key_id: str
    activation: datetime


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that has no file yet; `content` is that of the file to come."""

    kind: KeyKind
    key_id: str
    content: bytes = field(repr=False)


def create_first_keys(
    path: Path, now: datetime, *, passphrase: str | None = None, bits: int = pem.MIN_BITS
) -> tuple[Added, ...]:
    """
    Make sure that there is a signing key and a MAC key, both active at once.

    Files of a kind that exist are left alone, whatever is in them. Safe when two start at once:
    they take turns, and the second finds what the first made.

    Returns:
        What was created.

    Raises:
        KeyDirectoryError: The directory cannot be written.
    """
    make_directory(path)
    with writing(path):
        present = {parsed[0] for entry in path.iterdir() if (parsed := parse_name(entry.name))}
        return tuple(
            create_at(path, generate(kind, passphrase=passphrase, bits=bits), activation=now)
            for kind in (KeyKind.SIGNING, KeyKind.MAC)
            if kind not in present
        )


def add(
    path: Path,
    kind: KeyKind,
    *,
    now: datetime,
    activation: datetime | None = None,
    passphrase: str | None = None,
    bits: int = pem.MIN_BITS,
) -> Added:
    """
    Create the next key, early enough for verifiers to fetch it before it signs.

    Args:
        activation: When it begins to work; in an hour if left out.

    Raises:
        KeyDirectoryError: That is less than MIN_LEAD from now, or the directory cannot be
            written.
    """
    activation = activation or now + DEFAULT_LEAD
    _check_lead(activation, now)
    return add_now(path, kind, now=activation, passphrase=passphrase, bits=bits)


def add_now(
    path: Path,
    kind: KeyKind,
    *,
    now: datetime,
    passphrase: str | None = None,
    bits: int = pem.MIN_BITS,
) -> Added:
    """
    Create a key that works at once: for the first key, and for emergencies.

    Verifiers that cached the JWKS refuse a signing key's tokens until they fetch it again.

    Raises:
        KeyDirectoryError: The directory cannot be written.
    """
    with writing(path):
        return create_at(path, generate(kind, passphrase=passphrase, bits=bits), activation=now)


def import_key(
    path: Path,
    content: bytes,
    *,
    now: datetime,
    activation: datetime,
    source_passphrase: str | None = None,
    passphrase: str | None = None,
) -> Added:
    """
    Take over a signing key that was made elsewhere.

    Args:
        content: PEM with a private key.
        activation: From when it signs here; `now`, or MIN_LEAD from it.
        source_passphrase: That `content` is encrypted with.
        passphrase: To encrypt it with here.

    Raises:
        KeyDirectoryError: It cannot be used, is here already, or comes too soon.
    """
    try:
        key = pem.load(content, passphrase=source_passphrase)
    except KeyRefused as exc:
        raise KeyDirectoryError(f"the key is refused: {exc}") from exc
    if not isinstance(key, RSAPrivateKey):
        raise KeyDirectoryError(
            "the file holds only a public key, which cannot sign; import the private one"
        )
    if activation != now:
        _check_lead(activation, now)
    with writing(path):
        new = _signing_key(key, passphrase)
        reading = read(path, now=now, passphrase=passphrase, strict_modes=False)
        for name, present in reading.signing_keys.items():
            if present.kid == new.key_id:
                raise KeyDirectoryError(f"the key exists already, as {name}; nothing to do")
        return create_at(path, new, activation=activation)


def generate(kind: KeyKind, *, passphrase: str | None = None, bits: int = pem.MIN_BITS) -> NewKey:
    """
    Make a key.

    Args:
        passphrase, bits: Of a signing key.
    """
    if kind is KeyKind.SIGNING:
        return _signing_key(pem.generate(bits), passphrase)
    secret = secrets.token_bytes(KEY_LENGTH)
    return NewKey(kind, mac_key_id(secret).hex(), secret)


def create_at(path: Path, key: NewKey, *, activation: datetime) -> Added:
    """Create a key file; if its second is taken, with one of the next. Only within `writing`."""
    activation = activation.replace(microsecond=0)
    for _ in range(60):
        name = file_name(key.kind, activation)
        if create(path / name, key.content):
            return Added(name, key.kind, key.key_id, activation)
        activation += SECOND
    raise KeyDirectoryError(f"{path}: {name} and the minute before it are taken; repeat later")


def _signing_key(key: RSAPrivateKey, passphrase: str | None) -> NewKey:
    content = pem.private_pem(key, passphrase=passphrase)
    return NewKey(KeyKind.SIGNING, thumbprint(key.public_key()), content)


def _check_lead(activation: datetime, now: datetime) -> None:
    if activation - now < MIN_LEAD:
        raise KeyDirectoryError(
            f"a new key needs {MIN_LEAD // timedelta(minutes=1)} minutes before it may sign, "
            "since verifiers and other replicas keep what they have read that long; choose a "
            "later time, or use --now in an emergency"
        )
