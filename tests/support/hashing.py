"""What argon2 was made to compute."""

from __future__ import annotations

import argon2
import pytest
from argon2.exceptions import VerifyMismatchError
from argon2.low_level import Type, verify_secret

from authsvc.keys import passwords


def computed_hashes(monkeypatch: pytest.MonkeyPatch) -> list[argon2.Parameters]:
    """The parameters of every hash that is computed from now on to verify a wrong password."""
    computed: list[argon2.Parameters] = []

    def recorded(stored: bytes, password: bytes, variant: Type) -> bool:
        try:
            return verify_secret(stored, password, variant)
        except VerifyMismatchError:  # other errors come before the work
            computed.append(argon2.extract_parameters(stored.decode()))
            raise

    monkeypatch.setattr(passwords, "verify_secret", recorded)
    return computed
