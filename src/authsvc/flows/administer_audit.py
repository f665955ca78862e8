"""The audit trail, as an administrator reads and exports it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from uuid import UUID

from authsvc.protocol.audit import AuditFilter
from authsvc.store import audit
from authsvc.store.database import Database
from authsvc.store.rows import existing
from authsvc.store.tables import AuditRecord

BATCH = 1000  # records a statement of an export: well within the statement timeout of 2 s


async def list_records(
    db: Database, *, wanted: AuditFilter, limit: int, after: UUID | None = None
) -> Sequence[AuditRecord]:
    """
    A page of the audit trail, the newest record first.

    Args:
        after: The last record seen.

    Raises:
        NotFound: There is no record `after` (any more).
    """
    async with db.transaction() as session:
        seen = await existing(session, AuditRecord, after, name="audit_record") if after else None
        return await audit.list_page(
            session, wanted=wanted, limit=limit, after=seen, newest_first=True
        )


async def export_records(db: Database, *, wanted: AuditFilter) -> AsyncIterator[AuditRecord]:
    """
    Every record that is asked for, the oldest first, in batches of one statement each.

    No snapshot is held meanwhile. A record whose transaction was under way when its place was
    passed may be missing: end with `until` a minute ago, or overlap with the next export.
    """
    after = None
    while True:
        async with db.transaction() as session:
            batch = await audit.list_page(
                session, wanted=wanted, limit=BATCH, after=after, newest_first=False
            )
        for record in batch:
            yield record
        if len(batch) < BATCH:
            return
        after = batch[-1]
