"""The signed double-submit value of `web` delivery (SECURITY X1)."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest

from authsvc.keys.csrf_tokens import csrf_token, verify_csrf_token
from authsvc.keys.refresh_tokens import TOKEN_LABEL, RefreshKeys, mac, seal
from authsvc_client.tokens import base64url
from tests.keys.test_refresh_tokens import FAMILY, KEYS, NEW, OLD, mac_key, token
from tests.support.key_material import T0

LATER = timedelta(days=20)


@pytest.mark.requirement("X1")
def test_the_value_of_a_family_is_recognized() -> None:
    assert verify_csrf_token(KEYS, FAMILY, csrf_token(KEYS, FAMILY, T0))


@pytest.mark.requirement("X1")
def test_another_family_has_another_value() -> None:
    assert not verify_csrf_token(KEYS, uuid4(), csrf_token(KEYS, FAMILY, T0))


def test_the_value_outlives_the_rotation_of_mac_keys() -> None:
    """A form that is open in another tab stays valid: the key of the login makes the value."""
    before = csrf_token(RefreshKeys([OLD, NEW]), FAMILY, T0)
    rotated = RefreshKeys([OLD, NEW, mac_key(3, LATER)])

    assert before == csrf_token(rotated, FAMILY, T0)
    assert verify_csrf_token(rotated, FAMILY, before)


def test_a_deleted_key_ends_its_values_and_the_oldest_left_makes_new_ones() -> None:
    before = csrf_token(KEYS, FAMILY, T0 - timedelta(hours=1))
    without_old = RefreshKeys([NEW])

    assert not verify_csrf_token(without_old, FAMILY, before)
    assert verify_csrf_token(
        without_old, FAMILY, csrf_token(without_old, FAMILY, T0 - timedelta(hours=1))
    )


@pytest.mark.requirement("X1")
def test_every_truncation_and_change_is_refused() -> None:
    value = csrf_token(KEYS, FAMILY, T0)

    for length in range(len(value)):
        assert not verify_csrf_token(KEYS, FAMILY, value[:length])
    for position in range(len(value)):
        changed = (
            value[:position] + ("A" if value[position] != "A" else "B") + value[position + 1 :]
        )
        assert not verify_csrf_token(KEYS, FAMILY, changed)
    for presented in ("", "€" * 54, "=" * 54, value + "A", " " + value):
        assert not verify_csrf_token(KEYS, FAMILY, presented)


@pytest.mark.requirement("X1", "T9")
def test_a_mac_of_another_kind_is_no_csrf_token() -> None:
    """Labels keep the uses of one key apart."""
    other = base64url.encode(NEW.key_id + mac(NEW, TOKEN_LABEL, FAMILY.bytes))

    assert not verify_csrf_token(KEYS, FAMILY, other)
    assert not verify_csrf_token(KEYS, FAMILY, seal(KEYS, token()))
