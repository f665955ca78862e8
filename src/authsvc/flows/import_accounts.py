"""Take over accounts with the password hashes they have elsewhere, all of them or none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from authsvc.protocol.audit import AuditEvent, Caller
from authsvc.store import audit, users
from authsvc.store.database import Session, in_transaction
from authsvc.store.users import NewUser

BATCH = 500  # rows a statement: well within its timeout of 2 s


class AddressesTaken(Exception):  # noqa: N818 - an answer, as the refusals are
    """Some addresses have accounts already, so nothing was imported."""

    def __init__(self, emails: Sequence[str]) -> None:
        super().__init__(f"{len(emails)} addresses are taken")
        self.emails = tuple(emails)


@dataclass(frozen=True, slots=True)
class Imported:
    """
    What an import did.

    Args:
        skipped: The addresses that had an account already, which is untouched.
    """

    created: int
    skipped: tuple[str, ...] = ()


@in_transaction
async def import_accounts(
    session: Session,
    accounts: Sequence[NewUser],
    *,
    skip_existing: bool,
    caller: Caller | None = None,
    on_progress: Callable[[int], None] = lambda _: None,
) -> Imported:
    """
    Create the accounts in one transaction, each with its audit record.

    Args:
        accounts: Checked: addresses in normal form and different, hashes that can be verified.
        skip_existing: Leave accounts that exist as they are, rather than refuse the import.
        on_progress: Called after each batch with how many accounts have been looked at.

    Raises:
        AddressesTaken: Nothing was imported.
    """
    created, taken = 0, list[str]()
    for start in range(0, len(accounts), BATCH):
        batch = accounts[start : start + BATCH]
        new = await users.create_many(session, batch)
        if new:
            await audit.record_many(
                session,
                AuditEvent.USER_CREATED,
                user_ids=list(new.values()),
                caller=caller,
                details={"imported": True},
            )
        created += len(new)
        taken += [account.email for account in batch if account.email not in new]
        on_progress(start + len(batch))
    if taken and not skip_existing:
        raise AddressesTaken(taken)
    return Imported(created, tuple(taken))
