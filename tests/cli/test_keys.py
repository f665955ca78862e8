"""`authsvc keys`: exit codes, one clear line, what breaks and what to do next (CONTRACT §3)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from authsvc.cli import keys as command
from authsvc.keys import pem
from authsvc.keys.key_files import KeyKind, file_name
from authsvc.operator_errors import OperatorError
from authsvc_client.tokens import jwk
from tests.support.key_material import kid, put, put_mac, put_signing, rsa_key

HOUR = timedelta(hours=1)
NOW = datetime.now(UTC).replace(microsecond=0)
YESTERDAY = NOW - timedelta(days=1)


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Ran]


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A key directory with a signing key and a MAC key of yesterday; settings point at it."""
    directory = tmp_path / "keys"
    put_signing(directory, YESTERDAY)
    put_mac(directory, YESTERDAY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AUTHSVC_KEYS_DIR", str(directory))
    return directory


@pytest.fixture
def run(path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `authsvc keys …` as `main` does."""
    del path

    def keys(*arguments: str) -> Ran:
        code = 0
        capsys.readouterr()
        refusal = ""
        try:
            command.app(arguments)
        except SystemExit as exc:
            code = exc.code if isinstance(exc.code, int) else 0
        except OperatorError as exc:
            code, refusal = 1, f"{exc}\n"
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err + refusal)

    return keys


def states(ran: Ran) -> dict[str, str]:
    return {key["file"]: key["state"] for key in ran.json["keys"]}


def test_list_shows_every_key_and_what_it_does(run: Run, path: Path) -> None:
    coming = put_signing(path, NOW + HOUR, 1)

    ran = run("list")

    lines = ran.out.splitlines()
    assert 0 == ran.code
    assert ["STATE", "KIND"] == lines[0].split()[:2]
    assert any(line.startswith("signing") and kid(0) in line for line in lines)
    assert any(line.startswith("next") and coming in line for line in lines)
    assert any(line.startswith("sealing") for line in lines)


def test_list_as_json_has_states_and_times(run: Run, path: Path) -> None:
    coming = put_signing(path, NOW + HOUR, 1)

    keys = {key["file"]: key for key in run("list", "--json").json["keys"]}

    assert {
        "file": coming,
        "kind": "signing",
        "kid": kid(1),
        "state": "next",
        "activation": (NOW + HOUR).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "published_until": None,
        "bits": 2048,
        "private": True,
        "problem": None,
    } == keys[coming]
    (signing,) = (key for key in keys.values() if key["state"] == "signing")
    retired_at = NOW + HOUR + timedelta(seconds=3660)
    assert retired_at.strftime("%Y-%m-%dT%H:%M:%SZ") == signing["published_until"]


def test_list_names_what_is_refused_with_its_remedy(run: Run, path: Path) -> None:
    broken = put(path, "20200101T000000Z.pem", b"broken")

    ran = run("list")
    as_json = run("list", "--json")

    assert 0 == ran.code
    assert f"{broken}: it is not a readable PEM key; " in ran.err
    assert "refused" == states(as_json)[broken]
    assert [broken] == [problem["file"] for problem in as_json.json["problems"]]


def test_add_creates_the_key_of_the_next_hour(run: Run, path: Path) -> None:
    began = datetime.now(UTC).replace(microsecond=0)
    ran = run("add")

    created = re.search(r"Created (\S+) \((\S+)\): it signs from (\S+) on \(in 60 min\)", ran.out)
    assert created
    assert 0 == ran.code
    assert path / Path(created[1]).name == Path(created[1])
    assert "within 15 s" in ran.out
    lead = datetime.fromisoformat(created[3]) - began
    assert HOUR <= lead < HOUR + timedelta(minutes=5)


def test_add_now_says_what_breaks(run: Run) -> None:
    ran = run("add", "--now")

    assert 0 == ran.code
    assert "it signs from now on" in ran.out
    assert "Verifiers that have cached the JWKS refuse its tokens" in ran.out


def test_add_refresh_creates_a_mac_key(run: Run, path: Path) -> None:
    later = run("add", "--refresh")
    at_once = run("add", "--refresh", "--now")

    assert "seals refresh tokens from" in later.out
    assert "seals refresh tokens from now on" in at_once.out
    assert "Verifiers" not in at_once.out
    assert 3 == len(list(path.glob("refresh-*.key")))


@pytest.mark.requirement("K2")
def test_add_refuses_a_time_that_is_too_soon(run: Run, path: Path) -> None:
    soon = (NOW + timedelta(minutes=15)).isoformat()
    before = sorted(path.iterdir())

    ran = run("add", "--at", soon)

    assert 1 == ran.code
    assert 1 == len(ran.err.splitlines())
    assert "16 minutes" in ran.err
    assert "--now" in ran.err
    assert before == sorted(path.iterdir())


def test_add_at_a_chosen_time(run: Run, path: Path) -> None:
    at = NOW + timedelta(days=3)

    assert 0 == run("add", "--at", at.strftime("%Y-%m-%dT%H:%M:%SZ"), "--bits", "3072").code
    assert (path / at.strftime("%Y%m%dT%H%M%SZ.pem")).exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("add", "--at", "tomorrow"),
        ("add", "--at", "2026-11-22T10:00:00"),
        ("add", "--at", "9000-01-01T00:00:00Z"),
        ("add", "--now", "--at", "2026-11-22T10:00:00Z"),
        ("add", "--first", "--refresh"),
        ("add", "--bits", "1024"),
        ("revoke",),
        ("import",),
        ("import", "x.pem", "--now", "--at", "2026-11-22T10:00:00Z"),
        ("list", "--yaml"),
        ("nonsense",),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_2(run: Run, arguments: tuple[str, ...]) -> None:
    ran = run(*arguments)

    assert 2 == ran.code
    assert "Usage:" in ran.err


def test_add_first_makes_only_what_is_missing(run: Run, path: Path) -> None:
    assert "nothing to do" in run("add", "--first").out

    for file in path.iterdir():
        file.unlink()
    ran = run("add", "--first")

    assert 0 == ran.code
    assert {"signing", "sealing"} == set(states(run("list", "--json")).values())


def test_the_first_key_without_now_warns_that_nothing_signs_yet(run: Run, path: Path) -> None:
    for file in path.iterdir():
        file.unlink()

    ran = run("add")

    assert 0 == ran.code
    assert "use --now" in ran.err
    assert "Verifiers" not in run("add", "--now").out, "there was nothing to break"


@pytest.mark.requirement("K3")
def test_revoke_replaces_the_key_and_says_what_breaks(run: Run) -> None:
    ran = run("revoke", kid(0))

    assert 0 == ran.code
    assert "within 15 s" in ran.out
    assert "Every access token that it signed is refused" in ran.out
    assert "it signs from now on" in ran.out
    assert ["sealing", "signing"] == sorted(states(run("list", "--json")).values())
    assert kid(0) not in run("list").out


@pytest.mark.requirement("K3")
def test_revoke_brings_the_waiting_key_forward_and_says_so(run: Run, path: Path) -> None:
    put_signing(path, NOW + HOUR, 1)

    ran = run("revoke", kid(0)[:10])

    assert f"({kid(1)}) works from now on" in ran.out
    assert "No further key is waiting; create one with `authsvc keys add`" in ran.out
    (signing,) = (k for k in run("list", "--json").json["keys"] if k["state"] == "signing")
    assert kid(1) == signing["kid"]


def test_revoke_names_the_key_that_waits_after_the_one_brought_forward(
    run: Run, path: Path
) -> None:
    put_signing(path, NOW + HOUR, 1)
    put_signing(path, NOW + 2 * HOUR, 2)

    ran = run("revoke", kid(0)[:10])

    assert f"({kid(1)}) works from now on" in ran.out
    assert f"After it waits {file_name(KeyKind.SIGNING, NOW + 2 * HOUR)}" in ran.out


def test_revoke_of_a_mac_key_says_what_breaks(run: Run) -> None:
    (mac,) = (k for k in run("list", "--json").json["keys"] if k["kind"] == "mac")

    ran = run("revoke", mac["key_id"])

    assert "Every session whose newest refresh token it sealed has ended" in ran.out
    assert "seals refresh tokens from now on" in ran.out


def test_revoke_of_a_waiting_key_breaks_nothing(run: Run, path: Path) -> None:
    name = put_signing(path, NOW + HOUR, 1)

    assert "nothing else changes" in run("revoke", name).out


def test_revoke_of_an_unknown_key_is_refused_in_one_line(run: Run, path: Path) -> None:
    ran = run("revoke", "no-such-key")

    assert (1, "") == (ran.code, ran.out)
    assert f"no-such-key: there is no such key in {path}; see `authsvc keys list`\n" == ran.err


def test_a_kid_that_begins_with_a_dash_is_no_option(run: Run) -> None:
    """One in 64 does."""
    ran = run("revoke", "-4s_not-an-option")

    assert 1 == ran.code
    assert "no such key" in ran.err
    assert 1 == run("export-public", "-4s_not-an-option").code


def test_prune_tells_what_it_did(run: Run, path: Path) -> None:
    assert "Nothing to prune" in run("prune").out
    put_signing(path, NOW - timedelta(minutes=1), 1)
    expired = put_signing(path, NOW - timedelta(days=9), 2)

    ran = run("prune")

    assert 0 == ran.code
    assert f"Removed {expired}" in ran.out
    assert "Kept only the public half" in ran.out
    assert "retired (public half)" in run("list").out


def test_import_takes_a_key_over(run: Run, tmp_path: Path) -> None:
    source = tmp_path / "theirs.pem"
    source.write_bytes(pem.private_pem(rsa_key(1), passphrase="theirs"))
    (tmp_path / "passphrase").write_text("theirs\n", encoding="utf-8")

    refused = run("import", str(source))
    ran = run("import", str(source), "--passphrase-file", str(tmp_path / "passphrase"))

    assert 1 == refused.code
    assert "encrypted" in refused.err
    assert 0 == ran.code
    assert f"({kid(1)}): it signs from" in ran.out
    assert f"Delete {source}" in ran.err
    again = run("import", str(source), "--passphrase-file", str(tmp_path / "passphrase"))
    assert 1 == again.code
    assert "exists already" in again.err


def test_import_of_what_is_not_there_is_refused_in_one_line(run: Run) -> None:
    ran = run("import", "nowhere.pem")

    assert 1 == ran.code
    assert "nowhere.pem: cannot be read (No such file or directory); name another file\n" == ran.err


def test_export_public_prints_the_jwks(run: Run, path: Path) -> None:
    put_signing(path, NOW + HOUR, 1)

    document = run("export-public").json

    assert [kid(0), kid(1)] == [key["kid"] for key in document["keys"]]
    assert jwk.rsa_jwk(rsa_key(0).public_key()) == document["keys"][0]
    assert [kid(1)] == [key["kid"] for key in run("export-public", kid(1)).json["keys"]]


@pytest.mark.requirement("S2")
def test_export_public_prints_nothing_private(run: Run) -> None:
    ran = run("export-public", "--pem")

    assert pem.public_pem(rsa_key(0).public_key()).decode() == ran.out
    assert "PRIVATE" not in ran.out


@pytest.mark.requirement("S2")
def test_a_passphrase_protects_what_the_commands_write(
    run: Run, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTHSVC_KEYS_PASSPHRASE", "correct horse")
    run("add")
    monkeypatch.setenv("AUTHSVC_KEYS_PASSPHRASE", "wrong horse")

    ran = run("list")

    assert any(b"ENCRYPTED" in file.read_bytes() for file in path.glob("*.pem"))
    assert "the passphrase is wrong" in ran.err
    assert "AUTHSVC_KEYS_PASSPHRASE" in ran.err
    assert "horse" not in ran.out + ran.err


def test_without_a_directory_every_command_says_what_to_do(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AUTHSVC_KEYS_DIR", str(tmp_path / "none"))

    for arguments in (("list",), ("export-public",)):
        ran = run(*arguments)
        assert 1 == ran.code
        assert "authsvc keys add --first" in ran.err
        assert 1 == len(ran.err.splitlines())


@pytest.mark.finding("N09")
@pytest.mark.parametrize(
    "arguments",
    [
        ("add",),
        ("add", "--now"),
        ("add", "--refresh"),
        ("import", "old.pem", "--now"),
        ("revoke", "20261122T100000Z.pem", "--without-feed"),
        ("prune",),
    ],
    ids=" ".join,
)
def test_elsewhere_no_command_makes_a_second_directory(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    (tmp_path / "old.pem").write_bytes(pem.private_pem(rsa_key(1)))
    monkeypatch.setenv("AUTHSVC_KEYS_DIR", "missing")

    ran = run(*arguments)

    assert 1 == ran.code
    assert not (tmp_path / "missing").exists()
    assert f"{tmp_path / 'missing'}: the key directory does not exist" in ran.err
    assert "authsvc keys add --first" in ran.err
    assert 1 == len(ran.err.splitlines())
    assert "within 15 s" not in ran.out


@pytest.mark.finding("N09")
def test_a_relative_directory_is_named_from_the_root(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AUTHSVC_KEYS_DIR", "other/keys")

    first = run("add", "--first")
    again = run("add", "--first")
    unknown = run("revoke", "ABCDEF", "--without-feed")

    assert 2 == first.out.count(f"Created {tmp_path}/other/keys/")
    assert f"{tmp_path}/other/keys: the first keys exist already" in again.out
    assert f"{tmp_path}/other/keys" in unknown.err


def test_a_bad_setting_is_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTHSVC_PORT", "none")

    ran = run("list")

    assert 1 == ran.code
    assert ran.err.startswith("AUTHSVC_PORT")
