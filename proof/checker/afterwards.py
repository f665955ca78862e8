"""
What the database says after the dust has settled, against what the clients were told.

One connection, a handful of queries, whatever the size of the history.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import asyncpg

from proof.checker.families import Family, History, take_apart
from proof.checker.linearizable import describe
from proof.history import Operation

SETTLE = 5.0  # seconds in which open transactions must be gone

FAMILIES = """
SELECT f.id::text, f.user_id::text, f.delivery, f.generation, f.revoke_reason,
       u.id IS NULL AS orphan
FROM refresh_families f LEFT JOIN users u ON u.id = f.user_id
"""
AUDIT = """
SELECT event, user_id::text, family_id::text, details->>'reason' AS reason
FROM audit_records ORDER BY at
"""
USERS = "SELECT id::text, disabled_at IS NOT NULL AS disabled FROM users"
OPEN_TRANSACTIONS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND state LIKE 'idle in trans%'
"""

ENDS = frozenset({"session_revoked", "refresh_token_reused"})
LOST_COMMITS = frozenset({"database_rollback_detected", "generation_far_ahead"})


@dataclass
class _Database:
    """What was read; `audit` by family, or by user where there is no family."""

    families: dict[str, Any]
    users: dict[str, bool]
    audit: dict[str, list[tuple[str, str | None]]]

    @cached_property
    def begun(self) -> Counter[str]:
        """How many families each user has."""
        return Counter(row["user_id"] for row in self.families.values())


async def check_afterwards(operations: Iterable[Operation], database_url: str) -> list[str]:
    """
    Every violation that the rows, the audit trail or the connections show.

    Args:
        operations: The whole history of this database, the last retries included.
        database_url: As asyncpg takes it.
    """
    history = take_apart(operations)
    connection = await asyncpg.connect(database_url)
    try:
        violations = await _open_transactions(connection)
        database = await _read(connection)
    finally:
        await connection.close()
    for family in history.families.values():
        violations += _family(history, family, database)
    violations += _rows_and_audit(database)
    for user, logins in history.logins.items():
        violations += _user(history, user, logins, database)
    return violations


async def _read(connection: Any) -> _Database:
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        families = {row["id"]: row for row in await connection.fetch(FAMILIES)}
        users = {row["id"]: row["disabled"] for row in await connection.fetch(USERS)}
        audit: dict[str, list[tuple[str, str | None]]] = defaultdict(list)
        for row in await connection.fetch(AUDIT):
            audit[row["family_id"] or row["user_id"] or ""].append((row["event"], row["reason"]))
    return _Database(families, users, audit)


async def _open_transactions(connection: Any) -> list[str]:
    for _ in range(int(SETTLE / 0.1)):
        left = await connection.fetchval(OPEN_TRANSACTIONS)
        if not left:
            return []
        await asyncio.sleep(0.1)
    return [f"{left} connections are idle in a transaction"]


def _family(history: History, family: Family, database: _Database) -> Iterator[str]:
    """The row against the history: nothing acknowledged is missing, nothing else happened."""
    row = database.families.get(family.id)
    if row is None:
        yield f"D: family {family.id} was acknowledged and has no row"
        return
    refreshes = [o for o in family.own if o.operation == "refresh"]
    told = max((o.result["generation"] for o in refreshes if o.outcome == "ok"), default=0)
    possible = max(
        (o.value["generation"] + 1 for o in refreshes if o.outcome == "info"), default=told
    )
    if not told <= row["generation"] <= max(told, possible):
        yield (
            f"D: family {family.id} has generation {row['generation']}; clients were told {told}, "
            f"and lost answers explain at most {possible}"
        )
    end = min(history.certain_ends(family), key=lambda o: o.returned, default=None)
    reason = row["revoke_reason"]
    if end is not None and reason is None:
        yield f"I5: family {family.id} is alive although {describe(end)}"
    if reason is not None:
        causes = {_reason(operation, family.id) for operation in history.threats(family.id)}
        if reason not in causes:
            yield f"family {family.id} is revoked for {reason}; known causes: {sorted(causes)}"


def _reason(operation: Operation, family_id: str) -> str:
    """The word in the row for an end by this operation."""
    match operation.operation:
        case "logout" if operation.family == family_id and operation.value["scope"] != "all":
            return "logout"
        case "logout":
            return f"logout_{operation.value['scope']}"
        case "disable":
            return "user_disabled"
        case "password_change":
            return "password_changed"
        case "revoke_session":
            return "session_ended"
    return "reuse"


def _rows_and_audit(database: _Database) -> Iterator[str]:
    """I16: one record for the login of each family, one for its end, none for anything else."""
    for family_id, row in database.families.items():
        if row["orphan"]:
            yield f"family {family_id} has no user"
        records = database.audit.get(family_id, [])
        events = Counter(event for event, _ in records)
        if events["login_succeeded"] != 1:
            yield f"I16: family {family_id} has {events['login_succeeded']} records of its login"
        ends = [(event, reason) for event, reason in records if event in ENDS]
        reason = row["revoke_reason"]
        event = "refresh_token_reused" if reason == "reuse" else "session_revoked"
        if ends != ([(event, reason)] if reason else []):
            yield f"I16: family {family_id} is revoked for {reason}, and audited: {ends}"
        for lost in LOST_COMMITS & set(events):
            yield f"D: family {family_id}: {lost}"
    for name, records in database.audit.items():
        if name not in database.families and any(
            e in ENDS | {"login_succeeded"} for e, _ in records
        ):
            yield f"I16: audited, but there is no family {name}"


def _user(
    history: History, user: str, logins: list[Operation], database: _Database
) -> Iterator[str]:
    """The transitions of a user: as many records as commits, in an order that can be."""
    events = Counter(event for event, _ in database.audit.get(user, []))
    wide = history.wide.get(user, [])
    told = Counter(login.outcome for login in logins)
    begun = database.begun[user]
    if not told["ok"] <= begun <= told["ok"] + told["info"]:
        yield (
            f"D: user {user} has {begun} families of {told['ok']} logins, and {told['info']} of "
            "unknown outcome"
        )
    changes = Counter(o.outcome for o in wide if o.operation == "password_change")
    if not changes["ok"] <= events["password_changed"] <= changes["ok"] + changes["info"]:
        yield (
            f"I16: user {user}: {events['password_changed']} records of {changes['ok']} changes "
            f"of the password, and {changes['info']} of unknown outcome"
        )
    order = [e for e, _ in database.audit.get(user, []) if e in {"user_disabled", "user_enabled"}]
    fits = all(event == ("user_disabled", "user_enabled")[n % 2] for n, event in enumerate(order))
    disabled = len(order) % 2 == 1
    if not fits or disabled != database.users.get(user):
        yield f"I16: user {user}: disabled is {database.users.get(user)}, audited: {order}"
