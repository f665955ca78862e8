"""Secrets of clients: long, hashed, two at a time, and never the absence of one."""

from __future__ import annotations

import re

import pytest

from authsvc.keys.client_secrets import NO_SECRET, digest, matches, new_client_secret
from authsvc_client.tokens.secret import Secret


@pytest.mark.requirement("A4")
def test_a_secret_has_256_random_bits_and_needs_no_encoding() -> None:
    first, second = new_client_secret(), new_client_secret()

    assert first != second
    assert re.fullmatch(r"acs1\.[A-Za-z0-9_-]{43}", first)
    assert "Secret('…')" == repr(first)


@pytest.mark.requirement("A4")
def test_both_secrets_work_and_no_other() -> None:
    old, new = new_client_secret(), new_client_secret()
    stored = (digest(new), digest(old))

    assert matches(old, stored)
    assert matches(new, stored)
    assert not matches(new_client_secret(), stored)
    assert not matches(old, (digest(new), None))
    assert new.encode() not in digest(new)


@pytest.mark.requirement("A1", "A4")
@pytest.mark.parametrize("presented", ["", "\0" * 32, NO_SECRET.hex()])
def test_where_there_is_no_secret_nothing_matches(presented: str) -> None:
    assert not matches(Secret(presented), (None, None))


@pytest.mark.requirement("A1")
def test_an_empty_secret_never_matches_even_its_own_digest() -> None:
    assert not matches(Secret(""), (digest(Secret("")), None))
