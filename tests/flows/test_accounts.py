"""What administrators do to accounts and sessions, on a real database."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from sqlmodel import col, select

from authsvc.flows import accounts, administer_sessions
from authsvc.flows.accounts import Changed
from authsvc.flows.import_accounts import AddressesTaken, Imported, import_accounts
from authsvc.keys.passwords import PasswordHasher
from authsvc.protocol.audit import AuditEvent
from authsvc.protocol.errors import (
    DatabaseUnavailable,
    EmailTaken,
    NotFound,
    ValidationFailed,
    WeakPassword,
)
from authsvc.protocol.roles import MAX_ROLES
from authsvc.store.database import Database
from authsvc.store.tables import AuditRecord, RefreshFamily, User
from authsvc.store.users import NewUser
from authsvc_client.tokens.secret import Secret
from tests.conftest import START, database_at
from tests.support.accounts import live_sessions, log_in_as_read
from tests.support.databases import until_a_lock_is_waited_for

PASSWORD = Secret("correct horse battery staple")
HASH = "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHRzYWx0$AAAAAAAAAAAAAAAAAAAAAA"


@pytest.fixture
async def alice(db: Database, hasher: PasswordHasher) -> User:
    return await create(db, hasher, "alice@example.com")


async def create(db: Database, hasher: PasswordHasher, email: str, *roles: str) -> User:
    return await accounts.create_account(
        db, hasher, email=email, password=PASSWORD, blocked=(), roles=roles
    )


async def trail(db: Database, user_id: UUID) -> list[AuditRecord]:
    """The audit records of a user, logins left out."""
    async with db.transaction() as session:
        statement = (
            select(AuditRecord)
            .where(AuditRecord.user_id == user_id, AuditRecord.event != AuditEvent.LOGIN_SUCCEEDED)
            .order_by(col(AuditRecord.at), col(AuditRecord.event))
        )
        return list((await session.exec(statement)).all())


async def events(db: Database, user_id: UUID) -> list[str]:
    return [record.event for record in await trail(db, user_id)]


async def test_created_account_has_its_normal_address_and_sorted_roles(
    db: Database, hasher: PasswordHasher
) -> None:
    user = await create(db, hasher, "Bob@Example.COM", "staff", "admin", "staff")

    found = await accounts.find_account(db, "bob@EXAMPLE.com")

    assert ("bob@example.com", ["admin", "staff"]) == (found.email, found.roles)
    assert user.id == found.id
    assert await hasher.verify(found.password_hash, PASSWORD)
    assert ["user_created"] == await events(db, user.id)


@pytest.mark.requirement("P3", "P5")
async def test_a_password_that_users_may_not_choose_no_administrator_may_either(
    db: Database, hasher: PasswordHasher, alice: User
) -> None:
    for weak, refusal in (("short", ValidationFailed), ("password1", WeakPassword)):
        with pytest.raises(refusal):
            await accounts.create_account(
                db, hasher, email="b@example.com", password=Secret(weak), blocked={"password1"}
            )
        with pytest.raises(refusal):
            await accounts.set_account_password(
                db, hasher, alice, password=Secret(weak), blocked={"password1"}
            )

    assert [alice.email] == [u.email for u in await accounts.list_accounts(db, limit=10)]


async def test_an_address_has_one_account(
    db: Database, hasher: PasswordHasher, alice: User
) -> None:
    with pytest.raises(EmailTaken):
        await create(db, hasher, alice.email.upper())


@pytest.mark.parametrize(
    "roles",
    [["a b"], [""], ["x" * 65], ["ä"], ["a\n"], [f"r{n}" for n in range(MAX_ROLES + 1)]],
    ids=["space", "empty", "long", "not-ascii", "newline", "too-many"],
)
async def test_roles_are_names_that_fit_a_token_and_a_header(
    db: Database, hasher: PasswordHasher, alice: User, roles: list[str]
) -> None:
    with pytest.raises(ValidationFailed):
        await create(db, hasher, "b@example.com", *roles)
    with pytest.raises(ValidationFailed):
        await accounts.set_account_roles(db, alice.id, roles)

    assert [] == (await accounts.find_account(db, str(alice.id))).roles


async def test_changed_roles_are_audited_with_what_they_were(db: Database, alice: User) -> None:
    await accounts.set_account_roles(db, alice.id, ["b", "a", "b"])
    again = await accounts.set_account_roles(db, alice.id, ["a", "b"])
    await accounts.set_account_roles(db, alice.id, [])

    changes = (await trail(db, alice.id))[1:]
    assert Changed(changed=False) == again
    assert [
        {"before": [], "after": ["a", "b"]},
        {"before": ["a", "b"], "after": []},
    ] == [record.details for record in changes]


@pytest.mark.requirement("D5")
async def test_disabling_ends_every_session_of_this_user_and_no_other(
    db: Database, hasher: PasswordHasher, alice: User
) -> None:
    bob = await create(db, hasher, "bob@example.com")
    await log_in_as_read(db, alice)
    await log_in_as_read(db, alice)
    kept = await log_in_as_read(db, bob)

    done = await accounts.disable_account(db, alice.id)

    assert Changed(changed=True, ended=2) == done
    assert {kept} == await live_sessions(db)
    assert await log_in_as_read(db, alice) is None
    assert ["session_revoked", "session_revoked", "user_disabled"] == sorted(
        (await events(db, alice.id))[1:]
    )


async def test_disabling_twice_changes_and_records_nothing_more(db: Database, alice: User) -> None:
    await accounts.disable_account(db, alice.id)
    before = (await accounts.find_account(db, alice.email)).disabled_at

    again = await accounts.disable_account(db, alice.id)

    assert Changed(changed=False) == again
    assert before == (await accounts.find_account(db, alice.email)).disabled_at
    assert ["user_created", "user_disabled"] == await events(db, alice.id)


async def test_enabling_lets_in_again_but_revives_no_session(db: Database, alice: User) -> None:
    await log_in_as_read(db, alice)
    await accounts.disable_account(db, alice.id)

    enabled = await accounts.enable_account(db, alice.id)

    assert Changed(changed=True) == enabled
    assert set() == await live_sessions(db)
    assert await log_in_as_read(db, alice) is not None
    assert Changed(changed=False) == await accounts.enable_account(db, alice.id)


@pytest.mark.requirement("D5", "T15")
async def test_deleting_takes_the_sessions_and_leaves_the_trail(
    db: Database, hasher: PasswordHasher, alice: User
) -> None:
    await log_in_as_read(db, alice)

    deleted = await accounts.delete_account(db, alice.id)

    assert Changed(changed=True, ended=1) == deleted
    with pytest.raises(NotFound):
        await accounts.find_account(db, alice.email)
    assert {"user_created", "session_revoked", "user_deleted"} == set(await events(db, alice.id))
    recreated = await create(db, hasher, alice.email)
    assert recreated.id != alice.id


@pytest.mark.requirement("D5")
async def test_another_password_ends_every_session(
    db: Database, hasher: PasswordHasher, alice: User
) -> None:
    await log_in_as_read(db, alice)

    done = await accounts.set_account_password(
        db, hasher, alice, password=Secret("another horse entirely"), blocked=()
    )

    found = await accounts.find_account(db, alice.email)
    assert Changed(changed=True, ended=1) == done
    assert await hasher.verify(found.password_hash, "another horse entirely")
    assert found.password_changed_at > alice.password_changed_at
    assert {"user_created", "session_revoked", "password_changed"} == set(
        await events(db, alice.id)
    )


@pytest.mark.parametrize(
    "act",
    [
        accounts.disable_account,
        accounts.enable_account,
        accounts.delete_account,
        administer_sessions.revoke_user_sessions,
        administer_sessions.revoke_session,
        lambda db, user_id: accounts.set_account_roles(db, user_id, ["a"]),
    ],
    ids=["disable", "enable", "delete", "revoke-user", "revoke-session", "set-roles"],
)
async def test_what_does_not_exist_is_not_found_and_not_audited(
    db: Database, act: Callable[[Database, UUID], Awaitable[object]]
) -> None:
    nobody = uuid4()

    with pytest.raises(NotFound):
        await act(db, nobody)

    assert [] == await events(db, nobody)


@pytest.mark.requirement("R4")
@pytest.mark.parametrize(
    "act",
    [
        accounts.disable_account,
        accounts.delete_account,
        lambda db, user_id: accounts._store_password(db, user_id, "new", None),
    ],
    ids=["disable", "delete", "set-password"],
)
async def test_no_login_in_flight_survives(
    db: Database, hasher: PasswordHasher, act: Callable[[Database, UUID], Awaitable[object]]
) -> None:
    async def log_in(user: User) -> None:
        with suppress(DatabaseUnavailable):  # on a busy machine the lock may take too long
            await log_in_as_read(db, user)

    async def end(user: User) -> None:
        try:
            await act(db, user.id)
        except DatabaseUnavailable:  # as above; nothing has changed
            await end(user)

    for number in range(20):
        user = await create(db, hasher, f"u{number}@example.com")

        await asyncio.gather(log_in(user), end(user), log_in(user))

    assert set() == await live_sessions(db)


async def test_a_cancelled_caller_does_not_stop_a_disabling_halfway(
    db: Database, alice: User
) -> None:
    await log_in_as_read(db, alice)
    async with db.transaction() as session:
        await session.get(User, alice.id, with_for_update=True)
        disabling = asyncio.ensure_future(accounts.disable_account(db, alice.id))
        await until_a_lock_is_waited_for(db)
        disabling.cancel()

    with pytest.raises(asyncio.CancelledError):
        await disabling

    assert set() == await live_sessions(db)
    assert (await accounts.find_account(db, alice.email)).disabled_at is not None


async def test_sessions_are_listed_newest_first_in_pages_that_miss_none(
    db: Database, hasher: PasswordHasher, alice: User
) -> None:
    bob = await create(db, hasher, "bob@example.com")
    began = [await log_in_as_read(db, user) for user in (alice, bob, alice, bob, alice)]

    pages, after = list[UUID](), None
    while page := await administer_sessions.list_all_sessions(db, limit=2, after=after):
        pages += [family.id for family, _ in page]
        after = pages[-1]
    of_bob = await administer_sessions.list_all_sessions(db, limit=10, user_id=bob.id)

    assert began[::-1] == pages
    assert [("bob@example.com", began[3]), ("bob@example.com", began[1])] == [
        (email, family.id) for family, email in of_bob
    ]


async def test_dead_sessions_are_not_listed(db: Database, alice: User) -> None:
    ended, _ = await log_in_as_read(db, alice), await log_in_as_read(db, alice)
    assert ended is not None
    await administer_sessions.revoke_session(db, ended)

    with database_at(START + timedelta(days=3650)):
        later = await administer_sessions.list_all_sessions(db, limit=10)

    assert ended not in await live_sessions(db)
    assert 1 == len(await live_sessions(db))
    assert [] == later


async def test_one_session_ends_once_with_the_given_reason(db: Database, alice: User) -> None:
    ended, kept = await log_in_as_read(db, alice), await log_in_as_read(db, alice)
    assert ended is not None

    first = await administer_sessions.revoke_session(db, ended, reason="lost laptop")
    second = await administer_sessions.revoke_session(db, ended, reason="again")

    assert (True, False) == (first, second)
    assert {kept} == await live_sessions(db)
    async with db.transaction() as session:
        family = await session.get(RefreshFamily, ended)
    assert family is not None
    assert "lost laptop" == family.revoke_reason
    (record,) = [r for r in await trail(db, alice.id) if r.event == "session_revoked"]
    assert "lost laptop" == record.details["reason"]
    assert record.ip is None


async def test_everybodys_sessions_end_in_batches_each_audited(
    db: Database, hasher: PasswordHasher, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(administer_sessions, "BATCH", 2)
    bob = await create(db, hasher, "bob@example.com")
    for user in (alice, bob, alice, bob, alice):
        await log_in_as_read(db, user)
    seen = list[int]()

    ended = await administer_sessions.revoke_everybody(
        db, reason="restored", on_progress=seen.append
    )

    assert 5 == ended
    assert [2, 4, 5] == seen
    assert set() == await live_sessions(db)
    assert 3 == (await events(db, alice.id)).count("session_revoked")
    assert 0 == await administer_sessions.revoke_everybody(db, reason="restored")


@pytest.mark.parametrize("reason", ["", " ", "two\nlines", "x" * 201])
async def test_a_reason_is_one_short_line(db: Database, alice: User, reason: str) -> None:
    await log_in_as_read(db, alice)

    with pytest.raises(ValidationFailed):
        await administer_sessions.revoke_everybody(db, reason=reason)

    assert 1 == len(await live_sessions(db))


async def test_imported_accounts_keep_hash_roles_age_and_state(db: Database) -> None:
    born = START - timedelta(days=900)

    done = await import_accounts(
        db,
        [
            NewUser("a@example.com", HASH, ("z", "b"), created_at=born, disabled=True),
            NewUser("b@example.com", HASH),
        ],
        skip_existing=False,
    )

    first = await accounts.find_account(db, "a@example.com")
    second = await accounts.find_account(db, "b@example.com")
    assert Imported(created=2) == done
    assert (HASH, ["b", "z"], born) == (first.password_hash, first.roles, first.created_at)
    assert (True, False) == (first.disabled_at is not None, second.disabled_at is not None)
    (record,) = await trail(db, second.id)
    assert ("user_created", {"imported": True}) == (record.event, record.details)


async def test_an_import_that_meets_an_account_imports_nothing(
    db: Database, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("authsvc.flows.import_accounts.BATCH", 2)
    rows = [NewUser(f"u{n}@example.com", HASH) for n in range(5)]

    with pytest.raises(AddressesTaken) as refused:
        await import_accounts(db, [*rows, NewUser(alice.email, HASH)], skip_existing=False)

    assert (alice.email,) == refused.value.emails
    assert [alice.email] == [u.email for u in await accounts.list_accounts(db, limit=10)]


async def test_an_import_may_leave_existing_accounts_as_they_are(
    db: Database, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("authsvc.flows.import_accounts.BATCH", 2)
    rows = [NewUser(alice.email, HASH, ("admin",)), *(NewUser(f"{n}@x.org", HASH) for n in "abc")]
    seen = list[int]()

    done = await import_accounts(db, rows, skip_existing=True, on_progress=seen.append)

    assert Imported(created=3, skipped=(alice.email,)) == done
    assert [2, 4] == seen
    assert alice.password_hash == (await accounts.find_account(db, alice.email)).password_hash
    assert ["user_created"] == await events(db, alice.id)
