"""Password hashes that were made elsewhere: which of them this service can verify."""

from __future__ import annotations

import binascii
import re
from base64 import b64decode, b64encode
from dataclasses import dataclass

import argon2
from argon2.exceptions import InvalidHashError

# The PHC string format (github.com/P-H-C/phc-string-format); base64 without padding.
PHC = re.compile(
    r"\$argon2(?:id|i|d)\$v=(?:16|19)\$m=[1-9]\d{0,9},t=[1-9]\d{0,9},p=[1-9]\d{0,7}"
    r"\$(?P<salt>[A-Za-z0-9+/]+)\$(?P<tag>[A-Za-z0-9+/]+)",
    re.ASCII,
)
# A work factor (m·t) so many times the configured one keeps a hashing thread for a second; with
# the largest that the format knows, one login attempt would keep it for hours.
MAX_WORK_RATIO = 20
MAX_LANES = 16
MIN_SALT, MIN_TAG = 8, 4  # bytes; less is refused by the argon2 library itself
OTHER_SCHEMES = {
    "$2": "bcrypt",
    "$scrypt$": "scrypt",
    "$7$": "scrypt",
    "$pbkdf2": "PBKDF2",
    "pbkdf2_": "PBKDF2",
    "$1$": "MD5-crypt",
    "$5$": "SHA-256-crypt",
    "$6$": "SHA-512-crypt",
    "$y$": "yescrypt",
    "$apr1$": "Apache MD5",
}


@dataclass(frozen=True, slots=True)
class WorkLimit:
    """
    The work factors that this service is willing to pay for a stored hash.

    Args:
        memory_budget_mib: Memory of all hashes at a time.
        memory_kib: The configured memory of one hash, `m`.
        time_cost: The configured passes over it, `t`.
    """

    memory_budget_mib: int
    memory_kib: int
    time_cost: int

    def excess(self, found: argon2.Parameters) -> str | None:
        """What of these parameters is too much; None if a login may pay for it."""
        if found.memory_cost > self.memory_budget_mib * 1024:
            needed = -(-found.memory_cost // 1024)
            return (
                f"needs {needed} MiB to verify, more than AUTHSVC_HASH_MEMORY_BUDGET_MIB allows "
                f"({self.memory_budget_mib})"
            )
        if found.memory_cost * found.time_cost > MAX_WORK_RATIO * self.memory_kib * self.time_cost:
            return (
                f"needs more than {MAX_WORK_RATIO} times the work (m·t) of a hash made here; "
                "raise AUTHSVC_ARGON2_MEMORY_KIB or AUTHSVC_ARGON2_TIME, or let its user reset"
            )
        if found.parallelism > MAX_LANES:
            return f"has {found.parallelism} lanes (p), and {MAX_LANES} are the most"
        return None


def why_unusable(password_hash: str, limit: WorkLimit) -> str | None:
    """Why a login could never verify this hash; None if it can."""
    for prefix, name in OTHER_SCHEMES.items():
        if password_hash.startswith(prefix):
            return f"is a {name} hash, and authsvc verifies argon2 only"
    match = PHC.fullmatch(password_hash)
    if match is None:
        return "is not an argon2 hash in PHC form ($argon2id$v=19$m=…,t=…,p=…$salt$hash)"
    if _length(match["salt"]) < MIN_SALT or _length(match["tag"]) < MIN_TAG:
        return "is damaged: its salt or its hash is cut off"
    parameters = argon2.extract_parameters(password_hash)
    if parameters.memory_cost < 8 * parameters.parallelism:  # KiB; RFC 9106 §3.1
        return "has less memory than its lanes need, so argon2 refuses it"
    return limit.excess(parameters)


def read_parameters(password_hash: str) -> argon2.Parameters | None:
    """What a stored hash was made with; None if it is not argon2's."""
    try:
        return argon2.extract_parameters(password_hash)
    except InvalidHashError:
        return None


def parameters_of(password_hash: str) -> str:
    """What a stored hash was made with, such as `argon2id m=19456 t=2 p=1`; not the hash."""
    found = read_parameters(password_hash)
    if found is None:
        return "not an argon2 hash"
    variant = f"argon2{found.type.name.lower()}"
    return f"{variant} m={found.memory_cost} t={found.time_cost} p={found.parallelism}"


def _length(text: str) -> int:
    """How many bytes the base64 holds; -1 if it is not in the one spelling argon2 accepts."""
    try:
        data = b64decode(text + "=" * (-len(text) % 4), validate=True)
    except binascii.Error:
        return -1
    return len(data) if b64encode(data).decode("ascii").rstrip("=") == text else -1
