"""What the flows of accounts and sessions work with, for as long as the process lives."""

from __future__ import annotations

from dataclasses import dataclass

from authsvc.keys.directory import KeyDirectory
from authsvc.keys.issuer import Issuer
from authsvc.keys.passwords import PasswordHasher
from authsvc.protocol.refresh import Lifetimes
from authsvc.protocol.throttle import Limits
from authsvc.store.database import Database
from authsvc.store.group_commit import GroupCommit


@dataclass(frozen=True, slots=True)
class Runtime:
    """
    Built once, in the lifespan.

    Args:
        limits: None: nothing is throttled, for load tests.
        blocked_passwords: The commonest ones.
    """

    db: Database
    group_commit: GroupCommit
    keys: KeyDirectory
    issuer: Issuer
    hasher: PasswordHasher
    limits: Limits | None
    blocked_passwords: frozenset[str]
    lifetimes: Lifetimes
