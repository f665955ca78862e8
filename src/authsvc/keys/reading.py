"""
Turn the files of a key directory into keys, one verdict per file.

A file that is refused takes nothing else with it: its neighbours are used, and if the file was
good at the last reading, that key stays in use, since a file that breaks must not take away a
published key. A file that is *gone* takes its key with it: that is how a leaked key dies.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from authsvc.keys import pem
from authsvc.keys.key_files import (
    KeyFile,
    KeyProblem,
    KeyRefused,
    Kind,
    exposed,
    on_read_only_mount,
    read_directory,
    repair,
)
from authsvc.keys.keyring import SigningKey
from authsvc.keys.refresh_tokens import KEY_LENGTH, MacKey, mac_key_id
from authsvc.protocol.jwk import thumbprint
from authsvc.protocol.secret import SecretBytes


@dataclass(frozen=True, slots=True)
class Verdict:
    """
    What became of one file.

    Args:
        key: What it holds, or held when it was last good; None = nothing usable.
        problem: Why it is refused, or a warning about it.
        twin: The file that holds the same key already; this one is then not used.
    """

    file: KeyFile
    key: SigningKey | MacKey | None
    problem: KeyProblem | None = None
    twin: str | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """
    One reading of a directory.

    Args:
        verdicts: By file name, in the order of activation.
        problems: Refusals and warnings.
    """

    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    problems: tuple[KeyProblem, ...] = ()

    @property
    def signing_keys(self) -> dict[str, SigningKey]:
        """The usable signing keys by file name."""
        keys = {name: verdict.key for name, verdict in self.verdicts.items() if not verdict.twin}
        return {name: key for name, key in keys.items() if isinstance(key, SigningKey)}

    @property
    def mac_keys(self) -> dict[str, MacKey]:
        """The usable MAC keys by file name."""
        keys = {name: verdict.key for name, verdict in self.verdicts.items() if not verdict.twin}
        return {name: key for name, key in keys.items() if isinstance(key, MacKey)}


def read(
    path: Path,
    *,
    passphrase: str | None,
    strict_modes: bool,
    previous: Reading | None = None,
) -> Reading:
    """
    Read the directory.

    Args:
        strict_modes: Refuse a private file that others can read and that cannot be repaired,
            rather than warn.
        previous: The last reading: what has not changed is not parsed again.

    Raises:
        KeyDirectoryError: The directory itself cannot be read.
    """
    before = previous.verdicts if previous else {}
    files, problems = read_directory(path)
    strict = strict_modes and not on_read_only_mount(path)
    verdicts: dict[str, Verdict] = {}
    holders: dict[str | bytes, str] = {}
    for file in files:
        last = before.get(file.name)
        if last is not None and last.file == file:
            verdict = replace(last, twin=None)
        else:
            verdict = _judge(path, file, last, passphrase, strict=strict)
        if verdict.key is not None:
            twin = holders.setdefault(_key_name(verdict.key), file.name)
            verdict = replace(verdict, twin=twin if twin != file.name else None)
        verdicts[file.name] = verdict
    found = [_problem(verdict) for verdict in verdicts.values()]
    return Reading(verdicts, problems + tuple(problem for problem in found if problem))


def _judge(
    path: Path, file: KeyFile, last: Verdict | None, passphrase: str | None, *, strict: bool
) -> Verdict:
    """Look at a file that is new or has changed."""
    try:
        key = _parse(file, last, passphrase)
        private = isinstance(key, MacKey) or isinstance(key.private_key, RSAPrivateKey)
        warning = _exposure(path, file, strict=strict) if private else None
    except KeyRefused as exc:
        problem = KeyProblem(file.name, exc.problem, exc.fix)
        return Verdict(file, last.key if last else None, problem)
    return Verdict(file, key, warning)


def _parse(file: KeyFile, last: Verdict | None, passphrase: str | None) -> SigningKey | MacKey:
    if file.content is None:
        raise KeyRefused(*(file.refusal or ("it cannot be read", "remove it")))
    if (
        last is not None
        and last.key is not None
        and last.file.content == file.content
        and not (last.problem and last.problem.refused)
    ):
        # Only its mode or owner changed; parsing checks the key's arithmetic, which takes 40 ms.
        return last.key
    if file.kind is Kind.MAC:
        if len(file.content) != KEY_LENGTH:
            raise KeyRefused(
                f"it has {len(file.content)} bytes, a MAC key has exactly {KEY_LENGTH}",
                "remove it and make another with `authsvc keys add --refresh`",
            )
        secret = SecretBytes(file.content)
        return MacKey(mac_key_id(secret), file.activation, secret)
    key = pem.load(file.content, passphrase=passphrase)
    if isinstance(key, RSAPrivateKey):
        public = key.public_key()
        return SigningKey(thumbprint(public), file.activation, public, key)
    return SigningKey(thumbprint(key), file.activation, key, None)


def _exposure(path: Path, file: KeyFile, *, strict: bool) -> KeyProblem | None:
    """
    A warning if others could read a private file; repaired where we own it (CONTRACT §4).

    Raises:
        KeyRefused: Others still can, and `strict` forbids it.
    """
    found = exposed(file)
    if found is None:
        return None
    problem, fix = found
    if repair(path, file):
        return KeyProblem(
            file.name,
            f"{problem}; authsvc has taken the permission away",
            "if others used this machine, revoke the key: `authsvc keys revoke`",
            refused=False,
        )
    if strict:
        raise KeyRefused(problem, fix)
    return KeyProblem(file.name, problem, fix, refused=False)


def _problem(verdict: Verdict) -> KeyProblem | None:
    if verdict.twin and verdict.problem is None:
        return KeyProblem(
            verdict.file.name,
            f"it holds the same key as {verdict.twin}",
            "remove one of the two; the earlier one is used",
        )
    return verdict.problem


def _key_name(key: SigningKey | MacKey) -> str | bytes:
    return key.kid if isinstance(key, SigningKey) else key.key_id
