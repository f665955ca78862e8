"""The last good key set on a disk: good for a start without authsvc, and hard to plant."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from authsvc_client.tokens.jwk import rsa_jwk
from authsvc_client.verifier import KeysUnavailable, TokenVerifier
from tests.support.key_material import kid, rsa_key
from tests.support.key_server import KeyServer, MovableClock, settle
from tests.verifier.conftest import NewToken, NewVerifier


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "state" / "keys.json"


@pytest.fixture
def written(file: Path, new_verifier: NewVerifier) -> Path:
    """A file that an earlier run has left."""
    new_verifier(key_file=file).prefetch_sync()
    return file


def change(file: Path, **changes: Any) -> None:
    members = json.loads(file.read_text()) | changes
    file.write_text(json.dumps({k: v for k, v in members.items() if v is not None}))


@pytest.mark.requirement("K4")
async def test_a_service_starts_while_authsvc_is_away(
    written: Path,
    new_verifier: NewVerifier,
    server: KeyServer,
    clock: MovableClock,
    token: NewToken,
) -> None:
    server.gate.clear()
    clock.advance(3600)

    verifier = new_verifier(key_file=written)

    assert await verifier.verify(token())
    assert (kid(),) == verifier.key_status().kids


async def test_a_young_file_is_as_good_as_a_fetch(
    written: Path, new_verifier: NewVerifier, server: KeyServer, token: NewToken
) -> None:
    assert await new_verifier(key_file=written).verify(token())

    assert 1 == server.fetches()


async def test_an_old_file_is_renewed_and_written_again(
    written: Path,
    new_verifier: NewVerifier,
    server: KeyServer,
    clock: MovableClock,
    token: NewToken,
) -> None:
    server.publish(0, 1)
    clock.advance(301)
    verifier = new_verifier(key_file=written)

    await verifier.verify(token())
    settle(verifier)

    assert "if-none-match" in server.requests[-1][1]
    members = json.loads(written.read_text())
    assert int(clock.now().timestamp()) == members["fetched_at"]
    assert kid(1) in members["jwks"]


@pytest.mark.requirement("K4")
def test_a_file_of_another_day_is_not_used(
    written: Path, new_verifier: NewVerifier, clock: MovableClock
) -> None:
    clock.advance(86_400 + 301)

    assert () == new_verifier(key_file=written).key_status().kids


def test_a_file_from_the_future_is_not_used(
    written: Path, new_verifier: NewVerifier, clock: MovableClock
) -> None:
    clock.advance(-61)

    assert () == new_verifier(key_file=written).key_status().kids


ATTACKER = json.dumps({"keys": [rsa_jwk(rsa_key(1).public_key()) | {"kid": kid(0)}]})


@pytest.mark.requirement("T4")
@pytest.mark.parametrize(
    "changes",
    [
        {"jwks": '{"keys":[]}'},
        {"jwks": "<html>"},
        {"jwks": ATTACKER},
        {"jwks": 7},
        {"jwks": None},
        {"issuer": "https://attacker.test"},
        {"format": 2},
        {"fetched_at": "today"},
        {"fetched_at": True},
        {"fetched_at": 10**30},
        {"usable": -1},
        {"fresh": None},
        {"etag": 7},
    ],
    ids=range(13),
)
def test_a_damaged_file_is_as_good_as_none(
    changes: dict[str, Any],
    written: Path,
    new_verifier: NewVerifier,
    token: NewToken,
    caplog: pytest.LogCaptureFixture,
) -> None:
    change(written, **changes)

    verifier = new_verifier(key_file=written)

    assert () == verifier.key_status().kids
    assert f"the key file {written} is not used" in caplog.text
    assert verifier.verify_sync(token())
    assert (kid(),) == new_verifier(key_file=written).key_status().kids


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"\xff", b" " * 600_000, b'{"a":' * 5000], ids=len
)
def test_garbage_in_the_file_is_as_good_as_none(
    content: bytes, written: Path, new_verifier: NewVerifier
) -> None:
    written.write_bytes(content)

    assert () == new_verifier(key_file=written).key_status().kids


def test_a_file_that_others_can_write_is_not_believed(
    written: Path, new_verifier: NewVerifier
) -> None:
    for mode in (0o620, 0o602):
        written.chmod(mode)
        assert () == new_verifier(key_file=written).key_status().kids
    written.chmod(0o644)
    assert new_verifier(key_file=written).key_status().usable


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_file_of_another_user_is_not_believed(written: Path, new_verifier: NewVerifier) -> None:
    os.chown(written, 65_534, -1)

    assert () == new_verifier(key_file=written).key_status().kids


def test_links_and_pipes_are_not_read(
    written: Path, tmp_path: Path, new_verifier: NewVerifier
) -> None:
    link, pipe = tmp_path / "link", tmp_path / "pipe"
    link.symlink_to(written)
    os.mkfifo(pipe)

    for path in (link, pipe, tmp_path):
        assert () == new_verifier(key_file=path).key_status().kids


def test_the_file_is_private_whole_and_alone(written: Path) -> None:
    assert 0o600 == written.stat().st_mode & 0o777
    assert 0o700 == written.parent.stat().st_mode & 0o777
    assert [written] == list(written.parent.iterdir())


def test_a_disk_that_cannot_be_written_stops_nothing(
    tmp_path: Path, new_verifier: NewVerifier, token: NewToken, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "plain").write_text("")

    verifier = new_verifier(key_file=tmp_path / "plain" / "keys.json")

    assert verifier.verify_sync(token())
    assert "cannot be written" in caplog.text


def test_what_must_not_be_stored_is_not(
    file: Path, new_verifier: NewVerifier, server: KeyServer
) -> None:
    server.headers["Cache-Control"] = "no-store, max-age=300"
    verifier: TokenVerifier = new_verifier(key_file=file)

    verifier.prefetch_sync()

    assert not file.exists()


def test_a_broken_key_set_does_not_replace_the_file(
    written: Path,
    new_verifier: NewVerifier,
    server: KeyServer,
    clock: MovableClock,
    token: NewToken,
) -> None:
    before = written.read_bytes()
    server.document = b'{"keys":[]}'
    clock.advance(301)
    verifier = new_verifier(key_file=written)

    verifier.verify_sync(token())
    settle(verifier)

    assert before == written.read_bytes()


def test_a_start_without_file_and_authsvc_says_so(
    file: Path, new_verifier: NewVerifier, server: KeyServer
) -> None:
    server.status = 500

    with pytest.raises(KeysUnavailable):
        new_verifier(key_file=file).prefetch_sync()
