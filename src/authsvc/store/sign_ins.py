"""Where accounts signed in from last, for `authsvc doctor`: whether one address hides many."""

from __future__ import annotations

from dataclasses import dataclass

from authsvc.store.database import Database
from authsvc.store.hot_statement import read


@dataclass(frozen=True, slots=True)
class SignIns:
    """
    Args:
        accounts: Distinct ones among the newest known networks.
        from_commonest: How many of them signed in from the network that most of them did.
    """

    accounts: int
    from_commonest: int


async def last_sign_ins(db: Database) -> SignIns:
    """
    The newest thousand, by an index; the networks are digests, and stay so.

    Raises:
        DatabaseUnavailable: It cannot be asked.
    """
    async with db.autocommit() as connection:
        [row] = await connection.fetch(_STATEMENT)
    return read(SignIns, row)


_STATEMENT = """
WITH newest AS MATERIALIZED (
    SELECT user_id, network FROM known_networks ORDER BY signed_in_at DESC LIMIT 1000
)
SELECT count(DISTINCT user_id) AS accounts,
    coalesce((SELECT max(n) FROM (SELECT count(*) AS n FROM newest GROUP BY network) AS each), 0)
        AS from_commonest
FROM newest
"""
