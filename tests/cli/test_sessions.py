from __future__ import annotations

from uuid import UUID, uuid4

import pytest
from sqlmodel import select

from authsvc.flows import administer_sessions
from authsvc.protocol.audit import Caller
from authsvc.protocol.refresh import Delivery
from authsvc.store.database import Database
from authsvc.store.tables import AuditRecord, RefreshFamily
from tests.cli.conftest import Command
from tests.support.accounts import add_user, live_sessions, log_in

STRANGER = Caller(ip="203.0.113.9", user_agent="evil\x1b[2J\u202e" + "x" * 100, request_id="r")


@pytest.fixture
async def alice(db: Database) -> UUID:
    return await add_user(db, "alice@example.com")


@pytest.fixture
async def bob(db: Database) -> UUID:
    return await add_user(db, "bob@example.com")


async def begin(db: Database, user_id: UUID) -> UUID:
    family = await log_in(db, user_id, delivery=Delivery.SPA, caller=STRANGER)
    return family.id


async def test_sessions_of_everybody_or_of_one_user_are_listed(
    authsvc: Command, db: Database, alice: UUID, bob: UUID
) -> None:
    first, second, third = await begin(db, alice), await begin(db, bob), await begin(db, alice)

    everybody = (await authsvc("sessions", "list", "--json")).json
    hers = (await authsvc("sessions", "list", "--user", "ALICE@example.com", "--json")).json
    his = (await authsvc("sessions", "list", "--user", str(bob), "--json")).json

    assert [str(third), str(second), str(first)] == [s["id"] for s in everybody["sessions"]]
    assert [str(third), str(first)] == [s["id"] for s in hers["sessions"]]
    assert {"bob@example.com"} == {s["email"] for s in his["sessions"]}
    assert {
        "id",
        "user_id",
        "email",
        "created_at",
        "last_used_at",
        "idle_expires_at",
        "absolute_expires_at",
        "delivery",
        "generation",
        "ip",
        "user_agent",
        "login_ip",
        "login_user_agent",
    } == set(his["sessions"][0])


async def test_pages_follow_each_other(authsvc: Command, db: Database, alice: UUID) -> None:
    began = [str(await begin(db, alice)) for _ in range(3)]

    first = await authsvc("sessions", "list", "--limit", "2", "--json")
    second = await authsvc("sessions", "list", "--after", first.json["next"], "--json")
    people = await authsvc("sessions", "list", "--limit", "2", "--user", "alice@example.com")

    assert began[::-1] == [s["id"] for s in first.json["sessions"] + second.json["sessions"]]
    assert second.json["next"] is None
    assert (
        f"There are more: authsvc sessions list --user alice@example.com --after {began[1]}\n"
        == people.err
    )


@pytest.mark.requirement("S4")
async def test_a_strangers_user_agent_cannot_move_the_terminal(
    authsvc: Command, db: Database, alice: UUID
) -> None:
    await begin(db, alice)

    people = await authsvc("sessions", "list")
    machines = await authsvc("sessions", "list", "--json")

    for shown in (people.out, machines.out):
        assert "\x1b" not in shown
        assert "\u202e" not in shown
    assert "evil\\x1b[2J\\u202e" in people.out
    assert machines.json["sessions"][0]["user_agent"] == STRANGER.user_agent


async def test_no_sessions_are_said_in_words(authsvc: Command) -> None:
    assert "No sessions.\n" == (await authsvc("sessions", "list")).out


@pytest.mark.requirement("D6")
async def test_one_session_ends_and_the_others_live(
    authsvc: Command, db: Database, alice: UUID
) -> None:
    ended, kept = await begin(db, alice), await begin(db, alice)

    done = await authsvc("sessions", "revoke", str(ended))
    again = await authsvc("sessions", "revoke", str(ended))

    assert f"Ended {ended}.\n" == done.out
    assert (0, f"{ended} had ended already.\n") == (again.code, again.out)
    assert {kept} == await live_sessions(db)


@pytest.mark.requirement("D5")
async def test_all_of_a_user_end_and_nobody_elses(
    authsvc: Command, db: Database, alice: UUID, bob: UUID
) -> None:
    await begin(db, alice)
    await begin(db, alice)
    kept = await begin(db, bob)

    done = await authsvc(
        "sessions", "revoke", "--user", "alice@example.com", "--reason", "lost laptop"
    )

    assert "Ended 2 sessions of alice@example.com.\n" == done.out
    assert {kept} == await live_sessions(db)
    assert {"lost laptop"} == await reasons(db, alice)


async def test_after_a_restore_everybodys_sessions_end(
    authsvc: Command, db: Database, alice: UUID, bob: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(administer_sessions, "BATCH", 2)
    monkeypatch.setattr("authsvc.cli.console.PROGRESS_INTERVAL", 0.0)
    for user in (alice, bob, alice):
        await begin(db, user)

    unasked = await authsvc("sessions", "revoke", "--all", "--reason", "restored")
    still = await live_sessions(db)
    done = await authsvc("sessions", "revoke", "--all", "--reason", "restored", "--yes")

    assert 1 == unasked.code
    assert "repeat with --yes" in unasked.err
    assert 3 == len(still)
    assert (0, "Ended 3 sessions.\n") == (done.code, done.out)
    assert "2 ended so far\n3 ended so far\n" == done.err
    assert set() == await live_sessions(db)
    assert {"restored"} == await reasons(db, alice) == await reasons(db, bob)


async def reasons(db: Database, user_id: UUID) -> set[str]:
    """The reason in the rows, which the audit trail has too."""
    async with db.transaction() as session:
        families = (
            await session.exec(select(RefreshFamily).where(RefreshFamily.user_id == user_id))
        ).all()
        records = (
            await session.exec(
                select(AuditRecord).where(
                    AuditRecord.user_id == user_id, AuditRecord.event == "session_revoked"
                )
            )
        ).all()
    found = {str(family.revoke_reason) for family in families}
    assert found == {record.details["reason"] for record in records}
    return found


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        [str(uuid4()), "--all"],
        ["--all", "--user", "a@example.com"],
        ["not-an-id"],
    ],
    ids=["nothing", "id-and-all", "user-and-all", "no-uuid"],
)
async def test_what_to_end_is_named_once_and_well(run: Command, arguments: list[str]) -> None:
    assert 2 == (await run("sessions", "revoke", *arguments)).code


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["revoke", str(uuid4())], "There is no such session; see `authsvc sessions list`\n"),
        (["revoke", "--user", "no@example.com"], "There is no such user"),
        (["list", "--user", "no@example.com"], "There is no such user"),
        (["list", "--after", str(uuid4())], "There is no such session"),
        (["revoke", "--all", "--yes", "--reason", "a\nb"], "reason: Use 1 to 200 printable"),
    ],
    ids=["session", "user", "list-user", "after", "reason"],
)
async def test_what_does_not_exist_is_one_line(
    authsvc: Command, arguments: list[str], says: str
) -> None:
    done = await authsvc("sessions", *arguments)

    assert (1, 1) == (done.code, len(done.err.splitlines()))
    assert says in done.err
