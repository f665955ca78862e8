"""The proof that a browser has logged a user in before."""

from __future__ import annotations

import secrets
from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from authsvc.keys.device_cookies import device_cookie, open_device_cookie
from authsvc.keys.refresh_tokens import RefreshKeys
from authsvc_client.tokens import base64url
from tests.keys.test_refresh_tokens import KEYS, NEW, OLD
from tests.support.key_material import T0

USER = uuid4()
NONCE = secrets.token_urlsafe(16)


@settings(deadline=None)
@given(st.uuids(), st.binary(min_size=16, max_size=16))
def test_a_device_cookie_names_user_and_device(user_id: UUID, nonce: bytes) -> None:
    cookie = device_cookie(KEYS, user_id, base64url.encode(nonce), now=T0)

    assert (user_id, base64url.encode(nonce)) == open_device_cookie(KEYS, cookie)


@pytest.mark.requirement("L2")
def test_every_truncation_and_change_is_refused() -> None:
    """Otherwise a stranger could give himself allowances."""
    cookie = device_cookie(KEYS, USER, NONCE, now=T0)

    for length in range(len(cookie)):
        assert open_device_cookie(KEYS, cookie[:length]) is None
    for position in range(len(cookie)):
        for character in "A9":
            if character != cookie[position]:
                changed = cookie[:position] + character + cookie[position + 1 :]
                assert open_device_cookie(KEYS, changed) is None
    for presented in ("", "€" * 96, "=" * 96, cookie + "A"):
        assert open_device_cookie(KEYS, presented) is None


def test_a_cookie_of_a_pruned_key_is_worth_nothing() -> None:
    cookie = device_cookie(RefreshKeys([OLD]), USER, NONCE, now=T0)

    assert open_device_cookie(KEYS, cookie) is not None
    assert open_device_cookie(RefreshKeys([NEW]), cookie) is None


@pytest.mark.parametrize("nonce", ["", "abc", NONCE + "A", NONCE[:-1], "=" * 22], ids=range(5))
def test_a_nonce_has_sixteen_bytes(nonce: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        device_cookie(KEYS, USER, nonce, now=T0)
