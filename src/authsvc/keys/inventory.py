"""What a key directory holds, for people: every file with its state."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path

from authsvc.keys.key_files import KeyKind, KeyProblem
from authsvc.keys.keyring import KeyRing, SigningKey
from authsvc.keys.reading import Reading, key_id, read
from authsvc.keys.refresh_tokens import MacKey, RefreshKeys


class State(StrEnum):
    """What a key does at a moment."""

    SIGNING = "signing"
    SEALING = "sealing"  # the MAC key in use
    NEXT = "next"  # published (or loaded) and waiting for its activation
    RETIRED = "retired"  # no longer used for new tokens, but for verifying those that live
    EXPIRED = "expired"  # of no use to anybody: `prune` removes it
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class ListedKey:
    """
    One file.

    Args:
        key_id: The `kid`, or a MAC key's id in hexadecimal; None if the file holds no key.
        until: When it becomes useless; None = not before it has a successor.
        bits: Of the RSA modulus; None for others.
        private: Whether it could sign; False for the public half of a retired key.
        problem: A refusal or a warning.
    """

    file: str
    kind: KeyKind
    key_id: str | None
    activation: datetime
    state: State
    until: datetime | None = None
    bits: int | None = None
    private: bool = True
    problem: KeyProblem | None = None


@dataclass(frozen=True, slots=True)
class Inventory:
    """A reading of the directory, explained."""

    keys: tuple[ListedKey, ...]
    reading: Reading
    ring: KeyRing


def take_inventory(
    path: Path,
    *,
    now: datetime,
    passphrase: str | None,
    refresh_absolute_ttl: timedelta,
    repairs: bool = False,
) -> Inventory:
    """
    Look at every file of a key directory, oldest activation first.

    Args:
        repairs: As of `read`.

    Raises:
        KeyDirectoryError: The directory cannot be read.
    """
    reading = read(path, now=now, passphrase=passphrase, strict_modes=False, repairs=repairs)
    ring = KeyRing(reading.signing_keys.values())
    mac_keys = RefreshKeys(reading.mac_keys.values())
    problems = {problem.file: problem for problem in reading.problems}
    listed = []
    for name, verdict in reading.verdicts.items():
        state, until = State.REFUSED, None
        key = verdict.usable
        if isinstance(key, SigningKey):
            until = ring.published_until(key.kid)
            state = _state(key, ring.find_signing_key(now), until, now)
        elif key is not None:
            until = _needed_until(key, mac_keys, refresh_absolute_ttl)
            state = _state(key, mac_keys.sealing_key(now), until, now)
        listed.append(
            ListedKey(
                file=name,
                kind=verdict.file.kind,
                key_id=key_id(verdict.key) if verdict.key else None,
                activation=verdict.file.activation,
                state=state,
                until=until,
                bits=key.public_key.key_size if isinstance(key, SigningKey) else None,
                private=not isinstance(key, SigningKey) or key.private_key is not None,
                problem=problems.get(name),
            )
        )
    return Inventory(tuple(listed), reading, ring)


def _state(
    key: SigningKey | MacKey,
    in_use: SigningKey | MacKey | None,
    until: datetime | None,
    now: datetime,
) -> State:
    if key is in_use:
        return State.SIGNING if isinstance(key, SigningKey) else State.SEALING
    if key.activation > now:
        return State.NEXT
    return State.EXPIRED if until is not None and until <= now else State.RETIRED


def _needed_until(key: MacKey, keys: RefreshKeys, absolute_ttl: timedelta) -> datetime | None:
    """A family that was sealed with it in its last second lives at most this long."""
    later = [other.activation for other in keys.all if other.activation > key.activation]
    return later[0] + absolute_ttl if later else None
