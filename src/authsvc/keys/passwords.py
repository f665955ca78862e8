"""
Hash and verify passwords with argon2id (RFC 9106), off the event loop and within a budget.

Hashing is the one expensive thing a stranger can make us do. So it has threads of its own, at
a lower priority; no more hashes run at once than the memory budget allows; and a request
that would have to wait too long is refused at once rather than kept (`hashing_queue`).
"""

from __future__ import annotations

import base64
import logging
import secrets
from datetime import timedelta
from functools import partial

import argon2
from argon2.exceptions import VerificationError, VerifyMismatchError
from argon2.low_level import ARGON2_VERSION, Type, error_to_str, hash_secret, verify_secret

from authsvc.keys.foreign_hashes import WorkLimit, read_parameters
from authsvc.keys.hashing_queue import HashingQueue
from authsvc.protocol.errors import Overloaded
from authsvc.protocol.password_policy import normalize

SALT_LENGTH = 16  # bytes; RFC 9106 §3.1
HASH_LENGTH = 32  # bytes
# What one pass over one KiB takes, as a first guess; the running average soon knows better.
SECONDS_PER_KIB_PASS = 9e-7
OUT_OF_MEMORY = error_to_str(-22)  # ARGON2_MEMORY_ALLOCATION_ERROR

logger = logging.getLogger(__name__)


class PasswordHasher:
    """
    argon2id with bounded memory and bounded waiting; belongs to one event loop.

    Args:
        memory_kib: Memory of one hash.
        time_cost: Passes over it.
        parallelism: Lanes.
        threads: Hashes at a time, as far as the memory allows.
        memory_budget_mib: Memory of all hashes at a time.
        queue_seconds: The longest wait before a request is refused.
    """

    def __init__(
        self,
        memory_kib: int,
        time_cost: int,
        parallelism: int,
        *,
        threads: int,
        memory_budget_mib: int,
        queue_seconds: float,
    ) -> None:
        self._parameters = argon2.Parameters(
            type=Type.ID,
            version=ARGON2_VERSION,
            salt_len=SALT_LENGTH,
            hash_len=HASH_LENGTH,
            time_cost=time_cost,
            memory_cost=memory_kib,
            parallelism=parallelism,
        )
        self._limit = WorkLimit(memory_budget_mib, memory_kib, time_cost)
        self._dummy = _dummy_hash(self._parameters)
        self.queue = HashingQueue(
            threads=threads,
            budget_kib=memory_budget_mib * 1024,
            usual_kib=memory_kib,
            usual_seconds=memory_kib * time_cost * SECONDS_PER_KIB_PASS,
            queue_seconds=queue_seconds,
        )

    async def hash(self, password: str, *, network: str = "") -> str:
        """
        A PHC string with a salt of its own.

        Args:
            network: Whose turn in the queue it takes; networks are served in turn.

        Raises:
            Overloaded: The wait would be too long; nothing was done.
        """
        wanted = self._parameters
        work = partial(
            hash_secret,
            _bytes(password),
            secrets.token_bytes(SALT_LENGTH),
            time_cost=wanted.time_cost,
            memory_cost=wanted.memory_cost,
            parallelism=wanted.parallelism,
            hash_len=HASH_LENGTH,
            type=Type.ID,
        )
        return (await self.queue.run(work, memory_kib=wanted.memory_cost, network=network)).decode(
            "ascii"
        )

    async def verify(self, password_hash: str | None, password: str, *, network: str = "") -> bool:
        """
        Whether the password is the one that was hashed; costs a whole hash in every case.

        Args:
            password_hash: None for a user who does not exist: as much work, always False. So is
                a string that is no argon2 hash, or one of more work than `WorkLimit` allows.
            network: As in `hash`.

        Raises:
            Overloaded: The wait would be too long; nothing was verified.
        """
        stored, parameters = self._dummy, self._parameters
        if password_hash is not None:
            found = self._usable(password_hash)
            if found is not None:
                stored, parameters = password_hash.encode("ascii"), found
        work = partial(self._matches, stored, _bytes(password), parameters.type)
        return await self.queue.run(work, memory_kib=parameters.memory_cost, network=network)

    def needs_rehash(self, password_hash: str) -> bool:
        """Whether it was made with other parameters than today's."""
        return read_parameters(password_hash) != self._parameters

    def _usable(self, password_hash: str) -> argon2.Parameters | None:
        """The parameters of a stored hash, if this service can verify it."""
        parameters = read_parameters(password_hash)
        if parameters is None or not password_hash.isascii():
            logger.error("a stored password hash is not argon2, so its user cannot log in")
            return None
        excess = self._limit.excess(parameters)
        if excess is not None:
            logger.error("a stored password hash %s, so its user cannot log in", excess)
            return None
        return parameters

    def _matches(self, stored: bytes, password: bytes, variant: Type) -> bool:
        """Verify; runs in a thread."""
        try:
            return verify_secret(stored, password, variant)
        except VerifyMismatchError:
            return False
        except VerificationError as exc:
            if str(exc) == OUT_OF_MEMORY:
                # Not known to be wrong: the caller may try again.
                raise Overloaded("no_memory", retry_after=timedelta(seconds=1)) from exc
        logger.error("a stored password hash is damaged, so its user cannot log in")
        # It was refused before any work was done; the time must not tell.
        return stored != self._dummy and self._matches(self._dummy, password, Type.ID)


def _bytes(password: str) -> bytes:
    """
    What is hashed: UTF-8 of the NFC form, all of it.

    Lone surrogates never get into a stored hash (`check_password`), but a login may present
    them, and must then fail like any wrong password.
    """
    return normalize(password).encode("utf-8", "surrogatepass")


def _dummy_hash(parameters: argon2.Parameters) -> bytes:
    """A hash of no password at all: verifying it costs what any costs, and always fails."""
    salt, tag = (
        base64.b64encode(secrets.token_bytes(length)).rstrip(b"=").decode("ascii")
        for length in (parameters.salt_len, parameters.hash_len)
    )
    return (
        f"$argon2id$v={parameters.version}$m={parameters.memory_cost},"
        f"t={parameters.time_cost},p={parameters.parallelism}${salt}${tag}"
    ).encode("ascii")
