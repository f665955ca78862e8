from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from authsvc.flows import administer_audit
from authsvc.protocol.audit import AuditEvent, Caller
from authsvc.store import audit
from authsvc.store.database import Database
from tests.cli.conftest import Command
from tests.conftest import database_at

pytestmark = pytest.mark.finding("N16")

START = datetime(2026, 11, 22, 10, tzinfo=UTC)
STRANGER = Caller(ip="203.0.113.9", user_agent="evil\x1b[2J", request_id="r")
PAGE = Path(__file__).parents[2] / "docs" / "monitoring.md"


async def record(
    db: Database,
    event: AuditEvent,
    *,
    after: timedelta,
    user_id: UUID | None = None,
    **details: object,
) -> None:
    async with db.transaction() as session:
        with database_at(START + after):
            await audit.record(session, event, user_id=user_id, caller=STRANGER, details=details)


@pytest.fixture
async def trail(db: Database) -> UUID:
    """Three records, an hour apart; the user of the middle one."""
    user_id = uuid4()
    await record(db, AuditEvent.LOGIN_FAILED, after=timedelta(0), cause="\x1b]0;owned\x07")
    await record(db, AuditEvent.LOGIN_SUCCEEDED, after=timedelta(hours=1), user_id=user_id)
    await record(db, AuditEvent.USER_DISABLED, after=timedelta(hours=2))
    return user_id


async def events(authsvc: Command, *arguments: str) -> list[str]:
    listed = (await authsvc("audit", "list", "--json", *arguments)).json
    return [entry["event"] for entry in listed["records"]]


@pytest.mark.usefixtures("trail")
async def test_the_trail_is_listed_newest_first_in_pages(authsvc: Command) -> None:
    first = (await authsvc("audit", "list", "--limit", "2", "--json")).json
    second = (await authsvc("audit", "list", "--after", first["next"], "--json")).json

    assert ["user_disabled", "login_succeeded"] == [r["event"] for r in first["records"]]
    assert ["login_failed"] == [r["event"] for r in second["records"]]
    assert second["next"] is None
    assert {
        "id",
        "at",
        "event",
        "user_id",
        "session_id",
        "ip",
        "user_agent",
        "request_id",
        "details",
    } == first["records"][0].keys()


async def test_it_is_filtered_by_user_event_and_time(authsvc: Command, trail: UUID) -> None:
    """An id is enough, since the trail outlives the account and its address."""
    assert ["login_succeeded"] == await events(authsvc, "--user", str(trail))
    assert ["user_disabled", "login_failed"] == await events(
        authsvc, "--event", "login_failed", "--event", "user_disabled"
    )
    assert ["user_disabled", "login_succeeded"] == await events(
        authsvc, "--since", "2026-11-22T11:00:00Z"
    )
    assert ["login_failed"] == await events(authsvc, "--until", "2026-11-22T11:00:00")
    assert [] == await events(authsvc, "--until", "20000d")


@pytest.mark.usefixtures("trail")
async def test_an_export_is_json_lines_oldest_first(
    authsvc: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In batches, each of which goes on where the last one ended."""
    monkeypatch.setattr(administer_audit, "BATCH", 1)

    done = await authsvc("audit", "export")

    exported = [json.loads(line)["event"] for line in done.out.splitlines()]
    assert ["login_failed", "login_succeeded", "user_disabled"] == exported
    assert "Exported 3 records." in done.err


@pytest.mark.usefixtures("trail")
async def test_no_terminal_obeys_what_a_stranger_sent(authsvc: Command) -> None:
    table = await authsvc("audit", "list")
    lines = await authsvc("audit", "export")

    assert "login_failed" in table.out
    assert "\x1b" not in table.out + lines.out


@pytest.mark.parametrize("text", ["yesterday", "24", "2026-13-01", "h"])
async def test_a_moment_that_is_none_is_named_with_the_forms(authsvc: Command, text: str) -> None:
    done = await authsvc("audit", "list", "--since", text)

    assert 2 == done.code
    assert "2026-11-22T10:00:00Z" in done.err


async def test_an_unknown_user_or_place_is_one_line(authsvc: Command) -> None:
    nobody = await authsvc("audit", "list", "--user", "nobody@example.com")
    nowhere = await authsvc("audit", "list", "--after", str(uuid4()))

    assert (1, 1) == (nobody.code, nowhere.code)
    assert (1, 1) == (len(nobody.err.splitlines()), len(nowhere.err.splitlines()))


def test_the_page_explains_every_event() -> None:
    page = PAGE.read_text(encoding="utf-8")

    assert [event for event in AuditEvent if f"`{event}`" not in page] == []
