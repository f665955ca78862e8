"""
Turn the files of a key directory into keys, one verdict per file.

A file that is refused takes nothing else with it: its neighbours are used, and if the file was
good at the last reading, that key stays in use, since a file that breaks must not take away a
published key. A file that is *gone* takes its key with it: that is how a leaked key dies.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from authsvc.keys import pem
from authsvc.keys.key_files import (
    KeyContent,
    KeyKind,
    KeyProblem,
    KeyRefused,
    exposed,
    planted,
    read_directory,
    repair,
)
from authsvc.keys.keyring import SigningKey
from authsvc.keys.refresh_tokens import KEY_LENGTH, MacKey, mac_key_id
from authsvc_client.tokens.jwk import thumbprint
from authsvc_client.tokens.secret import SecretBytes


@dataclass(frozen=True, slots=True)
class FileVerdict:
    """
    What became of one file.

    Args:
        key: What it holds, or held when it was last good; None = nothing usable.
        problem: Why it is refused, or a warning about it.
        twin: The file that holds the same key already; this one is then not used.
    """

    file: KeyContent
    key: SigningKey | MacKey | None
    problem: KeyProblem | None = None
    twin: str | None = None

    @property
    def usable(self) -> SigningKey | MacKey | None:
        """The key that this file, and no earlier one, brings."""
        return None if self.twin else self.key


@dataclass(frozen=True, slots=True)
class Reading:
    """
    One reading of a directory.

    Args:
        verdicts: By file name, in the order of activation.
        problems: Refusals and warnings.
    """

    verdicts: Mapping[str, FileVerdict] = field(default_factory=dict)
    problems: tuple[KeyProblem, ...] = ()

    @property
    def signing_keys(self) -> dict[str, SigningKey]:
        """The usable signing keys by file name."""
        return {
            name: verdict.usable
            for name, verdict in self.verdicts.items()
            if isinstance(verdict.usable, SigningKey)
        }

    @property
    def mac_keys(self) -> dict[str, MacKey]:
        """The usable MAC keys by file name."""
        return {
            name: verdict.usable
            for name, verdict in self.verdicts.items()
            if isinstance(verdict.usable, MacKey)
        }


def read(
    path: Path,
    *,
    now: datetime,
    passphrase: str | None,
    strict_modes: bool,
    repairs: bool = False,
    previous: Reading | None = None,
) -> Reading:
    """
    Read the directory.

    Args:
        now: A public half that lies later is refused.
        strict_modes: Refuse, rather than warn of, a private file that others can read and that
            cannot be repaired, and whatever others could have written.
        repairs: Restrict our own private files that others can read; whoever asks for it tells
            the problems, since the next reading does not have them.
        previous: The last reading: what has not changed is not parsed again.

    Raises:
        KeyDirectoryError: The directory itself cannot be read.
    """
    before = previous.verdicts if previous else {}
    files, problems, writers = read_directory(path)
    if writers:
        problems += (KeyProblem(".", *writers, refused=strict_modes),)
    if writers and strict_modes:
        # Nothing in it can be trusted; what was read before others could write it goes on.
        present = {file.name for file in files}
        kept = {name: verdict for name, verdict in before.items() if name in present}
        return Reading(kept, problems)
    verdicts: dict[str, FileVerdict] = {}
    holders: dict[str, str] = {}
    for file in files:
        last = before.get(file.name)
        # Without a key it is judged anew: a public half is refused for its neighbours or the time.
        if last is not None and last.file == file and last.key is not None:
            verdict = replace(last, twin=None)
        else:
            repaired_in = path if repairs else None
            verdict = _judge(repaired_in, file, last, passphrase, strict=strict_modes)
        if verdict.key is not None:
            twin = holders.setdefault(key_id(verdict.key), file.name)
            verdict = replace(verdict, twin=twin if twin != file.name else None)
        verdicts[file.name] = verdict
    verdicts = _without_newer_public_halves(verdicts, now)
    found = [_problem(verdict) for verdict in verdicts.values()]
    return Reading(verdicts, problems + tuple(problem for problem in found if problem))


def key_id(key: SigningKey | MacKey) -> str:
    """The name of a key as people see it."""
    return key.kid if isinstance(key, SigningKey) else key.key_id.hex()


def _judge(
    repaired_in: Path | None,
    file: KeyContent,
    last: FileVerdict | None,
    passphrase: str | None,
    *,
    strict: bool,
) -> FileVerdict:
    """Look at a file that is new or has changed."""
    try:
        key = _parse(file, last, passphrase)
        folder = _objection(file, file.lax_folder, strict=strict)
        warning = _others(repaired_in, file, key, strict=strict) or folder
    except KeyRefused as exc:
        problem = KeyProblem(file.name, exc.problem, exc.fix)
        return FileVerdict(file, last.key if last else None, problem)
    return FileVerdict(file, key, warning)


def _parse(
    file: KeyContent, last: FileVerdict | None, passphrase: str | None
) -> SigningKey | MacKey:
    if file.refusal is not None:
        raise KeyRefused(*file.refusal)
    if (
        last is not None
        and last.key is not None
        and last.file.content == file.content
        and not (last.problem and last.problem.refused)
    ):
        # Only its mode or owner changed; parsing checks the key's arithmetic, which takes 40 ms.
        return last.key
    if file.kind is KeyKind.MAC:
        if len(file.content) != KEY_LENGTH:
            raise KeyRefused(
                f"it has {len(file.content)} bytes, a MAC key has exactly {KEY_LENGTH}",
                "remove it and make another with `authsvc keys add --refresh`",
            )
        secret = SecretBytes(file.content)
        return MacKey(mac_key_id(secret), file.activation, secret)
    key = pem.load(file.content, passphrase=passphrase)
    private = key if isinstance(key, RSAPrivateKey) else None
    public = key.public_key() if isinstance(key, RSAPrivateKey) else key
    return SigningKey(thumbprint(public), file.activation, public, private)


def _others(
    repaired_in: Path | None, file: KeyContent, key: SigningKey | MacKey, *, strict: bool
) -> KeyProblem | None:
    """
    A warning of others who could have written a file, or read a private one.

    That others can read a private file which is ours is repaired (CONTRACT §4). That they could
    write it is not: what it holds may be theirs.

    Args:
        repaired_in: The key directory, if what can be repaired is.

    Raises:
        KeyRefused: They still can, and `strict` forbids it.
    """
    written = planted(file.name, file.mode, file.owner)
    if written or (isinstance(key, SigningKey) and key.private_key is None):
        return _objection(file, written, strict=strict)
    found = exposed(file)
    if found is not None and repaired_in is not None and repair(repaired_in, file):
        return KeyProblem(
            file.name,
            f"{found[0]}; authsvc has removed the permission",
            "if others used this machine, revoke the key: `authsvc keys revoke`",
            refused=False,
        )
    return _objection(file, found, strict=strict and not file.fixed_mode)


def _objection(
    file: KeyContent, found: tuple[str, str] | None, *, strict: bool
) -> KeyProblem | None:
    """
    A warning of what others can do with a file, or could: what they wrote verifies what they sign.

    Args:
        found: What, and the remedy; None: nothing.

    Raises:
        KeyRefused: They can, and `strict` forbids it.
    """
    if found is None:
        return None
    if strict:
        raise KeyRefused(*found)
    return KeyProblem(file.name, *found, refused=False)


def _without_newer_public_halves(
    verdicts: dict[str, FileVerdict], now: datetime
) -> dict[str, FileVerdict]:
    """
    Refuse public halves that are newer than every private key or lie in the future.

    A public half is what remains of a key that has signed and been succeeded, so its activation
    is in the past and a private key is newer. The clock of a replica may lag by an hour without
    harm: a key is halved when no live token needs it.
    """
    keys = [each.key for each in verdicts.values() if isinstance(each.key, SigningKey)]
    private = [key.activation for key in keys if key.private_key is not None]
    latest = min(now, max(private, default=now))
    return {name: _refuse_newer(verdict, latest) for name, verdict in verdicts.items()}


def _refuse_newer(verdict: FileVerdict, latest: datetime) -> FileVerdict:
    key = verdict.key
    if not isinstance(key, SigningKey) or key.private_key or key.activation <= latest:
        return verdict
    problem = KeyProblem(
        verdict.file.name,
        "it is a public half that is newer than every private key or lies in the future, so it "
        "is not what remains of a key that signed here",
        "find out who put it there, and remove it",
    )
    return replace(verdict, key=None, problem=problem)


def _problem(verdict: FileVerdict) -> KeyProblem | None:
    if verdict.twin and verdict.problem is None:
        return KeyProblem(
            verdict.file.name,
            f"it holds the same key as {verdict.twin}",
            "remove one of the two; the earlier one is used",
        )
    return verdict.problem
