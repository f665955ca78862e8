"""The file of a session: private, whole, and never believed blindly."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event, Thread

import pytest

from authsvc_client.session import FileStore, MemoryStore, SessionStore, StoreDamaged, StoredSession
from authsvc_client.tokens.secret import Secret

T0 = datetime(2026, 11, 22, 10, tzinfo=UTC)
SESSION = StoredSession(
    issuer="https://auth.example.com",
    access_token=Secret("an.access.token"),
    refresh_token=Secret("art1.secret"),
    received_at=T0,
    renew_at=T0 + timedelta(minutes=12),
    expires_at=T0 + timedelta(minutes=15),
    attempt_key=Secret("key"),
    answered=False,
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "home" / "session.json"


@pytest.mark.parametrize("kind", ["file", "memory"])
def test_what_is_saved_is_loaded_until_it_is_cleared(kind: str, file: Path) -> None:
    store: SessionStore = FileStore(file) if kind == "file" else MemoryStore()
    assert None is store.load()

    with store.lock():
        store.save(SESSION)
        assert SESSION == store.load()
        store.save(replace(SESSION, attempt_key=None, answered=True))
        assert replace(SESSION, attempt_key=None, answered=True) == store.load()
        store.clear()
        store.clear()

    assert None is store.load()


def test_the_file_is_private(file: Path) -> None:
    store = FileStore(file)
    with store.lock():
        store.save(SESSION)

    assert [0o600, 0o600] == [path.stat().st_mode & 0o777 for path in file.parent.iterdir()]
    assert 0o700 == file.parent.stat().st_mode & 0o777


def test_nothing_of_it_is_shown(file: Path) -> None:
    memory = MemoryStore()
    memory.save(SESSION)

    for shown in (repr(SESSION), str(SESSION), repr(memory), repr(FileStore(file))):
        assert "secret" not in shown
        assert "an.access.token" not in shown


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"format":2}',
        b"\xff",
        b"x" * 70_000,
        json.dumps({"format": 1, "access_token": "secret"}).encode(),
    ],
    ids=len,
)
def test_a_damaged_file_is_told_and_not_shown(content: bytes, file: Path) -> None:
    file.parent.mkdir()
    file.write_bytes(content)
    file.chmod(0o600)

    with pytest.raises(StoreDamaged, match=r"session\.json") as damaged:
        FileStore(file).load()

    assert "secret" not in str(damaged.value)


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("access_token", ""),
        ("refresh_token", 7),
        ("renew_at", "soon"),
        ("expires_at", 1e300),
        ("received_at", True),
        ("answered", 1),
        ("attempt_key", ""),
        ("issuer", None),
    ],
)
def test_every_member_is_checked(member: str, value: object, file: Path) -> None:
    store = FileStore(file)
    store.save(SESSION)
    file.write_text(json.dumps(json.loads(file.read_text()) | {member: value}))

    with pytest.raises(StoreDamaged):
        store.load()


def test_a_file_that_others_can_write_is_not_believed(file: Path) -> None:
    """Else somebody could log the user in as himself."""
    store = FileStore(file)
    store.save(SESSION)
    file.chmod(0o622)

    with pytest.raises(StoreDamaged, match="others than this user"):
        store.load()


def test_a_link_is_not_followed(file: Path, tmp_path: Path) -> None:
    FileStore(file).save(SESSION)
    (tmp_path / "link").symlink_to(file)
    (tmp_path / "other.lock").symlink_to(file)

    with pytest.raises(StoreDamaged):
        FileStore(tmp_path / "link").load()
    with pytest.raises(StoreDamaged), FileStore(tmp_path / "other").lock():
        pass


def test_a_directory_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("")
    store = FileStore(tmp_path / "plain" / "session.json")

    with pytest.raises(StoreDamaged, match="cannot be written"), store.lock():
        pass
    with pytest.raises(StoreDamaged, match="cannot be written"):
        store.save(SESSION)


@pytest.mark.parametrize("kind", ["file", "memory"])
def test_one_at_a_time_holds_the_lock(kind: str, file: Path) -> None:
    """Also two stores of one file in one process."""
    first: SessionStore = FileStore(file) if kind == "file" else MemoryStore()
    second: SessionStore = FileStore(file) if kind == "file" else first
    asked, entered = Event(), Event()

    def other() -> None:
        asked.set()
        with second.lock():
            entered.set()

    thread = Thread(target=other)
    with first.lock():
        thread.start()
        asked.wait()
        assert not entered.wait(0.05)
    thread.join()

    assert entered.is_set()


def test_a_lock_dies_with_its_process(file: Path) -> None:
    store = FileStore(file)
    child = os.fork()
    if child == 0:
        store.lock().__enter__()
        os._exit(0)
    os.waitpid(child, 0)

    with store.lock():
        store.save(SESSION)
    assert SESSION == store.load()


def test_a_home_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))

    assert tmp_path / "session.json" == FileStore("~/session.json").path
