"""The MAC around a refresh token (CONTRACT §5.2)."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from authsvc.keys.refresh_tokens import (
    TOKEN_LENGTH,
    MacKey,
    NoSealingKey,
    RefreshKeys,
    UnknownMacKey,
    mac_key_id,
    open_token,
    seal,
)
from authsvc.protocol.errors import InvalidRefreshToken
from authsvc.protocol.refresh import Delivery, RefreshToken
from authsvc_client.tokens import base64url
from authsvc_client.tokens.secret import SecretBytes
from tests.support.key_material import T0

DAY = timedelta(days=1)
FAMILY = UUID("1f6f2a38-9d1c-4a8e-9a55-0f7f3b0c2d11")


def mac_key(byte: int, activation_in: timedelta = -DAY) -> MacKey:
    secret = SecretBytes(bytes([byte]) * 32)
    return MacKey(mac_key_id(secret), T0 + activation_in, secret)


OLD, NEW = mac_key(1), mac_key(2, timedelta(0))
KEYS = RefreshKeys([NEW, OLD])


def token(
    key: MacKey = NEW, generation: int = 7, delivery: Delivery = Delivery.SPA
) -> RefreshToken:
    return RefreshToken(key.key_id, FAMILY, generation, delivery)


tokens = st.builds(
    RefreshToken,
    mac_key_id=st.sampled_from([OLD.key_id, NEW.key_id]),
    family_id=st.uuids(),
    generation=st.integers(min_value=0, max_value=2**63 - 1),
    delivery=st.sampled_from(Delivery),
)


@settings(deadline=None)
@given(tokens)
def test_what_was_sealed_is_opened(original: RefreshToken) -> None:
    assert original == open_token(KEYS, seal(KEYS, original))


@settings(deadline=None)
@given(tokens, tokens)
def test_sealing_is_a_function_and_tells_everything_apart(
    one: RefreshToken, other: RefreshToken
) -> None:
    """A replay gives the same bytes; two tokens never share a spelling."""
    assert str.__str__(seal(KEYS, one)) == str.__str__(seal(RefreshKeys([OLD, NEW]), one))
    assert (one == other) == (str.__str__(seal(KEYS, one)) == str.__str__(seal(KEYS, other)))


def test_a_token_is_sealed_with_the_key_it_names_whatever_others_are_loaded() -> None:
    assert seal(KEYS, token(OLD)) == seal(RefreshKeys([OLD]), token(OLD))


def test_tokens_have_one_length_and_a_recognizable_prefix() -> None:
    lengths = {len(seal(KEYS, token(generation=g))) for g in (0, 1, 10**9, 2**63 - 1)}

    assert {TOKEN_LENGTH} == {92} == lengths
    assert seal(KEYS, token()).startswith("art1.")


def test_a_token_does_not_print() -> None:
    sealed = seal(KEYS, token())

    assert "art1" not in repr([sealed])
    assert "\\x02" not in repr(NEW)


def refused(presented: str, keys: RefreshKeys = KEYS) -> str:
    with pytest.raises(InvalidRefreshToken) as caught:
        open_token(keys, presented)
    return caught.value.detail


@pytest.mark.requirement("R10")
def test_every_truncation_and_extension_is_refused() -> None:
    """CVE-2026-27840: truncated tokens that still validate."""
    sealed = seal(KEYS, token())

    for length in range(len(sealed)):
        assert "malformed" == refused(sealed[:length])
    for extra in ("A", "=", "==", "\n", ".", " "):
        assert "malformed" == refused(sealed + extra)
        assert "malformed" == refused(extra + sealed)


@pytest.mark.requirement("R10")
def test_every_changed_character_is_refused() -> None:
    """Also in the key id, where it becomes the id of a key that does not exist."""
    sealed = seal(KEYS, token())

    for position in range(len(sealed)):
        for character in "A9-_.=+/ ":
            if character != sealed[position]:
                refused(sealed[:position] + character + sealed[position + 1 :])


@pytest.mark.requirement("R10")
@settings(deadline=None)
@given(st.binary(min_size=65, max_size=65))
def test_random_bytes_of_the_right_shape_are_refused(data: bytes) -> None:
    refused("art1." + base64url.encode(data))
    refused("art1." + base64url.encode(NEW.key_id + data[8:]))


@pytest.mark.requirement("R10")
@pytest.mark.parametrize(
    "presented", ["", "art1.", "x" * 92, "art1." + "=" * 87, "art1." + "€" * 87]
)
def test_garbage_is_malformed(presented: str) -> None:
    assert "malformed" == refused(presented)


@pytest.mark.requirement("R10", "T6")
def test_respelled_trailing_bits_are_refused() -> None:
    """65 bytes leave two bits over, so that four spellings decode to the same bytes."""
    sealed = seal(KEYS, token())
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    index = alphabet.index(sealed[-1])

    assert 0 == index % 4
    for extra in (1, 2, 3):
        assert "malformed" == refused(sealed[:-1] + alphabet[index + extra])


@pytest.mark.requirement("R10")
def test_no_field_can_be_changed_under_its_mac() -> None:
    data = bytearray(base64url.decode(seal(KEYS, token())[5:]))

    for position in range(8, len(data)):
        changed = bytearray(data)
        changed[position] ^= 1
        assert "bad_mac" == refused("art1." + base64url.encode(bytes(changed)))


def test_a_key_that_is_not_loaded_is_told_apart() -> None:
    """The caller may look for it; the outcome is the same refusal."""
    with pytest.raises(UnknownMacKey):
        open_token(RefreshKeys([OLD]), seal(KEYS, token(NEW)))
    with pytest.raises(UnknownMacKey):
        seal(RefreshKeys([OLD]), token(NEW))


def test_an_authentic_token_with_impossible_fields_is_refused() -> None:
    """One that another version of authsvc wrote."""
    data = bytearray(base64url.decode(seal(KEYS, token())[5:-43]))
    from authsvc.keys.refresh_tokens import TOKEN_LABEL, mac  # noqa: PLC0415

    for position, value in ((24, 0x80), (32, 9), (32, 0)):
        payload = bytearray(data[:33])
        payload[position] = value
        forged = bytes(payload) + mac(NEW, TOKEN_LABEL, bytes(payload))
        assert "malformed" == refused("art1." + base64url.encode(forged))


def test_a_generation_beyond_the_database_is_a_defect() -> None:
    with pytest.raises(OverflowError):
        seal(KEYS, token(generation=2**63))


@pytest.mark.requirement("K2")
def test_the_newest_active_key_seals() -> None:
    waiting = mac_key(3, DAY)
    keys = RefreshKeys([waiting, NEW, OLD])

    assert OLD == keys.sealing_key(T0 - timedelta(seconds=1))
    assert NEW == keys.sealing_key(T0)
    assert NEW == keys.sealing_key(T0 + DAY - timedelta(microseconds=1))
    assert waiting == keys.sealing_key(T0 + DAY)


def test_a_waiting_key_seals_early_if_it_is_the_only_one() -> None:
    """So that deleting a leaked key leaves no gap: nobody but us verifies a MAC."""
    waiting = mac_key(3, DAY)

    assert waiting == RefreshKeys([waiting]).sealing_key(T0)
    with pytest.raises(NoSealingKey):
        RefreshKeys([]).sealing_key(T0)
