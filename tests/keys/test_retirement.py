"""Taking keys away: leaked ones at once, old ones when nobody needs them (CONTRACT §4)."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from authsvc.keys import retirement, rotation
from authsvc.keys.inventory import ListedKey, State, take_inventory
from authsvc.keys.key_files import KeyDirectoryError, KeyKind
from authsvc.keys.refresh_tokens import mac_key_id
from authsvc.keys.retirement import PrunedKeys, RevokedKey
from tests.keys.conftest import ABSOLUTE_TTL, Opener
from tests.support.key_material import T0, kid, put, put_mac, put_signing

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)
RETIREMENT = timedelta(seconds=3660)


def revoke(path: Path, identifier: str, passphrase: str | None = None) -> RevokedKey:
    return retirement.revoke(
        path, identifier, now=T0, refresh_absolute_ttl=ABSOLUTE_TTL, passphrase=passphrase
    )


def prune(path: Path, *, after: timedelta = timedelta(0)) -> PrunedKeys:
    return retirement.prune(path, now=T0 + after, refresh_absolute_ttl=ABSOLUTE_TTL)


def listed(path: Path, *, after: timedelta = timedelta(0)) -> dict[str, ListedKey]:
    inventory = take_inventory(
        path, now=T0 + after, passphrase=None, refresh_absolute_ttl=ABSOLUTE_TTL
    )
    return {key.file: key for key in inventory.keys}


@pytest.mark.requirement("K3")
def test_revoking_the_signing_key_puts_a_new_one_in_its_place(
    directory: Path, open_keys: Opener
) -> None:
    keys = open_keys()

    revoked = revoke(directory, kid(0))
    keys.reload(T0)

    assert ("20261121T100000Z.pem",) == revoked.files
    assert revoked.successor is not None
    assert revoked.successor.key_id == keys.ring.signing_key(T0).kid
    assert [revoked.successor.key_id] == [key.kid for key in keys.ring.published(T0)]
    assert keys.ring.public_key(kid(0), T0) is None


@pytest.mark.requirement("K3", "I12")
def test_the_waiting_key_is_brought_forward(directory: Path, open_keys: Opener) -> None:
    """Other services' verifiers know it already, so that nobody meets an unknown kid."""
    put_signing(directory, T0 + HOUR, 1)
    put_signing(directory, T0 + 2 * HOUR, 2)
    keys = open_keys()

    revoked = revoke(directory, kid(0))
    keys.reload(T0)

    assert revoked.brought_forward
    assert revoked.successor is not None
    assert (kid(1), T0) == (revoked.successor.key_id, revoked.successor.activation)
    assert kid(1) == keys.ring.signing_key(T0).kid
    assert kid(2) == keys.ring.signing_key(T0 + 2 * HOUR).kid
    assert [kid(1), kid(2)] == [key.kid for key in keys.ring.published(T0)]


@pytest.mark.requirement("K3", "I18")
def test_at_no_moment_of_a_revocation_is_there_no_key(
    directory: Path, open_keys: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A replica that reads between any two steps finds a key that signs."""
    put_signing(directory, T0 + HOUR, 1)
    keys = open_keys()
    seen = []
    unlink = Path.unlink

    def look_and_unlink(path: Path, *, missing_ok: bool = False) -> None:
        keys.reload(T0)
        seen.append(keys.ring.signing_key(T0).kid)
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", look_and_unlink)
    revoke(directory, kid(0))
    keys.reload(T0)

    assert {kid(1)} == {*seen, keys.ring.signing_key(T0).kid}


@pytest.mark.requirement("K3")
def test_a_key_that_leaks_in_its_first_second_gives_up_its_name(
    directory: Path, open_keys: Opener
) -> None:
    put_signing(directory, T0, 1)
    keys = open_keys()

    revoked = revoke(directory, kid(1))
    keys.reload(T0)

    assert revoked.successor is not None
    assert T0 == revoked.successor.activation
    assert revoked.successor.key_id == keys.ring.signing_key(T0).kid != kid(1)
    assert keys.ring.public_key(kid(1), T0) is None


def test_revoking_a_waiting_key_changes_nothing_else(directory: Path, open_keys: Opener) -> None:
    name = put_signing(directory, T0 + HOUR, 1)
    keys = open_keys()

    revoked = revoke(directory, kid(1))
    keys.reload(T0)

    assert ((name,), None) == (revoked.files, revoked.successor)
    assert kid(0) == keys.ring.signing_key(T0 + HOUR).kid


def test_revoking_a_retired_key_ends_its_tokens(directory: Path, open_keys: Opener) -> None:
    put_signing(directory, T0 - SECOND, 1)
    keys = open_keys()

    revoked = revoke(directory, kid(0))
    keys.reload(T0)

    assert revoked.successor is None
    assert keys.ring.public_key(kid(0), T0) is None
    assert kid(1) == keys.ring.signing_key(T0).kid


def test_a_revocation_takes_every_copy_of_the_key(directory: Path, open_keys: Opener) -> None:
    """A duplicate that was refused would otherwise step in for the one that is deleted."""
    copy = put_signing(directory, T0 - SECOND, 0)
    keys = open_keys()

    revoked = revoke(directory, kid(0))
    keys.reload(T0)

    assert ("20261121T100000Z.pem", copy) == revoked.files
    assert keys.ring.public_key(kid(0), T0) is None


@pytest.mark.requirement("S2")
def test_a_successor_is_encrypted_as_the_others(directory: Path) -> None:
    revoked = revoke(directory, kid(0), passphrase="correct horse")

    assert revoked.successor is not None
    assert b"ENCRYPTED" in (directory / revoked.successor.file).read_bytes()


def test_revoking_the_mac_key_in_use_puts_a_new_one_in_its_place(
    directory: Path, open_keys: Opener
) -> None:
    keys = open_keys()
    leaked = keys.refresh.sealing_key(T0)

    revoked = revoke(directory, leaked.key_id.hex())
    keys.reload(T0)

    assert revoked.successor is not None
    assert revoked.successor.key_id == keys.refresh.sealing_key(T0).key_id.hex()
    assert keys.refresh.get(leaked.key_id) is None


def test_revoking_an_old_mac_key_needs_no_successor(directory: Path, open_keys: Opener) -> None:
    put_mac(directory, T0, 2)
    keys = open_keys()
    old = mac_key_id(bytes([1]) * 32)

    assert revoke(directory, old.hex()).successor is None
    keys.reload(T0)

    assert keys.refresh.get(old) is None
    assert keys.refresh.sealing_key(T0).activation == T0


def test_a_key_is_named_by_its_beginning_or_its_file(directory: Path) -> None:
    put_signing(directory, T0 + HOUR, 1)
    name = put_signing(directory, T0 + 2 * HOUR, 2)
    broken = put(directory, "20261122T093000Z.pem", b"broken")

    assert kid(1) == getattr(revoke(directory, kid(1)[:8]).key, "key_id", None)
    assert (name,) == revoke(directory, name).files
    assert (broken,) == revoke(directory, broken).files


@pytest.mark.parametrize("identifier", ["nope-nope", "20300101T000000Z.pem"])
def test_an_unknown_key_is_refused(directory: Path, identifier: str) -> None:
    put(directory, "20261122T093000Z.pem", b"broken")

    with pytest.raises(KeyDirectoryError, match="no such key"):
        revoke(directory, identifier)


@pytest.mark.finding("N21")
@pytest.mark.parametrize("length", [0, 1, 5])
def test_too_short_a_beginning_is_not_taken_for_a_key_that_is_gone(
    directory: Path, length: int
) -> None:
    with pytest.raises(KeyDirectoryError, match="give 6 characters or more"):
        revoke(directory, kid(0)[:length])


@pytest.mark.requirement("K2")
def test_pruning_keeps_the_public_half_as_long_as_tokens_live(
    directory: Path, open_keys: Opener
) -> None:
    put_signing(directory, T0, 1)
    keys = open_keys()
    body = keys.ring.jwks(T0).body

    pruned = prune(directory)
    keys.reload(T0)

    assert PrunedKeys(removed=(), halved=("20261121T100000Z.pem",)) == pruned
    assert b"PRIVATE" not in (directory / "20261121T100000Z.pem").read_bytes()
    assert body == keys.ring.jwks(T0).body
    assert keys.ring.public_key(kid(0), T0 + RETIREMENT - SECOND)
    assert PrunedKeys((), ()) == prune(directory, after=RETIREMENT - SECOND)
    assert ("20261121T100000Z.pem",) == prune(directory, after=RETIREMENT).removed


def test_pruning_a_second_time_finds_nothing(directory: Path) -> None:
    put_signing(directory, T0, 1)
    prune(directory)

    assert PrunedKeys((), ()) == prune(directory)


def test_pruning_leaves_a_lagging_replica_its_key(directory: Path, open_keys: Opener) -> None:
    """Its clock has not reached the activation: the ring it has goes on."""
    put_signing(directory, T0, 1)
    lagging = open_keys()
    prune(directory)

    lagging.reload(T0 - SECOND)

    assert kid(0) == lagging.ring.signing_key(T0 - SECOND).kid
    lagging.reload(T0)
    assert kid(1) == lagging.ring.signing_key(T0).kid


@pytest.mark.requirement("R9")
def test_a_mac_key_is_kept_until_its_last_family_has_expired(directory: Path) -> None:
    put_mac(directory, T0, 2)

    assert () == prune(directory, after=ABSOLUTE_TTL - SECOND).removed
    assert ("refresh-20261121T100000Z.key",) == prune(directory, after=ABSOLUTE_TTL).removed


def test_waiting_and_working_keys_are_never_pruned(directory: Path) -> None:
    put_signing(directory, T0 + 40 * DAY, 1)
    put_mac(directory, T0 + 40 * DAY, 2)

    assert PrunedKeys((), ()) == prune(directory, after=39 * DAY)


def test_without_a_signing_key_nothing_is_pruned(directory: Path) -> None:
    """A wrong passphrase makes every key look refused, and the old ones look alone."""
    (directory / "20261121T100000Z.pem").write_bytes(b"broken")
    put_signing(directory, T0 - 30 * DAY, 1, public=True)

    with pytest.raises(KeyDirectoryError, match="none was pruned"):
        prune(directory)


def test_refused_files_are_left_alone(directory: Path) -> None:
    broken = put(directory, "20200101T000000Z.pem", b"broken")
    put_signing(directory, T0, 1)

    prune(directory, after=10 * DAY)

    assert (directory / broken).exists()


def test_leftovers_of_a_killed_writer_are_swept(directory: Path) -> None:
    put(directory, ".authsvc-0123456789abcdef", b"half")

    prune(directory)

    assert not (directory / ".authsvc-0123456789abcdef").exists()


def test_the_inventory_tells_what_each_file_does(directory: Path) -> None:
    now_signing = put_signing(directory, T0 - HOUR, 1)
    coming = put_signing(directory, T0 + HOUR, 2)
    expired = put_signing(directory, T0 - 30 * DAY, 3)
    twin = put_signing(directory, T0 + 2 * HOUR, 2)
    mac = put_mac(directory, T0 - HOUR, 2)
    coming_mac = put_mac(directory, T0 + HOUR, 3)
    broken = put(directory, "20261122T093000Z.pem", b"broken")

    keys = listed(directory)

    assert {
        "20261121T100000Z.pem": State.RETIRED,
        now_signing: State.SIGNING,
        coming: State.NEXT,
        expired: State.EXPIRED,
        twin: State.REFUSED,
        "refresh-20261121T100000Z.key": State.RETIRED,
        mac: State.SEALING,
        coming_mac: State.NEXT,
        broken: State.REFUSED,
    } == {name: key.state for name, key in keys.items()}
    assert T0 - HOUR + RETIREMENT == keys["20261121T100000Z.pem"].until
    assert T0 - HOUR + ABSOLUTE_TTL == keys["refresh-20261121T100000Z.key"].until
    assert (kid(1), 2048, None) == (
        keys[now_signing].key_id,
        keys[now_signing].bits,
        keys[coming].until,
    )
    assert keys[broken].problem is not None


def test_a_key_added_now_retires_the_one_before(directory: Path) -> None:
    added = rotation.add_now(directory, KeyKind.SIGNING, now=T0)

    assert State.SIGNING is listed(directory)[added.file].state
    assert State.RETIRED is listed(directory)["20261121T100000Z.pem"].state
