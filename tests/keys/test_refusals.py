"""Files that are refused, each by name, with cause and remedy (issue: corrupt, weak, lax …)."""

from __future__ import annotations

import errno
import os
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from authsvc.keys import key_files, pem, reading
from authsvc.keys.directory import KeyDirectory
from authsvc.keys.inventory import State, take_inventory
from authsvc.keys.key_files import KeyKind, KeyProblem, file_name, parse_name
from authsvc.keys.reading import Reading, read
from authsvc.keys.retirement import prune
from authsvc.keys.rotation import import_key
from tests.support.key_material import T0, as_nobody, kid, put, put_mac, put_signing, rsa_key

HOUR = timedelta(hours=1)
LATER = T0 + timedelta(days=1)
NAME = "20261122T093000Z.pem"
MAC_NAME = "refresh-20261122T093000Z.key"


def read_only(*_: object, **__: object) -> None:
    """What a read-only file system answers to a write."""
    raise OSError(errno.EROFS, os.strerror(errno.EROFS))


def look(
    path: Path,
    *,
    passphrase: str | None = None,
    strict: bool = True,
    now: datetime = LATER,
    previous: Reading | None = None,
) -> Reading:
    return read(
        path,
        now=now,
        passphrase=passphrase,
        strict_modes=strict,
        repairs=True,
        previous=previous,
    )


def only_problem(path: Path, *, passphrase: str | None = None, strict: bool = True) -> KeyProblem:
    (problem,) = look(path, passphrase=passphrase, strict=strict).problems
    return problem


def pkcs8(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


REFUSED = {
    "corrupt": (lambda: b"-----BEGIN PRIVATE KEY-----\nnonsense", "not a readable PEM"),
    "elliptic": (lambda: pkcs8(ec.generate_private_key(ec.SECP256R1())), "not an RSA key"),
    "ed25519": (lambda: pkcs8(ed25519.Ed25519PrivateKey.generate()), "not an RSA key"),
    "weak": (lambda: pem.private_pem(rsa_key(bits=1024)), "weak: 1024 bits"),
    "weak public half": (
        lambda: pem.public_pem(rsa_key(bits=1024).public_key()),
        "weak: 1024 bits",
    ),
    "exponent 3": (lambda: pem.private_pem(rsa_key(exponent=3)), "exponent"),
    "encrypted": (lambda: pem.private_pem(rsa_key(1), passphrase="x"), "encrypted"),
}


@pytest.mark.requirement("K1")
@pytest.mark.parametrize(("make", "cause"), REFUSED.values(), ids=REFUSED.keys())
def test_a_file_that_must_not_sign_is_refused_by_name(
    directory: Path, make: object, cause: str
) -> None:
    put(directory, NAME, make())  # type: ignore[operator]

    problem = only_problem(directory)

    assert (NAME, True) == (problem.file, problem.refused)
    assert cause in problem.problem
    assert problem.fix
    assert [kid(0)] == [key.kid for key in look(directory).signing_keys.values()]


@pytest.mark.requirement("K1")
def test_a_duplicate_is_refused_and_the_earlier_file_used(directory: Path) -> None:
    twin = put_signing(directory, T0 + HOUR)

    problem = only_problem(directory)

    assert twin == problem.file
    assert "same key as 20261121T100000Z.pem" in problem.problem
    assert [T0 - timedelta(days=1)] == [
        key.activation for key in look(directory).signing_keys.values()
    ]


def test_a_duplicate_serves_when_the_earlier_file_is_gone(directory: Path) -> None:
    twin = put_signing(directory, T0 + HOUR)
    before = look(directory)
    (directory / "20261121T100000Z.pem").unlink()

    after = look(directory, previous=before)

    assert [twin] == list(after.signing_keys)
    assert () == after.problems


@pytest.mark.parametrize("length", [0, 16, 31, 33, 64])
def test_a_mac_key_has_exactly_32_bytes(directory: Path, length: int) -> None:
    put(directory, MAC_NAME, b"k" * length)

    problem = only_problem(directory)

    assert (MAC_NAME, True) == (problem.file, problem.refused)
    assert f"{length} bytes" in problem.problem


def test_a_duplicate_mac_key_is_refused(directory: Path) -> None:
    twin = put_mac(directory, T0)

    assert twin == only_problem(directory).file


@pytest.mark.requirement("K1")
@pytest.mark.parametrize("bits", [2048, 3072])
def test_longer_keys_are_supported(tmp_path: Path, bits: int) -> None:
    put(tmp_path, NAME, pem.private_pem(rsa_key(bits=bits)))

    (key,) = look(tmp_path).signing_keys.values()

    assert bits == key.public_key.key_size


def test_other_pem_forms_of_a_private_key_are_read(tmp_path: Path) -> None:
    """What `openssl genrsa` of older versions writes (PKCS #1)."""
    content = rsa_key().private_bytes(
        Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()
    )
    put(tmp_path, NAME, content)

    assert [kid(0)] == [key.kid for key in look(tmp_path).signing_keys.values()]


@pytest.mark.requirement("S2")
def test_an_encrypted_key_needs_its_passphrase(tmp_path: Path) -> None:
    put_signing(tmp_path, T0, passphrase="correct horse")

    assert "AUTHSVC_KEYS_PASSPHRASE" in only_problem(tmp_path).fix
    wrong = only_problem(tmp_path, passphrase="wrong")
    assert "the passphrase is wrong" in wrong.problem
    assert "wrong horse" not in str(only_problem(tmp_path, passphrase="wrong horse"))
    (key,) = look(tmp_path, passphrase="correct horse").signing_keys.values()
    assert kid(0) == key.kid
    assert b"ENCRYPTED" in (tmp_path / "20261122T100000Z.pem").read_bytes()


def test_a_plain_key_is_read_although_there_is_a_passphrase(directory: Path) -> None:
    """Else the passphrase could not be introduced by a rotation."""
    assert () == look(directory, passphrase="unused").problems


def test_what_is_no_file_is_refused_and_does_not_hang(directory: Path) -> None:
    os.mkfifo(directory / NAME)
    (directory / "20261122T093001Z.pem").mkdir()
    (directory / MAC_NAME).symlink_to(directory / "nowhere")

    problems = look(directory).problems

    assert [NAME, "20261122T093001Z.pem", MAC_NAME] == [
        problem.file for problem in sorted(problems, key=lambda p: p.file)
    ]


def test_a_link_to_a_key_is_a_key(directory: Path, tmp_path: Path) -> None:
    """Kubernetes mounts secrets as links into a hidden folder that it swaps."""
    hidden = tmp_path / "..data"
    put_signing(hidden, T0, 1)
    (directory / NAME).symlink_to(hidden / "20261122T100000Z.pem")

    assert [kid(0), kid(1)] == [
        key.kid for key in look(directory, strict=False).signing_keys.values()
    ]


@pytest.mark.parametrize(
    "name",
    [
        "mine.pem",
        "20261122.pem",
        "20261322T100000Z.pem",
        "refresh-20261122T100000Z.pem",
        "20261122T100000Z.key",
        "99991231T235959Z.pem",
        "\uff120261122T100000Z.pem",
    ],
)
def test_a_key_under_another_name_is_pointed_out(directory: Path, name: str) -> None:
    put(directory, name, pem.private_pem(rsa_key(1)))

    problem = only_problem(directory)

    assert (name, False) == (problem.file, problem.refused)
    assert "keys import" in problem.fix


@pytest.mark.parametrize("name", ["README.md", ".gitignore", ".authsvc-1234", "..data", "a.pem~"])
def test_other_files_are_left_in_peace(directory: Path, name: str) -> None:
    put(directory, name, b"anything")

    assert () == look(directory).problems


@pytest.mark.parametrize("kind", KeyKind)
def test_a_name_tells_kind_and_second(kind: KeyKind) -> None:
    assert (kind, T0) == parse_name(file_name(kind, T0))
    assert (kind, T0) == parse_name(file_name(kind, T0 + timedelta(milliseconds=999)))


@pytest.mark.requirement("S2")
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o755])
@pytest.mark.parametrize("name", ["20261121T100000Z.pem", "refresh-20261121T100000Z.key"])
def test_a_private_file_that_others_can_read_is_repaired_where_it_is_ours(
    directory: Path, name: str, mode: int
) -> None:
    (directory / name).chmod(mode)

    problem = only_problem(directory)

    assert (name, False) == (problem.file, problem.refused)
    assert "removed the permission" in problem.problem
    assert 0o600 == (directory / name).stat().st_mode & 0o777
    assert () == look(directory).problems


def test_a_public_half_may_be_read_by_all(tmp_path: Path) -> None:
    name = put_signing(tmp_path, T0, public=True)
    (tmp_path / name).chmod(0o644)

    assert () == look(tmp_path).problems
    assert 0o644 == (tmp_path / name).stat().st_mode & 0o777


@pytest.mark.requirement("S2")
def test_a_lax_file_that_cannot_be_repaired_is_refused_in_production(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "20261121T100000Z.pem"
    (directory / name).chmod(0o644)
    monkeypatch.setattr(os, "fchmod", read_only)

    strict = only_problem(directory)
    assert (name, True) == (strict.file, strict.refused)
    assert "chmod 600" in strict.fix
    assert {} == look(directory).signing_keys

    lax = only_problem(directory, strict=False)
    assert (name, False) == (lax.file, lax.refused)
    assert [name] == list(look(directory, strict=False).signing_keys)


@pytest.mark.requirement("S2")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_key_that_belongs_to_another_user_is_refused_in_production(directory: Path) -> None:
    name = "20261121T100000Z.pem"
    os.chown(directory / name, 12_345, -1)

    problem = only_problem(directory)

    assert (name, True) == (problem.file, problem.refused)
    assert "uid 12345" in problem.problem
    assert not only_problem(directory, strict=False).refused


def test_modes_of_a_read_only_mount_are_a_warning(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A secret volume has the modes that its engine gives it."""
    (directory / "20261121T100000Z.pem").chmod(0o444)
    mounted = SimpleNamespace(f_flag=os.ST_RDONLY)
    monkeypatch.setattr(os, "fchmod", read_only)
    monkeypatch.setattr(os, "statvfs", lambda _: mounted)

    assert not only_problem(directory).refused
    assert look(directory).signing_keys


def test_read_only_mounts_are_recognized(tmp_path: Path) -> None:
    assert not key_files.on_read_only_mount(tmp_path)
    assert not key_files.on_read_only_mount(tmp_path / "none")
    mounts = [line.split() for line in Path("/proc/mounts").read_text("utf-8").splitlines()]
    for _, where, _, options, *_ in mounts:
        if "ro" in options.split(",") and Path(where).is_dir():
            assert key_files.on_read_only_mount(Path(where))
            return


def test_an_unreadable_file_is_refused_by_name(directory: Path) -> None:
    name = put_signing(directory, T0, 1)
    with as_nobody(directory) as path:
        (path / name).chmod(0)
        problem = only_problem(path)

    assert (name, True) == (problem.file, problem.refused)
    assert "cannot read it" in problem.problem


def test_no_secret_is_shown(directory: Path) -> None:
    put(directory, MAC_NAME, b"secretsecret")
    found = look(directory)

    assert "secretsecret" not in repr(found)
    assert "PRIVATE KEY" not in repr(found)
    assert "\\x01\\x01" not in repr(found)


@pytest.fixture(params=["public half", "private key", "MAC key"])
def planted_key(directory: Path, request: pytest.FixtureRequest) -> str:
    """The name of one more key in the directory, of each kind."""
    earlier = T0 - timedelta(days=2)
    if request.param == "MAC key":
        return put_mac(directory, earlier, 2)
    return put_signing(directory, earlier, 1, public=request.param == "public half")


@pytest.mark.finding("11.8")
@pytest.mark.parametrize("mode", [0o666, 0o622, 0o620, 0o602])
@pytest.mark.parametrize("mounted", ["writable", "read-only"])
def test_a_key_that_others_can_write_is_refused_in_production(
    directory: Path, planted_key: str, mode: int, mounted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever could write it may have put his own there; a mode that we mend does not undo that."""
    if mounted == "read-only":
        monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_flag=os.ST_RDONLY))
    (directory / planted_key).chmod(mode)

    problem = only_problem(directory)

    assert (planted_key, True) == (problem.file, problem.refused)
    assert "others can write it" in problem.problem
    found = look(directory)
    assert planted_key not in {*found.signing_keys, *found.mac_keys}
    assert not only_problem(directory, strict=False).refused
    assert mode == (directory / planted_key).stat().st_mode & 0o777


@pytest.mark.finding("11.8")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("mounted", ["writable", "read-only"])
def test_a_key_of_another_user_is_refused_in_production(
    directory: Path, planted_key: str, mounted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if mounted == "read-only":
        monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_flag=os.ST_RDONLY))
    os.chown(directory / planted_key, 12_345, -1)

    problem = only_problem(directory)

    assert (planted_key, True) == (problem.file, problem.refused)
    assert "uid 12345" in problem.problem


@pytest.mark.finding("11.8")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give directories away")
@pytest.mark.parametrize(("owner", "mode"), [(0, 0o777), (0, 0o770), (12_345, 0o1777)])
def test_a_read_only_mount_of_a_directory_that_others_can_write_is_refused(
    directory: Path, owner: int, mode: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They write it where it is not mounted read-only. A secret volume is 1777, and root's."""
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_flag=os.ST_RDONLY))
    directory.chmod(0o1777)
    assert () == look(directory).problems
    os.chown(directory, owner, -1)
    directory.chmod(mode)

    assert (".", True) == (only_problem(directory).file, only_problem(directory).refused)
    assert {} == look(directory).signing_keys


@pytest.mark.finding("11.8")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give links away")
def test_a_link_of_another_user_is_refused_in_production(directory: Path, tmp_path: Path) -> None:
    """In a sticky directory he can add one, to any key of ours."""
    name = link_into(directory, tmp_path / "elsewhere", public=False)
    os.chown(directory / name, 12_345, -1, follow_symlinks=False)

    problem = only_problem(directory)

    assert (name, True) == (problem.file, problem.refused)
    assert "uid 12345" in problem.problem


@pytest.mark.finding("11.8")
def test_only_the_file_that_was_read_is_repaired(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not what a link leads to, nor what has taken its name meanwhile."""
    name = link_into(directory, tmp_path / "elsewhere", public=False)
    (directory / name).chmod(0o644)

    assert (name, True) == (only_problem(directory).file, only_problem(directory).refused)
    assert 0o644 == (directory / name).stat().st_mode & 0o777

    (directory / name).unlink()
    put_signing(directory, T0 - timedelta(days=2), 1)
    (directory / name).chmod(0o644)
    other = tmp_path / "other"
    other.write_bytes(b"")
    other.chmod(0o644)

    def exchange(file: key_files.KeyContent) -> tuple[str, str] | None:
        found = exposed(file)
        if found is not None:
            other.rename(directory / name)
        return found

    exposed = key_files.exposed
    monkeypatch.setattr(reading, "exposed", exchange)

    assert only_problem(directory).refused
    assert 0o644 == (directory / name).stat().st_mode & 0o777


@pytest.mark.finding("11.8")
def test_who_does_not_tell_of_it_does_not_repair(directory: Path) -> None:
    """Else the operator never hears that others could read the key."""
    (name,) = (file.name for file in directory.glob("*.pem"))
    (directory / name).chmod(0o644)
    ttl = timedelta(days=30)
    key = pem.private_pem(rsa_key(1))

    import_key(directory, key, now=LATER, activation=LATER + HOUR)
    prune(directory, now=LATER, refresh_absolute_ttl=ttl)
    take_inventory(directory, now=LATER, passphrase=None, refresh_absolute_ttl=ttl)

    found = KeyDirectory(directory, passphrase=None, strict_modes=True).load(LATER)
    assert [name] == [problem.file for problem in found]


@pytest.mark.finding("11.8")
@pytest.mark.parametrize("mode", [0o777, 0o770, 0o1777])
def test_nothing_new_is_taken_from_a_directory_that_others_can_write(
    directory: Path, mode: int
) -> None:
    before = look(directory)
    put_signing(directory, T0 - timedelta(days=2), 1, public=True)
    directory.chmod(mode)

    assert only_problem(directory).refused
    assert {} == look(directory).signing_keys
    after = look(directory, previous=before)
    assert [kid(0)] == [key.kid for key in after.signing_keys.values()]
    assert not only_problem(directory, strict=False).refused


@pytest.mark.finding("11.8")
@pytest.mark.parametrize("strict", [True, False])
def test_a_public_half_newer_than_every_private_key_is_refused(
    directory: Path, *, strict: bool
) -> None:
    name = put_signing(directory, T0, 1, public=True)

    problem = only_problem(directory, strict=strict)

    assert (name, True) == (problem.file, problem.refused)
    assert [kid(0)] == [key.kid for key in look(directory, strict=strict).signing_keys.values()]


@pytest.mark.finding("11.8")
def test_a_public_half_is_judged_anew_when_a_newer_private_key_appears(directory: Path) -> None:
    put_signing(directory, T0, 1, public=True)
    before = look(directory)
    put_signing(directory, T0 + HOUR, 2)

    after = look(directory, previous=before)

    assert () == after.problems
    assert [kid(0), kid(1), kid(2)] == [key.kid for key in after.signing_keys.values()]


@pytest.mark.finding("11.8")
@pytest.mark.parametrize("strict", [True, False])
def test_a_public_half_that_lies_in_the_future_is_refused_until_then(
    directory: Path, *, strict: bool
) -> None:
    """Beside a newer private key too: what remains of a key has signed before."""
    name = put_signing(directory, T0 + 2 * HOUR, 1, public=True)
    put_signing(directory, T0 + 3 * HOUR, 2)

    before = look(directory, strict=strict, now=T0 + HOUR)
    then = look(directory, strict=strict, now=T0 + 2 * HOUR, previous=before)

    (problem,) = before.problems
    assert (name, True) == (problem.file, problem.refused)
    assert [kid(0), kid(2)] == [key.kid for key in before.signing_keys.values()]
    assert () == then.problems
    assert [kid(0), kid(1), kid(2)] == [key.kid for key in then.signing_keys.values()]


@pytest.mark.finding("11.8")
def test_the_inventory_and_a_start_refuse_a_public_half_of_the_future(directory: Path) -> None:
    """Every reader of key files has the same rule."""
    name = put_signing(directory, T0 + 2 * HOUR, 1, public=True)
    put_signing(directory, T0 + 3 * HOUR, 2)

    inventory = take_inventory(
        directory, now=T0, passphrase=None, refresh_absolute_ttl=timedelta(days=30)
    )
    keys = KeyDirectory(directory, passphrase=None, strict_modes=True)

    assert State.REFUSED == {key.file: key.state for key in inventory.keys}[name]
    with pytest.raises(key_files.KeyDirectoryError, match=name):
        keys.load(T0)


def link_into(directory: Path, folder: Path, *, public: bool) -> str:
    """Key 1 in the directory, which is a link to a file in a folder elsewhere; its name."""
    name = put_signing(folder, T0 - timedelta(days=2), 1, public=public)
    (directory / name).symlink_to(folder / name)
    return name


@pytest.mark.finding("11.8")
@pytest.mark.parametrize("mode", [0o777, 0o770, 0o1777])
@pytest.mark.parametrize("public", [True, False])
def test_a_link_into_a_folder_that_others_can_write_is_refused_in_production(
    directory: Path, tmp_path: Path, mode: int, *, public: bool
) -> None:
    """Else the check of the directory would be worth nothing: they exchange the target."""
    folder = tmp_path / "elsewhere"
    name = link_into(directory, folder, public=public)
    assert () == look(directory).problems
    before = look(directory)
    folder.chmod(mode)

    problem = only_problem(directory)

    assert (name, True) == (problem.file, problem.refused)
    assert str(folder) in f"{problem.problem} {problem.fix}"
    assert [kid(0)] == [key.kid for key in look(directory).signing_keys.values()]
    # The key that was read before others could write there stays, as for every file that breaks.
    assert {kid(0), kid(1)} == {
        key.kid for key in look(directory, previous=before).signing_keys.values()
    }
    assert not only_problem(directory, strict=False).refused


@pytest.mark.finding("11.8")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give folders away")
def test_a_link_into_a_folder_of_another_user_is_refused_in_production(
    directory: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "elsewhere"
    name = link_into(directory, folder, public=True)
    os.chown(folder, 12_345, -1)

    problem = only_problem(directory)

    assert (name, True) == (problem.file, problem.refused)
    assert "uid 12345" in problem.problem


@pytest.mark.finding("11.8")
def test_every_link_on_the_way_to_a_key_lies_where_only_we_can_write(
    directory: Path, tmp_path: Path
) -> None:
    put_signing(tmp_path / "target", T0, 1)
    between = tmp_path / "between"
    between.mkdir(mode=0o700)
    (between / "link").symlink_to(tmp_path / "target" / file_name(KeyKind.SIGNING, T0))
    (directory / NAME).symlink_to(between / "link")
    assert () == look(directory).problems
    between.chmod(0o777)

    assert (NAME, True) == (only_problem(directory).file, only_problem(directory).refused)


@pytest.mark.finding("11.8")
@pytest.mark.parametrize("read_only_mount", [True, False])
def test_the_links_of_a_secret_volume_are_keys_in_production(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, read_only_mount: bool
) -> None:
    """The kubelet's layout: a link per key into `..data`, a link to a folder that it swaps."""
    volume = tmp_path / "keys"
    volume.mkdir(mode=0o700)
    versioned = volume / "..2026_11_22_09_30_00.1"
    put_signing(versioned, T0)
    versioned.chmod(0o755)
    (volume / "..data").symlink_to(versioned.name)
    (volume / file_name(KeyKind.SIGNING, T0)).symlink_to(
        Path("..data") / file_name(KeyKind.SIGNING, T0)
    )
    if read_only_mount:
        volume.chmod(0o1777)
        versioned.chmod(0o2755)
        monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_flag=os.ST_RDONLY))

    found = look(volume)

    assert [kid(0)] == [key.kid for key in found.signing_keys.values()]
    assert not [problem for problem in found.problems if problem.refused]


@pytest.mark.finding("P26")
@pytest.mark.parametrize(
    ("encoding", "form", "command"),
    [
        (Encoding.PEM, PrivateFormat.OpenSSH, "ssh-keygen -p -m PEM"),
        (Encoding.DER, PrivateFormat.PKCS8, "openssl pkey -inform DER"),
        (Encoding.DER, PrivateFormat.TraditionalOpenSSL, "openssl pkey -inform DER"),
    ],
)
def test_a_key_in_another_format_is_named_with_the_command_that_converts_it(
    directory: Path, encoding: Encoding, form: PrivateFormat, command: str
) -> None:
    put(directory, NAME, rsa_key(1).private_bytes(encoding, form, NoEncryption()))

    assert command in only_problem(directory).fix


@pytest.mark.finding("P26", "N11")
def test_no_new_key_is_advised_while_files_are_refused(directory: Path) -> None:
    for file in directory.iterdir():
        file.write_bytes(b"damaged")
    keys = KeyDirectory(directory, passphrase=None, strict_modes=True)

    with pytest.raises(key_files.KeyDirectoryError) as refused:
        keys.load(T0)

    assert 2 == len(str(refused.value).splitlines())
    assert "--now" not in str(refused.value)
