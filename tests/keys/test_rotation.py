"""Creating keys: early enough, whole or not at all, never twice by accident (CONTRACT §4)."""

from __future__ import annotations

import errno
import os
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from authsvc.keys import key_writer, pem, rotation
from authsvc.keys.key_files import KeyDirectoryError, KeyKind
from authsvc.keys.keyring import MIN_LEAD
from authsvc.keys.reading import Reading, read
from tests.support.key_material import T0, as_nobody, kid, put, put_signing, rsa_key

HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)


def look(path: Path, passphrase: str | None = None) -> Reading:
    return read(path, now=T0, passphrase=passphrase, strict_modes=True)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def names(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.iterdir())


@pytest.mark.requirement("S2")
def test_the_first_keys_are_private_and_active_at_once(tmp_path: Path) -> None:
    path = tmp_path / "new" / "keys"

    signing, mac = rotation.create_first_keys(path, T0 + SECOND / 2)

    assert ["20261122T100000Z.pem", "refresh-20261122T100000Z.key"] == names(path)
    assert (signing.file, mac.file) == tuple(names(path))
    assert [0o700, 0o600, 0o600] == [mode(path), *(mode(entry) for entry in path.iterdir())]
    assert 32 == (path / mac.file).stat().st_size
    assert T0 == signing.activation == mac.activation
    assert 2048 == look(path).signing_keys[signing.file].public_key.key_size
    assert () == look(path).problems


def test_first_keys_are_not_made_twice(directory: Path) -> None:
    before = names(directory)

    assert () == rotation.create_first_keys(directory, T0)
    assert before == names(directory)


@pytest.mark.finding("11.9")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give links away")
@pytest.mark.parametrize("way", ["keys", "keys/absent"])
def test_root_makes_no_key_where_a_lesser_account_leads_it(tmp_path: Path, way: str) -> None:
    target = tmp_path / "of root"
    target.mkdir(mode=0o755)
    (tmp_path / "keys").symlink_to(target)
    os.chown(tmp_path / "keys", 12_345, -1, follow_symlinks=False)

    with pytest.raises(KeyDirectoryError, match="link that user id 12345 made"):
        rotation.create_first_keys(tmp_path / way, T0)
    with pytest.raises(KeyDirectoryError, match="link that user id 12345 made"):
        rotation.add_now(tmp_path / way, KeyKind.MAC, now=T0)

    assert [] == list(target.iterdir())
    assert 0o755 == target.stat().st_mode & 0o777


def test_only_what_is_missing_of_the_first_keys_is_made(tmp_path: Path) -> None:
    put_signing(tmp_path, T0)

    (mac,) = rotation.create_first_keys(tmp_path, T0)

    assert KeyKind.MAC is mac.kind


def test_a_broken_key_is_no_missing_key(tmp_path: Path) -> None:
    """A wrong passphrase must not lead to a second, secret rotation."""
    put(tmp_path, "20261122T100000Z.pem", b"broken")

    assert [KeyKind.MAC] == [made.kind for made in rotation.create_first_keys(tmp_path, T0)]


def test_two_that_start_at_once_make_one_pair(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    barrier = threading.Barrier(4)
    made: list[rotation.Added] = []

    def start(offset: int) -> None:
        barrier.wait()
        made.extend(rotation.create_first_keys(path, T0 + offset * SECOND))

    threads = [threading.Thread(target=start, args=(offset,)) for offset in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert 2 == len(made) == len(names(path))


@pytest.mark.requirement("K2")
@pytest.mark.parametrize("kind", KeyKind)
def test_the_next_key_waits_an_hour(directory: Path, kind: KeyKind) -> None:
    added = rotation.add(directory, kind, now=T0 + SECOND / 3)

    assert T0 + HOUR == added.activation
    assert (directory / added.file).exists()


@pytest.mark.requirement("K2")
@pytest.mark.parametrize("kind", KeyKind)
def test_less_than_sixteen_minutes_are_refused(directory: Path, kind: KeyKind) -> None:
    """max-age 300 s + stale-while-revalidate 600 s + the reload interval."""
    before = names(directory)
    assert timedelta(minutes=16) == MIN_LEAD

    for lead in (MIN_LEAD - SECOND, timedelta(0), -HOUR):
        with pytest.raises(KeyDirectoryError, match="--now"):
            rotation.add(directory, kind, now=T0, activation=T0 + lead)

    assert before == names(directory)
    assert rotation.add(directory, kind, now=T0, activation=T0 + MIN_LEAD).file


@pytest.mark.parametrize("kind", KeyKind)
def test_a_key_for_an_emergency_works_at_once(directory: Path, kind: KeyKind) -> None:
    assert T0 == rotation.add_now(directory, kind, now=T0).activation


def test_two_keys_of_one_second_get_two_seconds(directory: Path) -> None:
    activations = [
        rotation.add(directory, KeyKind.MAC, now=T0, activation=T0 + HOUR).activation
        for _ in range(3)
    ]

    assert [T0 + HOUR, T0 + HOUR + SECOND, T0 + HOUR + 2 * SECOND] == activations


@pytest.mark.requirement("S2")
def test_a_passphrase_encrypts_what_is_written(tmp_path: Path) -> None:
    rotation.create_first_keys(tmp_path, T0, passphrase="correct horse")
    (name,) = (name for name in names(tmp_path) if name.endswith(".pem"))

    assert b"ENCRYPTED" in (tmp_path / name).read_bytes()
    assert look(tmp_path, "correct horse").signing_keys
    assert not look(tmp_path).signing_keys


def test_bits_can_be_chosen(directory: Path) -> None:
    added = rotation.add(directory, KeyKind.SIGNING, now=T0, bits=3072)

    assert 3072 == look(directory).signing_keys[added.file].public_key.key_size


def test_a_key_made_elsewhere_is_taken_over(directory: Path) -> None:
    content = pem.private_pem(rsa_key(1), passphrase="theirs")

    added = rotation.import_key(
        directory,
        content,
        now=T0,
        activation=T0 + HOUR,
        source_passphrase="theirs",
        passphrase="ours",
    )

    assert kid(1) == added.key_id == look(directory, "ours").signing_keys[added.file].kid
    assert 0o600 == mode(directory / added.file)


def test_an_import_says_why_it_is_refused(directory: Path) -> None:
    public = pem.public_pem(rsa_key(1).public_key())
    encrypted = pem.private_pem(rsa_key(1), passphrase="theirs")
    weak = pem.private_pem(rsa_key(bits=1024))
    present = pem.private_pem(rsa_key(0))
    cases = [
        (public, HOUR, "only a public key"),
        (encrypted, HOUR, "encrypted"),
        (weak, HOUR, "1024 bits"),
        (b"x", HOUR, "not a readable PEM"),
        (present, HOUR, "exists already, as 20261121T100000Z.pem"),
        (pem.private_pem(rsa_key(1)), SECOND, "16 minutes"),
    ]
    before = names(directory)

    for content, lead, cause in cases:
        with pytest.raises(KeyDirectoryError, match=cause):
            rotation.import_key(directory, content, now=T0, activation=T0 + lead)

    assert before == names(directory)
    assert rotation.import_key(directory, pem.private_pem(rsa_key(1)), now=T0, activation=T0).file


def test_a_directory_that_cannot_be_written_is_named(directory: Path) -> None:
    with as_nobody(directory) as path:
        path.chmod(0o500)
        with pytest.raises(KeyDirectoryError, match="cannot be written"):
            rotation.add_now(path, KeyKind.MAC, now=T0)
        path.chmod(0o700)


@pytest.mark.requirement("S2")
def test_a_directory_of_keys_is_closed_to_others(directory: Path) -> None:
    """As git checks it out it is open, and has a README."""
    directory.chmod(0o755)
    put(directory, "README.md", b"# keys")

    rotation.add(directory, KeyKind.MAC, now=T0)

    assert 0o700 == mode(directory)


def test_a_shared_directory_is_not_closed(tmp_path: Path) -> None:
    """KEYS_DIR=/tmp is a mistake that must not lock everybody out of /tmp."""
    tmp_path.chmod(0o777)
    put(tmp_path, "somebody-elses.txt", b"")

    rotation.add_now(tmp_path, KeyKind.MAC, now=T0)

    assert 0o777 == mode(tmp_path)


def test_a_file_appears_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)

    with pytest.raises(KeyDirectoryError, match="No space left"):
        rotation.add_now(tmp_path, KeyKind.MAC, now=T0)

    assert [] == names(tmp_path)


def test_an_existing_file_is_never_overwritten(tmp_path: Path) -> None:
    with key_writer.writing(tmp_path):
        assert key_writer.create(tmp_path / "a", b"first")
        assert not key_writer.create(tmp_path / "a", b"second")

    assert b"first" == (tmp_path / "a").read_bytes()
    assert ["a"] == names(tmp_path)


def test_a_file_system_without_links_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", unsupported)

    with key_writer.writing(tmp_path):
        assert key_writer.create(tmp_path / "a", b"first")
        assert not key_writer.create(tmp_path / "a", b"second")

    assert b"first" == (tmp_path / "a").read_bytes()
    assert ["a"] == names(tmp_path)
