"""The instructions are those that GNU objdump shows for builds with -march=x86-64, -v3 and -v4."""

from __future__ import annotations

import platform
import sys

import pytest

from authsvc.keys.argon2_build import instruction_set, of_library, processor_has

X86_64 = b"\x7fELF" + bytes(14) + (62).to_bytes(2, "little")
AARCH64 = b"\x7fELF" + bytes(14) + (183).to_bytes(2, "little")
PADDQ = {
    "SSE2": ["660fd4c1", "66410fd4c0", "66440fd4c8"],
    "AVX2": ["c5fdd4c1", "c5b5d4c0", "c4c17dd4c0", "c4417dd4f8"],
    "AVX-512": ["62f1d548d4eb", "62f1cd48d4f6", "62d1fd48d4c0"],
}


@pytest.mark.parametrize("name", PADDQ)
def test_the_additions_tell_the_build(name: str) -> None:
    code = b"\x90".join(bytes.fromhex(text) for text in PADDQ[name]) * 10

    assert name == of_library(X86_64 + code)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"MZ" + bytes(100),
        AARCH64 + bytes.fromhex("660fd4c1") * 100,
        X86_64 + bytes(5000),
        X86_64 + bytes.fromhex("660fd4c1") * 3,
    ],
    ids=["empty", "other-format", "other-processor", "no-additions", "by-chance"],
)
def test_what_cannot_be_told_is_not_guessed(content: bytes) -> None:
    assert of_library(content) is None


@pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64"), reason="reads x86-64 Linux only"
)
def test_the_installed_library_uses_what_this_processor_has() -> None:
    found = instruction_set()

    assert found is not None
    assert processor_has(found)
