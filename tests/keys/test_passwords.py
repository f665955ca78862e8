"""argon2id: strength, one Unicode form, equal cost for everybody (SECURITY P, E2)."""

from __future__ import annotations

import logging
import unicodedata
from collections.abc import AsyncIterator

import argon2
import pytest

from authsvc.keys.passwords import PasswordHasher
from tests.support.hashing import computed_hashes

CHEAP = {"memory_kib": 64, "time_cost": 1, "parallelism": 1}
PASSWORD = "correct horse battery staple"


def hasher_with(memory_kib: int = 64, time_cost: int = 1, budget_mib: int = 64) -> PasswordHasher:
    return PasswordHasher(
        memory_kib,
        time_cost,
        1,
        threads=1,
        memory_budget_mib=budget_mib,
        queue_seconds=30,
    )


@pytest.fixture
async def hasher() -> AsyncIterator[PasswordHasher]:
    made = hasher_with()
    yield made
    made.queue.close()


@pytest.mark.requirement("P1")
async def test_a_hash_is_an_argon2id_phc_string_with_the_parameters() -> None:
    """OWASP's minimum: m=19 MiB, t=2, p=1."""
    hasher = hasher_with(19_456, 2)

    parameters = argon2.extract_parameters(await hasher.hash(PASSWORD))
    hasher.queue.close()

    assert argon2.Parameters(argon2.Type.ID, 19, 16, 32, 2, 19_456, 1) == parameters


@pytest.mark.requirement("P1")
async def test_every_hash_has_a_salt_of_its_own(hasher: PasswordHasher) -> None:
    assert await hasher.hash(PASSWORD) != await hasher.hash(PASSWORD)


async def test_only_the_password_verifies(hasher: PasswordHasher) -> None:
    stored = await hasher.hash(PASSWORD)

    assert await hasher.verify(stored, PASSWORD)
    for wrong in ("", PASSWORD[:-1], PASSWORD + " ", PASSWORD.upper(), PASSWORD + "\0"):
        assert not await hasher.verify(stored, wrong)


async def test_a_hash_of_another_implementation_verifies(hasher: PasswordHasher) -> None:
    stored = argon2.PasswordHasher(time_cost=1, memory_cost=128).hash(PASSWORD)

    assert await hasher.verify(stored, PASSWORD)


@pytest.mark.requirement("P4")
async def test_both_unicode_forms_are_one_password(hasher: PasswordHasher) -> None:
    stored = await hasher.hash("pässwörd für Zoë")

    assert await hasher.verify(stored, unicodedata.normalize("NFD", "pässwörd für Zoë"))
    assert not await hasher.verify(stored, "password fur Zoe")


@pytest.mark.requirement("P4")
async def test_nothing_is_truncated_trimmed_or_folded(hasher: PasswordHasher) -> None:
    """Also beyond bcrypt's 72 bytes (Okta 2024-10-30)."""
    stored = await hasher.hash("x" * 127 + "y")

    assert not await hasher.verify(stored, "x" * 128)
    assert not await hasher.verify(stored, "x" * 127 + "Y")
    assert not await hasher.verify(stored, " " + "x" * 127 + "y")


async def test_what_no_keyboard_sends_is_a_wrong_password(hasher: PasswordHasher) -> None:
    stored = await hasher.hash(PASSWORD)

    for wrong in ("\ud800", PASSWORD + "\udfff", "\0", "x" * 70_000):
        assert not await hasher.verify(stored, wrong)


BAD_HASHES = {
    "empty": "",
    "text": "not a hash",
    "bcrypt": "$2b$12$GhvMmNVjRW29ulnudl.LbuAnUtN/LRfe1JsBm1Xu6LE3059z5Tr8m",
    "no such variant": "$argon2x$v=19$m=64,t=1,p=1$c29tZXNhbHQ$AAAA",
    "no parameters": "$argon2id$v=19$$c29tZXNhbHQ$AAAA",
    "damaged base64": "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$!!!!",
    "no tag": "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$",
    "parameters out of range": "$argon2id$v=19$m=1,t=0,p=1$c29tZXNhbHQ$AAAAAAAA",
    "not ASCII": "$argon2id$v=19$m=64,t=1,p=1$sältsältsält$AAAAAAAA",
    "too many passes": "$argon2id$v=19$m=64,t=4000000000,p=1$c29tZXNhbHQ$AAAAAAAA",
    "21 times the work": "$argon2id$v=19$m=64,t=21,p=1$c29tZXNhbHQ$AAAAAAAA",
    "too many lanes": "$argon2id$v=19$m=1088,t=1,p=17$c29tZXNhbHQ$AAAAAAAA",
    "over the budget": "$argon2id$v=19$m=4194304,t=1,p=1$c29tZXNhbHQ$AAAAAAAA",
}


@pytest.mark.finding("11.5")
@pytest.mark.parametrize("stored", BAD_HASHES.values(), ids=BAD_HASHES.keys())
async def test_a_stored_hash_that_cannot_be_verified_is_a_logged_no(
    hasher: PasswordHasher, stored: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Never a 5xx, never 4 GiB of memory, never a thread that is busy for hours."""
    with caplog.at_level(logging.ERROR):
        assert not await hasher.verify(stored, PASSWORD)

    assert 1 == len(caplog.records)
    assert PASSWORD not in caplog.text
    assert "AAAA" not in caplog.text


@pytest.mark.requirement("P2")
async def test_other_parameters_ask_for_a_rehash(hasher: PasswordHasher) -> None:
    stronger, other = hasher_with(128), hasher_with(64, 2)
    stored = await hasher.hash(PASSWORD)

    assert not hasher.needs_rehash(stored)
    assert stronger.needs_rehash(stored)
    assert other.needs_rehash(stored)
    assert hasher.needs_rehash(argon2.PasswordHasher(type=argon2.Type.I).hash("x"))
    assert hasher.needs_rehash("not a hash")
    assert await stronger.verify(stored, PASSWORD), "until then the old one works"
    stronger.queue.close()
    other.queue.close()


@pytest.mark.requirement("E2")
async def test_an_unknown_user_never_verifies(hasher: PasswordHasher) -> None:
    for password in ("", PASSWORD, "\0" * 32):
        assert not await hasher.verify(None, password)


@pytest.mark.requirement("E1", "E2")
async def test_an_unknown_user_costs_the_work_of_a_wrong_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """So does one whose hash is damaged, which argon2 refuses before any work (supabase#2674)."""
    hasher = hasher_with(1024, 1)
    stored = await hasher.hash(PASSWORD)
    computed = computed_hashes(monkeypatch)

    for password_hash in (stored, None, BAD_HASHES["damaged base64"]):
        assert not await hasher.verify(password_hash, "wrong password")
    hasher.queue.close()

    assert [argon2.extract_parameters(stored)] * 3 == computed
