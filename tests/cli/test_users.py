from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from uuid import uuid4

import argon2
import pytest
from sqlmodel import select

from authsvc.keys.passwords import PasswordHasher
from authsvc.store import users
from authsvc.store.database import Database
from authsvc.store.tables import AuditRecord, User
from tests.cli.conftest import Command
from tests.support.accounts import live_sessions, log_in_as_read

PASSWORD = "correct horse battery staple"
HASH = "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHRzYWx0$AAAAAAAAAAAAAAAAAAAAAA"


@pytest.fixture
async def alice(authsvc: Command, db: Database) -> User:
    done = await authsvc(
        "users", "create", "Alice@example.com", "--password-stdin", stdin=f"{PASSWORD}\n"
    )
    assert 0 == done.code, done.err
    return await stored(db, "alice@example.com")


async def stored(db: Database, email: str) -> User:
    async with db.transaction() as session:
        user = await users.find_by_email(session, email)
    assert user is not None
    return user


async def everybody(db: Database) -> list[str]:
    async with db.transaction() as session:
        return [user.email for user in await users.list_all(session, limit=1000)]


@pytest.mark.finding("P28")
async def test_a_byte_order_mark_is_no_part_of_a_password(authsvc: Command, db: Database) -> None:
    """Windows puts one before what it pipes; the account could never log in."""
    await authsvc(
        "users", "create", "bom@example.com", "--password-stdin", stdin=f"\ufeff{PASSWORD}\n"
    )

    async with db.transaction() as session:
        user = await users.find_by_email(session, "bom@example.com")
    assert user is not None
    assert argon2.PasswordHasher().verify(user.password_hash, PASSWORD)


async def test_created_account_has_the_piped_password_and_the_roles(
    authsvc: Command, db: Database, hasher: PasswordHasher
) -> None:
    """One line end is the pipe's; everything else is the password's."""
    done = await authsvc(
        "users",
        "create",
        "Bob@Example.com",
        "--role",
        "staff",
        "--role",
        "admin",
        "--password-stdin",
        stdin="  spaces are mine \r\n",
    )

    user = await stored(db, "bob@example.com")
    assert (0, "") == (done.code, done.err)
    assert f"Created bob@example.com ({user.id}) with the roles admin staff.\n" == done.out
    assert await hasher.verify(user.password_hash, "  spaces are mine ")


async def test_created_account_as_json_has_its_id(authsvc: Command, db: Database) -> None:
    done = await authsvc(
        "users", "create", "a@example.com", "--password-stdin", "--json", stdin=PASSWORD
    )

    assert str((await stored(db, "a@example.com")).id) == done.json["id"]


@pytest.mark.requirement("P3", "P5", "B1")
@pytest.mark.parametrize(
    ("email", "password", "says"),
    [
        ("b@example.com", "short", "password: Use at least 8 characters."),
        ("b@example.com", "x" * 129, "password: Use at most 128 characters."),
        ("b@example.com", "password123", "password: It is one of the most common passwords."),
        ("b@example.com", "", "Standard input is empty"),
        ("b@example.com", "two\nlines here", "more than one line"),
        ("b@example.com", b"\xff\xfe not utf-8", "not UTF-8"),
        ("not-an-address", PASSWORD, "email: This is not an e-mail address"),
        ("alice@EXAMPLE.com", PASSWORD, "An account with this e-mail address exists already."),
    ],
    ids=["short", "long", "common", "empty", "two-lines", "bytes", "address", "taken"],
)
async def test_an_account_that_will_not_do_is_refused_in_one_line(
    authsvc: Command, db: Database, alice: User, email: str, password: str | bytes, says: str
) -> None:
    done = await authsvc("users", "create", email, "--password-stdin", stdin=password)

    assert (1, "", 1) == (done.code, done.out, len(done.err.splitlines()))
    assert says in done.err
    assert [alice.email] == await everybody(db)


@pytest.mark.finding("P08")
async def test_special_use_domains_are_refused_where_only_public_ones_are_wanted(
    authsvc: Command, db: Database, environment: pytest.MonkeyPatch
) -> None:
    row = lines({"email": "dev@corp.local", "password_hash": HASH})
    environment.setenv("AUTHSVC_EMAIL_DOMAINS", "public")

    created = await authsvc("users", "create", "dev@corp.local", "--password-stdin", stdin=PASSWORD)
    imported = await authsvc("users", "import", "-", stdin=row)

    assert "email: Addresses of special-use domains" in created.err
    assert "email: Addresses of special-use domains" in imported.err
    assert [] == await everybody(db)


async def test_a_role_is_refused_before_a_password_is_asked_for(authsvc: Command) -> None:
    done = await authsvc("users", "create", "b@example.com", "--role", "a b")

    assert (1, "roles: A role has 1 to 64 characters of A-Z a-z 0-9 _ . : and -.\n") == (
        done.code,
        done.err,
    )


async def test_without_a_terminal_the_way_to_pipe_a_password_is_named(authsvc: Command) -> None:
    done = await authsvc("users", "create", "b@example.com", stdin=PASSWORD)

    assert 1 == done.code
    assert "--password-stdin" in done.err


@pytest.mark.parametrize("act", ["show", "disable", "enable", "delete", "set-roles"])
async def test_an_account_is_named_by_id_or_by_any_spelling_of_its_address(
    authsvc: Command, alice: User, act: str
) -> None:
    last = ["--yes"] if act == "delete" else []
    by_id = await authsvc("users", act, str(alice.id), *([] if act == "delete" else last))
    by_address = await authsvc("users", act, "ALICE@example.COM", *last)

    assert 0 == by_address.code, by_address.err
    assert (1 if act == "delete" else 0) == by_id.code, by_id.err


@pytest.mark.parametrize("act", ["show", "disable", "enable", "delete", "set-roles"])
@pytest.mark.parametrize("user", [str(uuid4()), "nobody@example.com"], ids=["id", "email"])
async def test_nobody_is_refused_in_one_line(authsvc: Command, act: str, user: str) -> None:
    done = await authsvc("users", act, user)

    assert (1, "There is no such user; see `authsvc users list`\n") == (done.code, done.err)


@pytest.mark.requirement("D5")
async def test_disabling_says_how_many_sessions_it_ended(
    authsvc: Command, db: Database, alice: User
) -> None:
    await log_in_as_read(db, alice)
    await log_in_as_read(db, alice)

    disabled = await authsvc("users", "disable", alice.email)
    again = await authsvc("users", "disable", alice.email)
    enabled = await authsvc("users", "enable", alice.email)
    enabled_again = await authsvc("users", "enable", alice.email)

    assert "Disabled alice@example.com; 2 sessions ended.\n" == disabled.out
    assert "alice@example.com was disabled already; 0 sessions ended.\n" == again.out
    assert "Enabled alice@example.com.\n" == enabled.out
    assert "alice@example.com is not disabled.\n" == enabled_again.out
    assert set() == await live_sessions(db)


async def test_deleting_needs_a_yes(authsvc: Command, db: Database, alice: User) -> None:
    await log_in_as_read(db, alice)

    unasked = await authsvc("users", "delete", alice.email, stdin="y\n")
    kept = await everybody(db)
    done = await authsvc("users", "delete", alice.email, "--yes")

    assert 1 == unasked.code
    assert "repeat with --yes" in unasked.err
    assert [alice.email] == kept
    assert f"Deleted alice@example.com ({alice.id}); 1 session ended.\n" == done.out
    assert [] == await everybody(db)


async def test_roles_are_replaced_and_none_takes_all_away(
    authsvc: Command, db: Database, alice: User
) -> None:
    given = await authsvc("users", "set-roles", alice.email, "b", "a", "b")
    same = await authsvc("users", "set-roles", alice.email, "a", "b")
    roles = (await stored(db, alice.email)).roles
    taken = await authsvc("users", "set-roles", alice.email)

    assert given.out.startswith("alice@example.com now has the roles: a b.")
    assert "within 900 s" in given.out
    assert "alice@example.com has these roles already: a b.\n" == same.out
    assert ["a", "b"] == roles
    assert taken.out.startswith("alice@example.com now has the roles: none.")
    assert [] == (await stored(db, alice.email)).roles


@pytest.mark.requirement("D5")
async def test_another_password_replaces_the_old_one_and_ends_the_sessions(
    authsvc: Command, db: Database, alice: User, hasher: PasswordHasher
) -> None:
    await log_in_as_read(db, alice)

    done = await authsvc(
        "users", "set-password", alice.email, "--password-stdin", stdin="another horse entirely"
    )

    found = await stored(db, alice.email)
    assert "alice@example.com has a new password; 1 session ended.\n" == done.out
    assert await hasher.verify(found.password_hash, "another horse entirely")
    assert not await hasher.verify(found.password_hash, PASSWORD)


async def test_show_tells_everything_but_the_hash(
    authsvc: Command, db: Database, alice: User
) -> None:
    await log_in_as_read(db, alice)

    people = await authsvc("users", "show", alice.email)
    machines = await authsvc("users", "show", alice.email, "--json")

    for shown in (people.out, machines.out):
        assert str(alice.id) in shown
        assert "argon2id m=8 t=1 p=1" in shown
        assert alice.password_hash not in shown
    assert {
        "id",
        "email",
        "roles",
        "created_at",
        "password_changed_at",
        "disabled_at",
        "sessions",
        "password_hashing",
    } == set(machines.json)
    assert 1 == machines.json["sessions"]


async def test_list_goes_page_by_page_in_the_order_of_addresses(
    authsvc: Command, db: Database
) -> None:
    async with db.transaction() as session:
        for name in "cabd":
            await users.create(session, email=f"{name}@example.com", password_hash=HASH)

    first = await authsvc("users", "list", "--limit", "3", "--json")
    second = await authsvc("users", "list", "--after", first.json["next"], "--json")
    people = await authsvc("users", "list", "--limit", "3")

    assert ["a", "b", "c"] == [user["email"][0] for user in first.json["users"]]
    assert (["d@example.com"], None) == (
        [user["email"] for user in second.json["users"]],
        second.json["next"],
    )
    assert ["EMAIL", "a@example.com", "b@example.com", "c@example.com"] == [
        line.split()[0] for line in people.out.splitlines()
    ]
    assert "There are more: authsvc users list --after c@example.com\n" == people.err


async def test_no_accounts_are_said_in_words(authsvc: Command) -> None:
    assert "No accounts.\n" == (await authsvc("users", "list")).out
    assert {"users": [], "next": None} == (await authsvc("users", "list", "--json")).json


def lines(*rows: Mapping[str, object]) -> str:
    return "\n".join(json.dumps(row) for row in rows) + "\n"


async def test_import_takes_over_hash_roles_age_and_state(
    authsvc: Command, db: Database, tmp_path: Path
) -> None:
    file = tmp_path / "users.jsonl"
    file.write_text(
        "\ufeff"
        + lines(
            {"email": "A@example.com", "password_hash": HASH},
            {
                "email": "b@example.com",
                "password_hash": HASH,
                "roles": ["admin"],
                "created_at": "2020-02-29T12:00:00+02:00",
                "disabled": True,
            },
        )
        + "\n\n"
    )

    done = await authsvc("users", "import", str(file))

    shown = await authsvc("users", "show", "b@example.com", "--json")
    assert (0, "Imported 2 accounts.\n", "") == (done.code, done.out, done.err)
    assert ["a@example.com", "b@example.com"] == await everybody(db)
    assert (["admin"], "2020-02-29T10:00:00Z") == (shown.json["roles"], shown.json["created_at"])
    assert shown.json["disabled_at"] is not None


async def test_import_reads_a_pipe(authsvc: Command, db: Database) -> None:
    row = {"email": "a@example.com", "password_hash": HASH}

    done = await authsvc("users", "import", "-", stdin=lines(row))

    assert 0 == done.code, done.err
    assert ["a@example.com"] == await everybody(db)


BAD_ROWS: dict[str, tuple[object, str]] = {
    "no-email": ({"password_hash": HASH}, "email: is missing"),
    "address": ({"email": "x", "password_hash": HASH}, "email: This is not an e-mail address"),
    "no-hash": ({"email": "a@example.com"}, "password_hash: is missing"),
    "bcrypt": (
        {"email": "a@example.com", "password_hash": "$2b$12$abcdefghijklmnopqrstuv"},
        "password_hash: is a bcrypt hash, and authsvc verifies argon2 only",
    ),
    "plaintext": ({"email": "a@example.com", "password_hash": "hunter22"}, "PHC form"),
    "damaged": (
        {"email": "a@example.com", "password_hash": "$argon2id$v=19$m=8,t=1,p=1$c2FsdA$AAAA"},
        "cut off",
    ),
    "huge": (
        {"email": "a@example.com", "password_hash": HASH.replace("m=8", "m=1048576")},
        "needs 1024 MiB",
    ),
    "passes": (
        {"email": "a@example.com", "password_hash": HASH.replace("t=1", "t=4000000000")},
        "more than 20 times the work",
    ),
    "many lanes": (
        {"email": "a@example.com", "password_hash": HASH.replace("m=8,t=1,p=1", "m=136,t=1,p=17")},
        "17 lanes (p), and 16 are the most",
    ),
    "lanes": (
        {"email": "a@example.com", "password_hash": HASH.replace("p=1", "p=2")},
        "less memory than its lanes need",
    ),
    "many roles": (
        {"email": "a@example.com", "password_hash": HASH, "roles": [f"{n:064}" for n in range(17)]},
        "roles: Use at most 1024 characters for all roles together",
    ),
    "role": ({"email": "a@example.com", "password_hash": HASH, "roles": ["a b"]}, "roles: A role"),
    "roles": ({"email": "a@example.com", "password_hash": HASH, "roles": "admin"}, "roles: is no"),
    "future": (
        {"email": "a@example.com", "password_hash": HASH, "created_at": "2999-01-01T00:00:00Z"},
        "future",
    ),
    "naive": (
        {"email": "a@example.com", "password_hash": HASH, "created_at": "2020-01-01T00:00:00"},
        "time zone",
    ),
    "number": ({"email": "a@example.com", "password_hash": HASH, "created_at": 1}, "time zone"),
    "disabled": (
        {"email": "a@example.com", "password_hash": HASH, "disabled": "no"},
        "neither true nor false",
    ),
    "unknown": ({"email": "a@example.com", "password_hash": HASH, "name": "A"}, "'name'"),
    "twice": ({"email": "FIRST@example.com", "password_hash": HASH}, "the same as in line 1"),
    "list": ([1], "is not a JSON object"),
}


@pytest.mark.parametrize("case", BAD_ROWS)
async def test_one_bad_line_stops_an_import_and_is_named(
    authsvc: Command, db: Database, tmp_path: Path, case: str
) -> None:
    row, says = BAD_ROWS[case]
    file = tmp_path / "users.jsonl"
    good = json.dumps({"email": "first@example.com", "password_hash": HASH})
    file.write_text(f"{good}\n\n{json.dumps(row)}\n")

    done = await authsvc("users", "import", str(file))

    assert (1, "") == (done.code, done.out)
    assert f"{file}:3: " in done.err
    assert says in done.err
    assert HASH not in done.err
    assert [] == await everybody(db)


@pytest.mark.parametrize(
    "line", [b"{", b'{"email": "a@b.c", "email": "d@e.f"}', b'{"email": "\xff"}', b"[" * 10_000]
)
async def test_a_line_that_is_no_strict_json_is_named(
    authsvc: Command, tmp_path: Path, line: bytes
) -> None:
    file = tmp_path / "users.jsonl"
    file.write_bytes(line)

    done = await authsvc("users", "import", str(file))

    assert 1 == done.code
    assert f"{file}:1: is not " in done.err
    assert "Traceback" not in done.err


async def test_a_file_in_a_wrong_form_is_not_listed_line_by_line_for_ever(
    authsvc: Command, tmp_path: Path
) -> None:
    file = tmp_path / "users.csv"
    file.write_text("a,b,c\n" * 1000)

    done = await authsvc("users", "import", str(file))

    assert "and 980 lines more\n1000 bad lines: nothing was imported\n" in done.err
    assert 22 == len(done.err.splitlines())


async def test_import_stops_at_accounts_that_exist_unless_told_to_skip_them(
    authsvc: Command, db: Database, alice: User, tmp_path: Path
) -> None:
    file = tmp_path / "users.jsonl"
    file.write_text(
        lines(
            {"email": "b@example.com", "password_hash": HASH},
            {"email": "Alice@example.com", "password_hash": HASH},
        )
    )

    refused = await authsvc("users", "import", str(file))
    before = await everybody(db)
    done = await authsvc("users", "import", str(file), "--skip-existing")

    assert 1 == refused.code
    assert f"{file}:2: alice@example.com has an account\n" in refused.err
    assert [alice.email] == before
    assert "Imported 1 account, 1 skipped.\n" == done.out
    assert alice.password_hash == (await stored(db, alice.email)).password_hash


async def test_a_long_import_reports_its_progress(
    authsvc: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("authsvc.cli.console.PROGRESS_INTERVAL", 0.0)
    monkeypatch.setattr("authsvc.cli.import_file.LONG", 1000)
    file = tmp_path / "users.jsonl"
    file.write_text(
        lines(*({"email": f"u{n}@example.com", "password_hash": HASH} for n in range(1100)))
    )

    done = await authsvc("users", "import", str(file))

    assert "Imported 1100 accounts.\n" == done.out
    assert [
        "Checking 1101 lines",
        *(f"{n} of 1100 accounts" for n in (500, 1000, 1100)),
    ] == done.err.splitlines()


@pytest.mark.parametrize("name", ["nowhere.jsonl", "."])
async def test_a_file_that_cannot_be_read_is_one_line(authsvc: Command, name: str) -> None:
    done = await authsvc("users", "import", name)

    assert (1, 1) == (done.code, len(done.err.splitlines()))
    assert f"{name}: cannot be read" in done.err


async def test_what_commands_do_is_audited_without_an_address(
    authsvc: Command, db: Database, alice: User
) -> None:
    await authsvc("users", "set-roles", alice.email, "admin")
    await authsvc("users", "disable", alice.email)

    async with db.transaction() as session:
        records = (
            await session.exec(select(AuditRecord).where(AuditRecord.user_id == alice.id))
        ).all()

    assert {"user_created", "roles_changed", "user_disabled"} == {r.event for r in records}
    assert {(None, None)} == {(r.ip, r.request_id) for r in records}


async def test_wrong_usage_is_exit_code_2(authsvc: Command) -> None:
    assert 2 == (await authsvc("users", "show")).code
    assert 2 == (await authsvc("users", "list", "--limit", "0")).code
    assert 2 == (await authsvc("users", "promote", "a@example.com")).code


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("postgresql://u:secret-word@127.0.0.1:1/x", "nothing listens there"),
        ("postgresql:///authsvc?host=/nowhere", "its socket does not exist"),
    ],
    ids=["tcp", "socket"],
)
async def test_a_database_that_is_down_is_one_line_without_its_password(
    run: Command, environment: pytest.MonkeyPatch, url: str, says: str
) -> None:
    environment.setenv("AUTHSVC_DATABASE_URL", url)

    done = await run("users", "list")

    assert (1, 1) == (done.code, len(done.err.splitlines()))
    assert says in done.err
    assert "AUTHSVC_DATABASE_URL" in done.err
    assert "secret-word" not in done.err


async def test_without_any_database_the_ways_to_one_are_named(run: Command) -> None:
    done = await run("users", "list")

    assert (1, 1) == (done.code, len(done.err.splitlines()))
    assert "make run" in done.err
    assert "AUTHSVC_DATABASE_URL" in done.err


async def test_a_database_without_our_schema_names_the_command_that_makes_it(
    run: Command, environment: pytest.MonkeyPatch, empty_database_url: str
) -> None:
    environment.setenv("AUTHSVC_DATABASE_URL", empty_database_url)

    done = await run("users", "list")

    assert (1, 1) == (done.code, len(done.err.splitlines()))
    assert "authsvc db upgrade" in done.err


@pytest.mark.requirement("S3")
@pytest.mark.usefixtures("authsvc")
def test_a_typed_password_is_asked_for_twice_and_not_echoed(tmp_path: Path) -> None:
    """The real program on a real terminal."""
    shown, code = type_into(
        ["users", "create", "typed@example.com"], [PASSWORD, PASSWORD], cwd=tmp_path
    )
    assert 0 == code, shown
    assert "Created typed@example.com" in shown
    assert PASSWORD not in shown

    shown, code = type_into(
        ["users", "set-password", "typed@example.com"], [PASSWORD, "other"], cwd=tmp_path
    )
    assert 1 == code
    assert "The two passwords differ; nothing was changed." in shown

    shown, code = type_into(["users", "delete", "typed@example.com"], ["n"], cwd=tmp_path)
    assert 1 == code
    assert "Nothing was changed." in shown

    # Ctrl-C at a question ends the command at once.
    shown, code = type_into(["users", "set-password", "typed@example.com"], ["\x03"], cwd=tmp_path)
    assert 130 == code
    assert "Traceback" not in shown


def type_into(arguments: list[str], answers: list[str], *, cwd: Path) -> tuple[str, int]:
    """Run on a pseudo-terminal; each question ends with a colon or a bracket and gets an answer."""
    screen, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "authsvc", *arguments],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        cwd=cwd,
        start_new_session=True,
        preexec_fn=_take_terminal,  # noqa: PLW1509 - no thread of ours holds a lock it needs
    )
    os.close(terminal)
    shown = ""
    try:
        waiting = list(answers)
        while True:
            try:
                part = os.read(screen, 4096).decode()
            except OSError:  # the other end is closed
                break
            shown += part
            if waiting and shown.endswith(": "):
                os.write(screen, waiting.pop(0).encode() + b"\n")
    finally:
        os.close(screen)
    return shown, process.wait(timeout=30)


def _take_terminal() -> None:
    """Make standard input the controlling terminal, from which Ctrl-C comes."""
    import fcntl  # noqa: PLC0415 - runs in the child
    import termios  # noqa: PLC0415

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    # Whoever runs the tests in the background has it ignored, and a child would inherit that.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
