"""Housekeeping that every process does every few minutes, without getting in another's way."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from authsvc.store import endings, revocations, sessions, spent_jtis, throttle_buckets
from authsvc.store.database import Database, in_transaction

BATCH = 500  # rows a transaction: its locks are held for milliseconds
ROUNDS = 20  # batches a visit and table: a backlog is worked off over several visits


@dataclass(frozen=True, slots=True)
class Pruned:
    """How many rows one visit deleted, or made say that they have ended."""

    endings: int
    families: int
    counters: int
    audit_records: int
    spent_jtis: int
    revocations: int


async def prune(db: Database, *, audit_retention: timedelta) -> Pruned:
    """
    Finish endings, and delete what no rule can ask about any more.

    In small batches, each table by itself.
    """
    return Pruned(
        endings=await _repeat(db, endings.finish),
        families=await _repeat(db, sessions.prune_families),
        counters=await _repeat(db, throttle_buckets.prune),
        audit_records=await _repeat(db, partial(sessions.prune_audit, older_than=audit_retention)),
        spent_jtis=await _repeat(db, spent_jtis.prune),
        revocations=await _repeat(db, revocations.prune),
    )


async def _repeat(db: Database, prune_batch: Callable[..., Awaitable[int]]) -> int:
    total = 0
    for _ in range(ROUNDS):
        deleted = await in_transaction(prune_batch)(db, batch=BATCH)
        total += deleted
        if deleted < BATCH:
            break
    return total
