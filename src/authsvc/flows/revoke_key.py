"""Revoke a leaked signing key in the revocation feed, for all verifiers that follow it."""

from __future__ import annotations

from authsvc.store import revocations
from authsvc.store.database import Session, in_transaction


@in_transaction
async def announce_key(session: Session, kid: str) -> None:
    """
    Announce it. This comes before its file is deleted: what is deleted cannot be named again.

    Raises:
        DatabaseUnavailable: It is not known to have been announced; it may be repeated.
    """
    await revocations.announce_key(session, kid)
