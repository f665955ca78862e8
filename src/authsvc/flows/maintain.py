"""Housekeeping that every process does every few minutes, without getting in another's way."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from authsvc.protocol.throttle import FORGET_AFTER
from authsvc.store import sessions
from authsvc.store.database import Database, uninterrupted

BATCH = 500  # rows a transaction: its locks are held for milliseconds
ROUNDS = 20  # batches a visit and table: a backlog is worked off over several visits


@dataclass(frozen=True, slots=True)
class Pruned:
    """How many rows one visit deleted."""

    families: int
    counters: int
    audit_records: int


async def prune(
    db: Database, *, audit_retention: timedelta, database_now: datetime | None = None
) -> Pruned:
    """Delete what no rule can ask about any more, in small batches."""
    families = counters = records = 0
    for _ in range(ROUNDS):
        batch = await _prune_once(db, audit_retention, database_now)
        families += batch.families
        counters += batch.counters
        records += batch.audit_records
        if max(batch.families, batch.counters, batch.audit_records) < BATCH:
            break
    return Pruned(families=families, counters=counters, audit_records=records)


@uninterrupted
async def _prune_once(
    db: Database, audit_retention: timedelta, database_now: datetime | None
) -> Pruned:
    async with db.transaction() as session:
        return Pruned(
            families=await sessions.prune_families(session, batch=BATCH, now=database_now),
            counters=await sessions.prune_counters(
                session, batch=BATCH, older_than=FORGET_AFTER, now=database_now
            ),
            audit_records=await sessions.prune_audit(
                session, batch=BATCH, older_than=audit_retention, now=database_now
            ),
        )
