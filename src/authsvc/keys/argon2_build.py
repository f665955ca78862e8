"""For which instructions the argon2 library was compiled: half of what a login costs."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path


def _where(mask: int, value: int) -> bytes:
    """A character class of the bytes that have this value under the mask."""
    return b"[%s]" % b"".join(b"\\x%02x" % byte for byte in range(256) if byte & mask == value)


# argon2's inner loop is additions of 64-bit numbers: PADDQ, whose encodings differ by the
# register width (Intel SDM volume 2, "PADDB/PADDW/PADDD/PADDQ"). A build has about 100 of one.
PADDQ = {
    "AVX-512": re.compile(
        b"\x62" + _where(0x03, 0x01) + _where(0x87, 0x85) + _where(0x60, 0x40) + b"\xd4"
    ),
    "AVX2": re.compile(b"(?:\xc5|\xc4" + _where(0x1F, 0x01) + b")" + _where(0x07, 0x05) + b"\xd4"),
    "SSE2": re.compile(b"\x66" + _where(0xF0, 0x40) + b"?\x0f\xd4"),
}
ENOUGH = 20  # by chance there is one or none
ELF_X86_64 = 62  # e_machine
MODULE = "_argon2_cffi_bindings._ffi"
LARGEST = 10_000_000  # bytes; it has 60,000


def instruction_set() -> str | None:
    """
    The widest vector instructions that the installed library uses: SSE2, AVX2 or AVX-512.

    Returns:
        None if that cannot be told, as on other processors than x86-64 and other systems than
        Linux.
    """
    try:
        spec = find_spec(MODULE)
    except ImportError:
        return None
    if spec is None or spec.origin is None:
        return None
    try:
        with Path(spec.origin).open("rb") as file:
            return of_library(file.read(LARGEST))
    except OSError:
        return None


def of_library(content: bytes) -> str | None:
    """As `instruction_set`, of a shared library's bytes."""
    machine = int.from_bytes(content[18:20], "little")
    if content[:4] != b"\x7fELF" or machine != ELF_X86_64:
        return None
    counts = {name: len(pattern.findall(content)) for name, pattern in PADDQ.items()}
    name = max(counts, key=lambda name: counts[name])
    return name if counts[name] >= ENOUGH else None


def processor_has(instructions: str) -> bool | None:
    """Whether this processor knows them; None if that cannot be told."""
    flag = {"SSE2": "sse2", "AVX2": "avx2", "AVX-512": "avx512f"}[instructions]
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    match = re.search(r"^flags\s*:(.*)$", text, re.MULTILINE)
    return flag in match[1].split() if match else None
