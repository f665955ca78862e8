"""
F22: `authsvc db upgrade` dies at any statement: the schema is the old one or the new, never half.

The only migration so far is the first, so a throw-away second one is put into a copy of alembic/;
the code that runs it is the command's own. Two replicas of the release before it stay up.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random
from typing import Any

import asyncpg

from proof.client import Client, Session
from proof.experiment import Findings, Stage
from proof.migration_runner import NEW, OLD, MigrationRunner
from proof.zygote import Service, Zygote
from tests.support.live import free_port

SETTINGS = {"ISSUER": "http://localhost:8000"}
SCHEMA = """
SELECT string_agg(line, chr(10) ORDER BY line) FROM (
  SELECT format('%s.%s %s %s %s', table_name, column_name, data_type, is_nullable, column_default)
    FROM information_schema.columns WHERE table_schema = 'public'
  UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'
  UNION ALL SELECT conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint
    WHERE connamespace = 'public'::regnamespace
  UNION ALL SELECT 'revision ' || version_num FROM authsvc_version
) AS lines (line)
"""
# What the users and their sessions are made of; a clock goes on while replicas work.
DATA = """
SELECT (SELECT string_agg(concat_ws(' ', id, email, password_hash), ',' ORDER BY id) FROM users)
  || (SELECT string_agg(concat_ws(' ', id, user_id, created_at), ',' ORDER BY id)
      FROM refresh_families)
"""
BUSY = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle'
"""


@dataclass
class Database:
    """One whose schema is brought up and down again."""

    url: str
    connection: asyncpg.Connection
    runner: MigrationRunner
    findings: Findings
    services: list[Service]
    client: Client
    sessions: list[Session]

    def demand(self, holds: bool, sentence: str) -> None:  # noqa: FBT001 - as assert
        """Note a violation unless it holds."""
        if not holds and len(self.findings.violations) < 50:
            self.findings.violations.append(sentence)

    async def migrate(self, to: str, *die_at: int | None) -> list[dict[str, Any]]:
        """Run it once for each of `die_at`, all at the same moment."""
        return await self.runner.run(*({"url": self.url, "to": to, "die_at": at} for at in die_at))

    async def schema(self) -> str:
        """All that it consists of, once nobody changes it any more."""
        while await self.connection.fetchval(BUSY):
            pass
        text = await self.connection.fetchval(SCHEMA)
        return hashlib.sha256((text or "").encode()).hexdigest()

    async def served(self, where: str) -> None:
        """The replicas of the old release go on, whatever the schema is."""
        for session in self.sessions:
            used = await self.client.refresh(session)
            self.demand(used.outcome == "ok", f"{where}: {used.result}")


class KilledMigrations:
    """Up and down; killed at every point, alone and beside a second one."""

    name = "F22-migration-killed-at-every-statement"
    promise = (
        "A migration killed before or after any statement leaves the old schema or the new, with "
        "all data, and works when it is run again; two at once do it once; replicas of the "
        "release before serve meanwhile; down and up again loses nothing."
    )
    unit = "killed migrations"
    goal = 2_000
    batch = 40

    async def run(self, stage: Stage, *, units: int, random: Random) -> Findings:
        """Kill at points of chance, each once before any twice."""
        async with _database(stage, random) as database:
            await _play(database, units, random)
        return database.findings

    async def control(self, stage: Stage, *, random: Random) -> Findings:
        """Without a transaction around it, a killed migration leaves half a schema."""
        async with _database(stage, random) as database:
            env = database.runner.scripts / "env.py"
            env.write_text(
                env.read_text().replace(
                    '    with context.begin_transaction():\n        connection.execute(text("SET',
                    "    connection = connection.execution_options("
                    'isolation_level="AUTOCOMMIT")\n'
                    '    if True:\n        connection.execute(text("SET',
                )
            )
            await _play(database, 40, random, until_found=True)
        return database.findings


async def _play(
    database: Database, units: int, random: Random, *, until_found: bool = False
) -> None:
    findings = database.findings
    old = await database.schema()
    (first,) = await database.migrate(NEW, None)
    new = await database.schema()
    (back,) = await database.migrate(OLD, None)
    database.demand(first["code"] == back["code"] == 0, "the migration does not work at all")
    database.demand(await database.schema() == old != new, "down is not where it was before")
    data = await database.connection.fetchval(DATA)
    points = {NEW: first["points"], OLD: back["points"]}
    findings.at_most("points of one migration", len(first["points"]))
    targets: list[tuple[str, int]] = []
    while findings.done < units:
        if not targets:
            targets = [(to, at) for to in points for at in range(len(points[to]))]
            random.shuffle(targets)
        to, at = targets.pop()
        before, after = (old, new) if to == NEW else (new, old)
        if await database.schema() != before:
            await database.migrate(OLD if to == NEW else NEW, None)
        where = f"to {to}, killed {points[to][at]}"
        beside = random.random() < 0.3
        runs = await database.migrate(to, *((at, None) if beside else (at,)))
        if beside:
            findings.counted["beside a second one"] += 1
            database.demand(runs[1]["code"] == 0, f"{where}: the second one failed")
        findings.counted["survived, being the second"] += runs[0]["code"] == 0
        schema = await database.schema()
        findings.counted["left the old schema" if schema == before else "left the new"] += 1
        allowed = (after,) if beside else (before, after)
        database.demand(schema in allowed, f"{where}: half a schema")
        await database.served(where)
        (again,) = await database.migrate(to, None)
        database.demand(again["code"] == 0, f"{where}: it cannot be repeated")
        database.demand(await database.schema() == after, f"{where}: repeated, it is another")
        kept = await database.connection.fetchval(DATA)
        database.demand(kept == data, f"{where}: data has changed")
        findings.done += 1
        if until_found and findings.violations:
            return


@asynccontextmanager
async def _database(stage: Stage, random: Random) -> AsyncIterator[Database]:
    async with stage.database() as url:
        with stage.place() as place, Zygote(place) as zygote, MigrationRunner(place) as runner:
            service = zygote.spawn(free_port(), url, SETTINGS)
            await service.ready()
            client = Client(
                f"migration-{random.getrandbits(32):08x}", stage.recorder, [service.port]
            )
            connection = await asyncpg.connect(url)
            try:
                account = await client.register("migration@example.com")
                sessions = [await client.login(account, each) for each in ("native", "web")]
                yield Database(
                    url=url,
                    connection=connection,
                    runner=runner,
                    findings=Findings(),
                    services=[service],
                    client=client,
                    sessions=[session for session in sessions if session is not None],
                )
            finally:
                await connection.close()
                await client.close()
