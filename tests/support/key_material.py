"""Key material for tests; RSA keys are slow to make, so a few serve the whole run."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from authsvc.keys import pem
from authsvc.keys.key_files import KeyKind, file_name
from authsvc_client.tokens.jwk import thumbprint

NOBODY = 65_534
T0 = datetime(2026, 11, 22, 10, 0, 0, tzinfo=UTC)


def rsa_key(number: int = 0, *, bits: int = 2048, exponent: int = 65_537) -> RSAPrivateKey:
    """The session's RSA key of that number."""
    return _made_once(number, bits, exponent)


@cache
def _made_once(number: int, bits: int, exponent: int) -> RSAPrivateKey:
    del number
    return rsa.generate_private_key(public_exponent=exponent, key_size=bits)


def kid(number: int = 0) -> str:
    """Its kid."""
    return thumbprint(rsa_key(number).public_key())


def put_signing(
    path: Path,
    activation: datetime,
    number: int = 0,
    *,
    passphrase: str | None = None,
    public: bool = False,
) -> str:
    """Drop a key file into a directory, as an operator would; returns its name."""
    key = rsa_key(number)
    content = (
        pem.public_pem(key.public_key()) if public else pem.private_pem(key, passphrase=passphrase)
    )
    return put(path, file_name(KeyKind.SIGNING, activation), content)


def put_mac(path: Path, activation: datetime, byte: int = 1) -> str:
    """Drop a MAC key into a directory; returns its name."""
    return put(path, file_name(KeyKind.MAC, activation), bytes([byte]) * 32)


def put(path: Path, name: str, content: bytes) -> str:
    """Drop any file with mode 0600."""
    path.mkdir(mode=0o700, exist_ok=True)
    (path / name).write_bytes(content)
    (path / name).chmod(0o600)
    return name


@contextmanager
def as_nobody(path: Path) -> Iterator[Path]:
    """
    Act as a user whom permissions stop, which root is not.

    Yields:
        A copy of the directory where that user can reach it.
    """
    if os.geteuid() != 0:
        yield path
        return
    with TemporaryDirectory() as reachable:
        Path(reachable).chmod(0o755)
        copy = Path(shutil.copytree(path, Path(reachable) / path.name))
        for each in (copy, *copy.iterdir()):
            os.chown(each, NOBODY, -1)
        os.seteuid(NOBODY)
        try:
            yield copy
        finally:
            os.seteuid(0)
