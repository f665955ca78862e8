"""The key directory as a running process sees it: files come, go and break (CONTRACT §4)."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from authsvc.keys.directory import KeyDirectory
from authsvc.keys.key_files import KeyDirectoryError, KeyProblem
from authsvc.keys.refresh_tokens import NoSealingKey, UnknownMacKey, seal
from authsvc.protocol.errors import InvalidRefreshToken, NoSigningKey
from authsvc.protocol.refresh import Delivery, RefreshToken
from tests.keys.conftest import Opener
from tests.support.key_material import T0, as_nobody, kid, put, put_mac, put_signing

SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def published(keys: KeyDirectory) -> list[str]:
    return [key.kid for key in keys.ring.published(T0)]


def files(problems: tuple[KeyProblem, ...]) -> list[str]:
    return [problem.file for problem in problems]


def token_of(keys: KeyDirectory) -> RefreshToken:
    return RefreshToken(keys.refresh.sealing_key(T0).key_id, uuid4(), 0, Delivery.NATIVE)


def test_loading_finds_the_keys(open_keys: Opener) -> None:
    keys = open_keys()

    assert kid(0) == keys.ring.signing_key(T0).kid
    assert T0 - DAY == keys.refresh.sealing_key(T0).activation
    assert () == keys.reload(T0)


def test_a_reload_without_a_change_keeps_ring_and_jwks(open_keys: Opener) -> None:
    keys = open_keys()
    ring, jwks = keys.ring, keys.ring.jwks(T0)

    keys.reload(T0)

    assert ring is keys.ring
    assert jwks is keys.ring.jwks(T0)


def test_a_dropped_file_is_published_at_the_next_reading(
    open_keys: Opener, directory: Path
) -> None:
    keys = open_keys()
    put_signing(directory, T0 + HOUR, 1)

    assert () == keys.reload(T0)

    assert [kid(0), kid(1)] == published(keys)
    assert kid(1) == keys.ring.signing_key(T0 + HOUR).kid


def test_a_key_that_appears_after_its_activation_is_reported_once(
    open_keys: Opener, directory: Path
) -> None:
    keys = open_keys()
    name = put_signing(directory, T0 - HOUR, 1)

    (problem,) = keys.reload(T0)

    assert name == problem.file
    assert "after its activation" in problem.problem
    assert not problem.refused
    assert kid(1) == keys.ring.signing_key(T0).kid
    assert () == keys.reload(T0 + SECOND)


@pytest.mark.requirement("K3")
def test_deleting_a_leaked_key_ends_it_at_the_next_reading(
    open_keys: Opener, directory: Path
) -> None:
    put_signing(directory, T0 - HOUR, 1)
    keys = open_keys()
    for file in directory.glob("20261121*.pem"):
        file.unlink()

    keys.reload(T0)

    assert [kid(1)] == published(keys)
    assert keys.ring.public_key(kid(0), T0) is None


BROKEN = {
    "empty": b"",
    "noise": bytes(range(256)) * 4,
    "half a key": b"-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkq\n",
    "no base64": b"-----BEGIN PRIVATE KEY-----\n!!!\n-----END PRIVATE KEY-----\n",
    "no public key": b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
    "a certificate": b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    "huge": b"-----BEGIN PRIVATE KEY-----\n" + b"A" * 100_000,
}


@pytest.mark.requirement("K4", "I18")
@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN.keys())
def test_a_published_key_whose_file_breaks_stays_in_use(
    open_keys: Opener, directory: Path, content: bytes
) -> None:
    keys = open_keys()
    (name,) = (file.name for file in directory.glob("*.pem"))
    put(directory, name, content)

    (problem,) = keys.reload(T0)

    assert (name, True) == (problem.file, problem.refused)
    assert problem.fix
    assert kid(0) == keys.ring.signing_key(T0).kid
    assert () == keys.reload(T0 + 15 * SECOND), "said once"
    assert [name] == files(keys.problems), "still known"


def test_a_repaired_file_is_used_again(open_keys: Opener, directory: Path) -> None:
    keys = open_keys()
    (name,) = (file.name for file in directory.glob("*.pem"))
    put(directory, name, b"broken")
    keys.reload(T0)
    put_signing(directory, T0 - DAY, 1)

    assert () == keys.reload(T0)

    assert kid(1) == keys.ring.signing_key(T0).kid
    assert () == keys.problems


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_file_does_not_stop_a_good_one(
    open_keys: Opener, directory: Path, content: bytes
) -> None:
    """A rotation must go on although an operator dropped something else beside it."""
    keys = open_keys()
    broken = put(directory, "20261122T093000Z.pem", content)
    put_signing(directory, T0 + HOUR, 1)

    problems = keys.reload(T0)

    assert [broken] == files(problems)
    assert [kid(0), kid(1)] == published(keys)
    assert kid(0) == keys.ring.signing_key(T0).kid


@pytest.mark.requirement("K4")
def test_an_emptied_or_vanished_directory_changes_nothing(
    open_keys: Opener, directory: Path
) -> None:
    """A volume that was unmounted must not stop the service or empty the JWKS."""
    keys = open_keys()
    body = keys.ring.jwks(T0).body
    sealed = seal(keys.refresh, token_of(keys))
    for file in directory.iterdir():
        file.unlink()

    assert ["*.pem", "refresh-*.key"] == files(keys.reload(T0))
    assert body == keys.ring.jwks(T0).body
    assert keys.ring.signing_key(T0)
    assert keys.open_refresh_token(sealed, now=T0)

    directory.rmdir()
    (problem,) = keys.reload(T0 + 15 * SECOND)
    assert "does not exist" in problem.problem
    assert body == keys.ring.jwks(T0).body
    assert keys.open_refresh_token(sealed, now=T0)


@pytest.mark.requirement("K4")
def test_deleting_the_only_signing_key_by_hand_keeps_it_until_there_is_another(
    open_keys: Opener, directory: Path
) -> None:
    """`keys revoke` creates the successor first; a service without a key would serve nobody."""
    keys = open_keys()
    (file,) = directory.glob("*.pem")
    file.unlink()
    put_signing(directory, T0 + HOUR, 1)

    (problem,) = keys.reload(T0)
    assert "authsvc keys add --now" in problem.fix
    assert kid(0) == keys.ring.signing_key(T0).kid
    assert [kid(0), kid(1)] == published(keys)

    keys.reload(T0 + HOUR)
    assert kid(1) == keys.ring.signing_key(T0 + HOUR).kid
    assert keys.ring.public_key(kid(0), T0 + HOUR) is None


def test_deleting_a_mac_key_ends_its_tokens(open_keys: Opener, directory: Path) -> None:
    """That is the emergency of a leaked MAC key."""
    put_mac(directory, T0 - HOUR, 2)
    keys = open_keys()
    leaked = seal(keys.refresh, token_of(keys))
    (directory / "refresh-20261122T090000Z.key").unlink()

    keys.reload(T0)

    with pytest.raises(InvalidRefreshToken):
        keys.open_refresh_token(leaked, now=T0)
    assert keys.open_refresh_token(seal(keys.refresh, token_of(keys)), now=T0)


def test_deleting_the_only_mac_key_ends_its_tokens_too(open_keys: Opener, directory: Path) -> None:
    keys = open_keys()
    leaked = seal(keys.refresh, token_of(keys))
    for file in directory.glob("*.key"):
        file.unlink()

    (problem,) = keys.reload(T0)

    assert "authsvc keys add --refresh --now" in problem.fix
    with pytest.raises(InvalidRefreshToken):
        keys.open_refresh_token(leaked, now=T0)
    with pytest.raises(NoSealingKey):
        keys.refresh.sealing_key(T0)


@pytest.mark.requirement("I7")
def test_an_unknown_mac_key_is_looked_for_before_it_is_refused(
    open_keys: Opener, directory: Path
) -> None:
    """Another replica may have read the new file a moment earlier."""
    here, there = open_keys(), open_keys()
    put_mac(directory, T0 - SECOND, 2)
    there.reload(T0)
    sealed = seal(there.refresh, token_of(there))

    assert here.open_refresh_token(sealed, now=T0)
    token = token_of(there)
    assert seal(there.refresh, token) == here.seal_refresh_token(token, now=T0)


def test_sealing_with_a_key_that_just_appeared_looks_for_it(
    open_keys: Opener, directory: Path
) -> None:
    here, there = open_keys(), open_keys()
    put_mac(directory, T0 - SECOND, 2)
    there.reload(T0)
    token = token_of(there)

    assert seal(there.refresh, token) == here.seal_refresh_token(token, now=T0)


def test_what_a_reread_found_wrong_is_reported_by_the_next_reload(
    open_keys: Opener, directory: Path
) -> None:
    keys, stranger = open_keys(), open_keys()
    put_mac(directory, T0 - 2 * DAY, 9)
    stranger.reload(T0)
    unknown = RefreshToken(b"unknown!", uuid4(), 0, Delivery.SPA)
    name = put(directory, "20261122T093000Z.pem", b"broken")

    with pytest.raises(UnknownMacKey):
        keys.seal_refresh_token(unknown, now=T0)

    assert [name] == files(keys.reload(T0))


@pytest.mark.requirement("R10")
def test_unknown_key_ids_read_the_directory_once_a_second(
    open_keys: Opener, directory: Path
) -> None:
    """A stranger who sends random key ids must not make us read files for each."""
    keys, elsewhere = open_keys(), open_keys()
    put_mac(directory, T0 - SECOND, 2)
    elsewhere.reload(T0)
    first = seal(elsewhere.refresh, token_of(elsewhere))
    assert keys.open_refresh_token(first, now=T0)

    put_mac(directory, T0 - SECOND + SECOND, 3)
    elsewhere.reload(T0)
    second = seal(elsewhere.refresh, token_of(elsewhere))

    with pytest.raises(UnknownMacKey):
        keys.open_refresh_token(second, now=T0 + SECOND / 2)
    with pytest.raises(UnknownMacKey):
        keys.open_refresh_token(second, now=T0 - SECOND / 2)
    assert keys.open_refresh_token(second, now=T0 + SECOND)


@pytest.mark.requirement("R10")
def test_garbage_costs_no_reading(open_keys: Opener, directory: Path) -> None:
    keys = open_keys()
    good = seal(keys.refresh, token_of(keys))
    shutil.rmtree(directory)

    for garbage in (
        "",
        "art1.",
        good[:-1],
        good[:-1] + ("A" if good[-1] != "A" else "E"),
        "x" * 92,
    ):
        with pytest.raises(InvalidRefreshToken):
            keys.open_refresh_token(garbage, now=T0)

    assert () == keys.problems, "the missing directory was not noticed"
    assert keys.open_refresh_token(good, now=T0)


def load(path: Path, *, strict_modes: bool, passphrase: str | None = None) -> str:
    keys = KeyDirectory(
        path,
        passphrase=passphrase,
        strict_modes=strict_modes,
    )
    with pytest.raises(KeyDirectoryError) as caught:
        keys.load(T0)
    return str(caught.value)


@pytest.mark.parametrize("strict_modes", [False, True], ids=["development", "production"])
def test_a_start_without_keys_says_how_to_make_them(tmp_path: Path, strict_modes: bool) -> None:  # noqa: FBT001
    assert "authsvc keys add --first" in load(tmp_path / "none", strict_modes=strict_modes)
    assert "authsvc keys add --first" in load(tmp_path, strict_modes=strict_modes)
    put_signing(tmp_path, T0 + HOUR)
    assert "authsvc keys add --now" in load(tmp_path, strict_modes=strict_modes)
    put_signing(tmp_path, T0 - HOUR, 1)
    assert "authsvc keys add --refresh --now" in load(tmp_path, strict_modes=strict_modes)


@pytest.mark.requirement("S2", "K5")
def test_production_does_not_start_with_a_refused_file(directory: Path, open_keys: Opener) -> None:
    """Other replicas may be signing with the key that is broken here."""
    name = put(directory, "20261122T093000Z.pem", b"broken")

    assert name in load(directory, strict_modes=True)
    assert [name] == files(open_keys().problems), "development starts, and says so"


def test_all_causes_are_named_at_once(directory: Path) -> None:
    one = put(directory, "20261122T093000Z.pem", b"broken")
    other = put(directory, "refresh-20261122T093000Z.key", b"short")

    message = load(directory, strict_modes=True)

    assert [str(directory / one), str(directory / other)] == [
        line.split(": ")[0] for line in message.splitlines()
    ]


def test_before_loading_there_is_no_key(directory: Path) -> None:
    keys = KeyDirectory(directory, passphrase=None, strict_modes=True)

    with pytest.raises(NoSigningKey):
        keys.ring.jwks(T0)


def test_an_unreadable_directory_is_named(directory: Path) -> None:
    with as_nobody(directory) as path:
        path.chmod(0)
        message = load(path, strict_modes=False)
        path.chmod(0o700)

    assert "cannot be read" in message
