"""The database: does it answer, will it remember, is it ours, and what time is it there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from authsvc.cli.database import open_database
from authsvc.cli.diagnosis.finding import Finding, error, info, ok, warning
from authsvc.cli.refusals import unreachable
from authsvc.operator_errors import OperatorError
from authsvc.protocol.errors import DatabaseUnavailable
from authsvc.settings import Settings
from authsvc.store.schema import SCHEMA_REVISION, Schema, current
from authsvc.store.server import DatabaseServer, encoding_fault, inspect
from authsvc.store.sign_ins import SignIns, last_sign_ins

OLDEST = 13  # gen_random_uuid() without an extension
MAINTAINED = 15  # PostgreSQL 14 had its last release in November 2026
MAX_SKEW = timedelta(seconds=2)
ENOUGH = 50  # accounts; fewer may well be one office
PER_PROCESS = 14  # connections: 8 for hot statements, 5 for the rest, 1 beside requests


@dataclass(frozen=True, slots=True)
class _Answer:
    """
    Args:
        skew: The database's clock minus ours.
        uncertainty: By how much the skew may be wrong: half the round trip.
        sign_ins: None where they cannot be read.
    """

    server: DatabaseServer
    schema: Schema
    skew: timedelta
    uncertainty: timedelta
    sign_ins: SignIns | None = None


def examine(settings: Settings) -> Iterator[Finding]:
    """Ask the database; a database that is down is a finding, and the end of these."""
    embedded = settings.database_url is None
    try:
        answer = asyncio.run(_ask(settings))
    except OperatorError:
        yield info(
            "DB-001",
            "AUTHSVC_DATABASE_URL is not set, and the embedded database does not run now",
            "start `authsvc serve` (or `make run`), then ask again",
        )
        return
    except DatabaseUnavailable as exc:
        found, _, fix = unreachable(exc).partition(". ")
        yield error("DB-001", f"cannot be used: {found}", fix)
        return
    server = answer.server
    place = "the embedded one" if embedded else "the configured one"
    yield ok("DB-001", f"{place} answers, as {server.role}")
    yield _version(server)
    yield _durability(server, settings)
    yield _writable(server)
    yield _clocks(answer)
    yield _schema(answer.schema)
    yield _privileges(server)
    yield _least_privilege(server, expected=embedded)
    yield _encryption(server)
    yield _connections(server, settings)
    yield _encoding(server)
    if answer.sign_ins is not None:
        yield _sign_ins(answer.sign_ins)


async def _ask(settings: Settings) -> _Answer:
    async with open_database(settings) as db:
        await inspect(db)  # so that the next one measures a round trip and nothing else
        before, started = datetime.now(UTC), time.monotonic()
        server = await inspect(db)
        took = timedelta(seconds=time.monotonic() - started)
        found = await current(db)
        # Without the privilege it would be an error, which DB-007 tells.
        readable = found.suffices and not server.missing
        sign_ins = await last_sign_ins(db) if readable else None
    skew = server.now - before - took / 2
    return _Answer(server, found, skew, took / 2, sign_ins)


def _version(server: DatabaseServer) -> Finding:
    major = server.version // 10_000
    if major < OLDEST:
        return error("DB-002", f"is {server.version_name}", f"upgrade to {MAINTAINED} or newer")
    if major < MAINTAINED:
        found = f"is {server.version_name}, which gets no more security fixes"
        return warning("DB-002", found, f"upgrade to {MAINTAINED} or newer")
    return ok("DB-002", f"is {server.version_name}")


def _durability(server: DatabaseServer, settings: Settings) -> Finding:
    off = [
        name
        for name, is_off in (
            ("fsync", not server.fsync),
            ("full_page_writes", not server.full_page_writes),
            ("synchronous_commit", server.synchronous_commit == "off"),
        )
        if is_off
    ]
    if not off:
        return ok("DB-003", f"fsync is on, synchronous_commit is {server.synchronous_commit}")
    severe = error if settings.production else warning
    return severe(
        "DB-003",
        f"{' and '.join(off)} off: a crash loses revocations that were acknowledged",
        f"switch {' and '.join(off)} on in postgresql.conf",
    )


def _writable(server: DatabaseServer) -> Finding:
    if server.refusal is not None:
        found, _, fix = server.refusal.partition(": ")
        return error("DB-004", f"no: it {found}", fix)
    return ok("DB-004", "yes")


def _clocks(answer: _Answer) -> Finding:
    apart = abs(answer.skew)
    where = "ahead of" if answer.skew > timedelta(0) else "behind"
    if apart - answer.uncertainty > MAX_SKEW:
        return error(
            "DB-005",
            f"the database's is {apart.total_seconds():.1f} s {where} this machine's; tokens may "
            "be refused as too new or live too long",
            "run NTP (chrony, systemd-timesyncd) on both",
        )
    milliseconds = apart / timedelta(milliseconds=1)
    return ok("DB-005", f"{milliseconds:.0f} ms apart, as far as can be measured")


def _schema(found: Schema) -> Finding:
    if found.fault is not None:
        what, _, fix = found.fault.partition(": ")
        return error("DB-006", what, fix)
    if found.revision == SCHEMA_REVISION:
        return ok("DB-006", f"is {SCHEMA_REVISION}, as needed")
    return ok("DB-006", f"is {found.revision}, newer than {SCHEMA_REVISION}, and will do")


def _privileges(server: DatabaseServer) -> Finding:
    if server.absent:
        return error(
            "DB-007",
            f"cannot be judged, as there is no table {', '.join(server.absent)}",
            "repair the schema first",
        )
    if not server.missing:
        return ok("DB-007", f"{server.role} may do all that `authsvc serve` does")
    return error(
        "DB-007",
        f"{server.role} lacks {', '.join(server.missing)}",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {server.role}",
    )


def _least_privilege(server: DatabaseServer, *, expected: bool) -> Finding:
    """
    Args:
        expected: The embedded database has one role only.
    """
    if server.superuser and not expected:
        return warning(
            "DB-008",
            f"{server.role} is a superuser: a hole in authsvc would open the whole server",
            "give `authsvc serve` its own role, as docs/deployment.md shows",
        )
    if server.creates and not expected:
        return info(
            "DB-008",
            f"{server.role} may create and alter tables, which only `authsvc db upgrade` needs",
            "give `authsvc serve` its own role, as docs/deployment.md shows",
        )
    if expected:
        return ok("DB-008", "the embedded database has one role, on its own socket")
    return ok("DB-008", f"{server.role} may use the tables and not change them")


def _encryption(server: DatabaseServer) -> Finding:
    if server.local:
        return ok("DB-009", "is not needed: it is on this machine")
    if server.encrypted:
        return ok("DB-009", "is on")
    return warning(
        "DB-009",
        "is off: anyone who can read the network traffic sees password hashes",
        "add ?sslmode=verify-full to AUTHSVC_DATABASE_URL",
    )


def _connections(server: DatabaseServer, settings: Settings) -> Finding:
    needed = settings.workers * PER_PROCESS
    if needed > server.connections:
        return warning(
            "DB-010",
            f"{settings.workers} workers may open {needed}, the server takes {server.connections}",
            "raise max_connections, lower AUTHSVC_WORKERS, or use PgBouncer",
        )
    return ok(
        "DB-010",
        f"this replica opens at most {needed} of {server.connections}",
    )


def _encoding(server: DatabaseServer) -> Finding:
    fault = encoding_fault(server.encoding)
    if fault is not None:
        found, _, fix = fault.partition(": ")
        return error("DB-011", found, fix)
    return ok("DB-011", f"is {server.encoding}")


def _sign_ins(last: SignIns) -> Finding:
    """Whether the throttle can tell clients apart (decision 0018, backend for frontend)."""
    of = f"{last.from_commonest} of the last {last.accounts} accounts"
    if last.accounts < ENOUGH or 2 * last.from_commonest <= last.accounts:
        return ok("WEB-007", f"{of} signed in from one network")
    return warning(
        "WEB-007",
        f"{of} signed in from one network, which the throttle therefore never slows",
        "if it is a proxy or a backend for frontend: have it pass X-Forwarded-For on, and list "
        "its address in AUTHSVC_TRUSTED_PROXIES",
    )
