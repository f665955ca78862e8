"""
The key directory as a running process sees it: the last good keys, re-read every 15 s.

Deleting a file is an order, damaging one is an accident: see `reading`. Two orders are not
obeyed, because they would leave the world without a key: a directory that cannot be read or
from which no key signs changes nothing, and the last good ring keeps serving.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar

from authsvc.keys.key_files import KeyDirectoryError, KeyProblem
from authsvc.keys.keyring import KeyRing
from authsvc.keys.reading import Reading, read
from authsvc.keys.refresh_tokens import RefreshKeys, UnknownMacKey, open_token, seal
from authsvc.protocol.refresh import RefreshToken
from authsvc_client.tokens.secret import Secret

T = TypeVar("T")

# An unknown MAC-key id costs a reading of the directory at most this often.
REREAD_INTERVAL = timedelta(seconds=1)

NO_KEY = KeyProblem(
    "*.pem", "there is no key at all", "create the first ones with `authsvc keys add --first`"
)
NO_SIGNING_KEY = KeyProblem(
    "*.pem",
    "no private key is active, so no token can be signed",
    "activate one with `authsvc keys add --now`, or set this machine's clock if it is behind",
)
NO_MAC_KEY = KeyProblem(
    "refresh-*.key",
    "there is no MAC key, so no session can begin or continue",
    "create one with `authsvc keys add --refresh --now`",
)
_SIGNLESS = {NO_KEY, NO_SIGNING_KEY}


class KeyDirectory:
    """
    The keys of this process, as long as it lives; one object per process.

    `ring` and `refresh` are immutable snapshots that a reload replaces as a whole, so that a
    request may use them without a lock.

    Args:
        passphrase: Of encrypted PEM files.
        strict_modes: Production: refuse what others can read, and refuse to start with any
            refused file.
    """

    def __init__(
        self,
        path: Path,
        *,
        passphrase: str | None,
        strict_modes: bool,
    ) -> None:
        self.path = path
        self.ring = KeyRing(())
        self.refresh = RefreshKeys(())
        self.problems: tuple[KeyProblem, ...] = ()
        self._strict = strict_modes
        self._read = partial(
            read, path, passphrase=passphrase, strict_modes=strict_modes, repairs=True
        )
        self._lock = threading.Lock()
        self._reading: Reading | None = None
        self._unreported: list[KeyProblem] = []
        self._reread_at: datetime | None = None

    def load(self, now: datetime) -> tuple[KeyProblem, ...]:
        """
        Read the directory for the first time.

        Returns:
            Warnings to log; in development also what was refused.

        Raises:
            KeyDirectoryError: No key signs, there is no MAC key, or (in production) a file is
                refused: one that other replicas may be using must not be ignored here.
        """
        with self._lock:
            reading = self._read(now=now)
            refused = [problem for problem in reading.problems if problem.refused]
            missing = _missing(reading, now)
            if missing or (self._strict and refused):
                # What is missing is then a consequence: whoever followed that advice as well would
                # make a second key, and end every session.
                causes = [f"{self.path}/{problem}" for problem in refused or missing]
                raise KeyDirectoryError("\n".join(causes))
            self._adopt(reading, signs=True)
            self.problems = reading.problems
            return self.problems

    def reload(self, now: datetime) -> tuple[KeyProblem, ...]:
        """
        Read the directory again; the last good keys stay if that fails.

        Returns:
            What has become wrong since the last call, each once, to log.
        """
        with self._lock:
            self._reload(now)
            news, self._unreported = tuple(self._unreported), []
            return news

    def open_refresh_token(self, presented: str, *, now: datetime) -> RefreshToken:
        """
        Read a refresh token; garbage costs no I/O.

        An unknown key id may be a key that another replica's directory got a moment ago.

        Raises:
            InvalidRefreshToken: It is not one of ours.
        """
        return self._with_newest_keys(lambda keys: open_token(keys, presented), now)

    def seal_refresh_token(self, token: RefreshToken, *, now: datetime) -> Secret:
        """
        Write a refresh token with the key it names, re-reading as `open_refresh_token` does.

        Raises:
            InvalidRefreshToken: Its key has been deleted: the family is dead.
        """
        return self._with_newest_keys(lambda keys: seal(keys, token), now)

    def _with_newest_keys(self, work: Callable[[RefreshKeys], T], now: datetime) -> T:
        try:
            return work(self.refresh)
        except UnknownMacKey:
            if not self._reread(now):
                raise
        return work(self.refresh)

    def _reread(self, now: datetime) -> bool:
        with self._lock:
            last = self._reread_at
            # The absolute difference: a clock that was set back must not block this for long.
            if last is not None and abs(now - last) < REREAD_INTERVAL:
                return False
            self._reread_at = now
            self._reload(now)
            return True

    def _reload(self, now: datetime) -> None:
        try:
            reading = self._read(now=now, previous=self._reading)
        except KeyDirectoryError as exc:
            problem, _, fix = str(exc).partition("; ")
            found = [KeyProblem("key directory", problem, f"{fix}; the last keys stay in use")]
        else:
            missing = _missing(reading, now)
            found = [*reading.problems, *missing, *_late(reading, self._reading, now)]
            self._adopt(reading, signs=not _SIGNLESS & set(missing))
        self._unreported += [problem for problem in found if problem not in self.problems]
        self.problems = tuple(found)

    def _adopt(self, reading: Reading, *, signs: bool) -> None:
        signing = {key.kid: key for key in reading.signing_keys.values()}
        if not signs:
            # The last ring goes on as it was, and publishes what is new besides. As it was: a
            # replica whose clock lags may find the key that it signs with already pruned.
            signing |= {key.kid: key for key in self.ring.keys}
        ring = KeyRing(signing.values())
        if ring.keys != self.ring.keys:
            self.ring = ring
        # A directory from which no key signs may have lost its volume; one that still signs and
        # has no MAC key had it deleted on purpose, which must end those sessions.
        if reading.mac_keys or signs:
            self.refresh = RefreshKeys(reading.mac_keys.values())
        self._reading = reading


def _missing(reading: Reading, now: datetime) -> list[KeyProblem]:
    """The kinds of key that a service cannot do without and that are not there."""
    missing = []
    if KeyRing(reading.signing_keys.values()).find_signing_key(now) is None:
        missing.append(NO_SIGNING_KEY if reading.verdicts else NO_KEY)
    if not reading.mac_keys:
        missing.append(NO_MAC_KEY)
    return missing


def _late(reading: Reading, previous: Reading | None, now: datetime) -> list[KeyProblem]:
    """Keys that were not there when their time came."""
    if previous is None:
        return []
    return [
        KeyProblem(
            name,
            "the key appeared after its activation: verifiers that cached the JWKS refuse its "
            "tokens until they fetch it again, up to 15 minutes",
            "nothing to do now; next time let `authsvc keys add` choose the time",
            refused=False,
        )
        for name, key in reading.signing_keys.items()
        if name not in previous.verdicts and key.private_key is not None and key.activation <= now
    ]
