"""A key directory with one signing key and one MAC key."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from authsvc.keys.directory import KeyDirectory
from tests.support.key_material import T0, put_mac, put_signing

ABSOLUTE_TTL = timedelta(days=30)

Opener = Callable[..., KeyDirectory]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Active for a day: signing key 0 and MAC key 1."""
    path = tmp_path / "keys"
    put_signing(path, T0 - timedelta(days=1))
    put_mac(path, T0 - timedelta(days=1))
    return path


@pytest.fixture
def open_keys(directory: Path) -> Opener:
    """Start a process, as far as keys are concerned: a loaded KeyDirectory."""

    def start(*, passphrase: str | None = None, strict_modes: bool = False) -> KeyDirectory:
        keys = KeyDirectory(
            directory,
            passphrase=passphrase,
            strict_modes=strict_modes,
        )
        keys.load(T0)
        return keys

    return start
