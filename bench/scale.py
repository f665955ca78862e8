"""The same refresh load over more and more families, each number in a database of its own."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import asyncpg

from bench.measurements import refresh_load
from bench.world import Serving, World, populated
from proof.experiment import stage

Json = dict[str, Any]

USERS = 16
WALK = 2_000  # families of each user: more than it meets in one load, so each is a cold one
MEMORY = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
# PostgreSQL's manual (20.4) advises a quarter of the memory for a server with much to hold.
SIZED = {"shared_buffers": f"{MEMORY // 4 // 2**20}MB", "max_wal_size": "8GB"}


async def measure_scale(
    directory: Path, *, sizes: Sequence[int], seconds: float, rotations: int, rounds: int = 5
) -> Json:
    """
    Load every size in turns, then the largest until it has seen so many rotations.

    A machine that is shared with others is faster in one minute than in the next: the sizes of
    one round are compared, and the median of the rounds counts.
    """
    async with AsyncExitStack() as opened:
        on = await opened.enter_async_context(stage(directory, options=SIZED))
        services: list[tuple[World, Serving]] = []
        for size in sizes:
            print(f"  {size:,} families", flush=True)
            world = await opened.enter_async_context(populated(on, size))
            serving = opened.enter_context(world.serving(workers=2))
            await refresh_load(world, serving, users=4, seconds=2)  # warm up
            services.append((world, serving))
        loads = [
            [await _load(world, serving, seconds) for world, serving in services]
            for _ in range(rounds)
        ]
        while (done := await services[-1][0].rotations()) < rotations:
            print(f"  {done:,} of {rotations:,} rotations", flush=True)
            await _load(*services[-1], 30)
        return {
            "settings": SIZED,
            "rounds": loads,
            "tables": [await _table(world) for world, _ in services],
        }


async def _load(world: World, serving: Serving, seconds: float) -> Json:
    walk = min(world.families // (2 * USERS), WALK)
    return await refresh_load(world, serving, users=USERS, seconds=seconds, each=walk)


async def _table(world: World) -> Json:
    """Sizes in bytes, and the share of updates that were HOT."""
    connection = await asyncpg.connect(world.url)
    try:
        await connection.execute("SELECT pg_stat_force_next_flush()")
        row = await connection.fetchrow(
            "SELECT pg_relation_size(relid) AS table_bytes, pg_indexes_size(relid) AS index_bytes,"
            " n_tup_upd AS updates, n_tup_hot_upd AS hot FROM pg_stat_user_tables"
            " WHERE relname = 'refresh_families'"
        )
    finally:
        await connection.close()
    return {"families": world.families, **row, "hot_share": row["hot"] / max(row["updates"], 1)}
