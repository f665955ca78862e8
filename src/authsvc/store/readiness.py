"""Whether the database will do: `/readyz` asks, and `serve` before it says that it is ready."""

from __future__ import annotations

from authsvc.store import schema
from authsvc.store.database import Database
from authsvc.store.server import WRITES, encoding_fault, lacking, refusal_of

OK = "ok"


async def examine(db: Database, *, production: bool) -> dict[str, str]:
    """
    `ok` or a sentence for `database` and for `schema`.

    Raises:
        DatabaseUnavailable: It cannot be asked.
    """
    checks = {"database": OK, "schema": OK}
    async with db.autocommit() as connection:
        [row] = await connection.fetch(
            f"SELECT {WRITES}, current_setting('fsync') AS fsync, "
            "current_setting('synchronous_commit') AS synchronous_commit"
        )
        missing, _ = await lacking(connection)
    if (refusal := await refusal_of(db, row)) is not None:
        checks["database"] = refusal
        if row["standby"] or row["read_only"]:
            # What a role or a database is set to counts for new connections only.
            db.distrust_idle()
    elif (fault := encoding_fault(row["encoding"])) is not None:
        checks["database"] = fault
    elif production and "off" in {row["fsync"], row["synchronous_commit"]}:
        checks["database"] = (
            "runs with fsync or synchronous_commit off and would lose revocations: switch both on"
        )
    elif missing:
        checks["database"] = (
            f"refuses {', '.join(missing)}: grant that to our role, as docs/deployment.md shows"
        )
    else:
        checks["schema"] = (await schema.current(db)).fault or OK
    return checks
