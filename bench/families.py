"""Families by the million, and tokens for some of them."""

from __future__ import annotations

from datetime import UTC, datetime

import asyncpg

from authsvc.keys.directory import KeyDirectory
from authsvc.keys.refresh_tokens import seal
from authsvc.protocol.refresh import Delivery, RefreshToken

BATCH = 100_000


async def fill(url: str, families: int, *, keys: KeyDirectory) -> None:
    """
    Bring the database to that many families, each with a user of its own.

    Rows look as a login leaves them: never rotated, live for thirty days.
    """
    key_id = keys.refresh.sealing_key(datetime.now(UTC)).key_id
    connection = await asyncpg.connect(url)
    try:
        have = await connection.fetchval("SELECT count(*) FROM refresh_families")
        while have < families:
            size = min(BATCH, families - have)
            await connection.execute(FILL, have, size, key_id)
            have += size
        await connection.execute("VACUUM (ANALYZE) users, refresh_families")
    finally:
        await connection.close()


async def tokens(url: str, number: int, *, after: int, keys: KeyDirectory) -> list[str]:
    """The newest tokens of families at random places of the table, `after` skipping so many."""
    connection = await asyncpg.connect(url)
    try:
        rows = await connection.fetch(CHOOSE, number, after)
    finally:
        await connection.close()
    return [
        seal(
            keys.refresh,
            RefreshToken(row["mac_key_id"], row["id"], row["generation"], Delivery.NATIVE),
        )
        for row in rows
    ]


FILL = """
WITH added AS (
    INSERT INTO users (id, email, password_hash, roles)
    SELECT gen_random_uuid(), 'user' || n || '@example.com', '$argon2id$unusable', '{user}'
    FROM generate_series($1::int + 1, $1::int + $2::int) AS n
    RETURNING id
)
INSERT INTO refresh_families (
    id, user_id, client_id, delivery, remember, generation, mac_key_id, rotated_at, created_at,
    auth_time, amr, scope, idle_expires_at, absolute_expires_at, ip, user_agent, last_ip,
    last_user_agent
)
SELECT gen_random_uuid(), id, 'authsvc', 'native', true, 0, $3::bytea, now, now, now, '{pwd}', '',
    now + interval '7 days', now + interval '30 days', '203.0.113.7', agent, '203.0.113.7', agent
FROM added, LATERAL (
    SELECT clock_timestamp() AS now, 'Mozilla/5.0 (X11; Linux x86_64) Firefox/145.0' AS agent
) AS constants
"""
CHOOSE = """
SELECT id, generation, mac_key_id FROM refresh_families
WHERE delivery = 'native' AND revoked_at IS NULL ORDER BY id LIMIT $1 OFFSET $2
"""
