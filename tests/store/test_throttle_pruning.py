"""What no rule of the throttle asks about any more is deleted."""

from __future__ import annotations

from datetime import timedelta

import asyncpg
import pytest

from authsvc.flows.maintain import prune
from authsvc.store import users
from authsvc.store.database import Database
from tests.conftest import START, database_at

pytestmark = pytest.mark.finding("11.2")
SECOND = timedelta(seconds=1)
TABLES = {
    # Of the version before this one, which forgets after an hour.
    "throttle_counters": (
        "INSERT INTO throttle_counters (key, count, last_at) VALUES ('k', 1, $1)",
        timedelta(hours=1),
    ),
    "throttle_buckets": (
        "INSERT INTO throttle_buckets (key, empty_at) VALUES ('k', $1)",
        timedelta(0),
    ),
    "throttle_buckets that failed": (
        "INSERT INTO throttle_buckets VALUES ('k', $1, 'n', $1)",
        timedelta(hours=1),
    ),
    "stranger_failures": (
        "INSERT INTO stranger_failures (account, failed_at) VALUES ('k', ARRAY[$1::timestamptz])",
        timedelta(hours=24),
    ),
    "known_networks": (
        "INSERT INTO known_networks (user_id, network, signed_in_at) SELECT id, 'n', $1 FROM users",
        timedelta(days=90),
    ),
}


@pytest.mark.parametrize("name", TABLES)
async def test_a_row_is_deleted_once_no_rule_asks_about_it(
    db: Database, database_url: str, name: str
) -> None:
    table, (insert, life) = name.split(maxsplit=1)[0], TABLES[name]
    async with db.transaction() as session:
        await users.create(session, email="a@example.com", password_hash="-")
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute(insert, START)
        rows = []
        for now in (START + life - SECOND, START + life + SECOND):
            with database_at(now):
                await prune(db, audit_retention=timedelta(days=1))
            rows.append(await connection.fetchval(f"SELECT count(*) FROM {table}"))  # noqa: S608 - from the table above
    finally:
        await connection.close()

    assert [1, 0] == rows
