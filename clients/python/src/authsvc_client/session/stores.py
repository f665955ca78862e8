"""Where a session is kept: a file that programs share, or memory."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from threading import Lock
from typing import Protocol

from authsvc_client import private_file
from authsvc_client.private_file import NotPrivate
from authsvc_client.session.errors import StoreDamaged
from authsvc_client.tokens import json_object
from authsvc_client.tokens.secret import Secret

MAX_BYTES = 65_536
FORMAT = 1


@dataclass(frozen=True)
class StoredSession:
    """
    Args:
        received_at: When the access token was asked for, by our clock.
        renew_at: From then on it is renewed when it is next used.
        expires_at: From then on it is of no use.
        attempt_key: The Idempotency-Key of the last refresh (docs/refresh-families.md).
        answered: Whether the answer to that refresh has been stored.
    """

    issuer: str
    access_token: Secret
    refresh_token: Secret
    received_at: datetime
    renew_at: datetime
    expires_at: datetime
    attempt_key: Secret | None = None
    answered: bool = True


class SessionStore(Protocol):
    """Keeps one session."""

    def lock(self) -> AbstractContextManager[None]:
        """Hold the right to change it, against every thread and process that shares it."""

    def load(self) -> StoredSession | None:
        """
        The session; None if there is none.

        Raises:
            StoreDamaged: What is there is no session.
        """

    def save(self, session: StoredSession) -> None:
        """Replace it, durably: a crash right afterwards must not undo it."""

    def clear(self) -> None:
        """Remove it."""


@dataclass
class MemoryStore:
    """A session that ends with the process: for servers and tests."""

    session: StoredSession | None = field(default=None, repr=False)
    _lock: Lock = field(default_factory=Lock, init=False, repr=False)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Against the other threads."""
        with self._lock:
            yield

    def load(self) -> StoredSession | None:
        """What was saved."""
        return self.session

    def save(self, session: StoredSession) -> None:
        """Keep it."""
        self.session = session

    def clear(self) -> None:
        """Forget it."""
        self.session = None


class FileStore:
    """
    A session in a file of mode 0600, shared by every program of the user that names it (POSIX).

    The file is replaced as a whole and flushed to the disk. Beside it lies `<name>.lock`, which
    stays, empty.

    Args:
        path: `~` is the user's home.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path).expanduser()

    @contextmanager
    def lock(self) -> Iterator[None]:
        """
        Against every thread and process.

        Raises:
            StoreDamaged: The directory cannot be written, or its file system has no locks.
        """
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(
                self.path.with_name(f"{self.path.name}.lock"),
                os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC,
                0o600,
            )
        except OSError as exc:
            raise StoreDamaged(f"{self.path} cannot be written: {exc}") from exc
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            except OSError as exc:
                raise StoreDamaged(f"{self.path} cannot be locked: {exc}") from exc
            yield
        finally:
            os.close(descriptor)

    def load(self) -> StoredSession | None:
        """
        The session of the file; None if there is none.

        Raises:
            StoreDamaged: It is no session, or others could have written it.
        """
        try:
            content = private_file.read(self.path, at_most=MAX_BYTES)
        except FileNotFoundError:
            return None
        except (NotPrivate, OSError) as exc:
            raise StoreDamaged(f"{self.path}: {exc}") from exc
        try:
            return _session(json_object.decode(content))
        except (KeyError, TypeError, ValueError, OverflowError) as exc:
            # Not chained: the exception could hold what is in the file.
            raise StoreDamaged(f"{self.path}: it is not a session ({type(exc).__name__})") from None

    def save(self, session: StoredSession) -> None:
        """
        Replace the file.

        Raises:
            StoreDamaged: It cannot be written; the old content is still there.
        """
        members = {"format": FORMAT, **asdict(session)}
        for name in ("received_at", "renew_at", "expires_at"):
            members[name] = members[name].timestamp()
        try:
            private_file.replace(self.path, json.dumps(members).encode())
        except OSError as exc:
            raise StoreDamaged(f"{self.path} cannot be written: {exc}") from exc

    def clear(self) -> None:
        """
        Remove the file; the lock beside it stays.

        Raises:
            StoreDamaged: It cannot be removed.
        """
        try:
            self.path.unlink(missing_ok=True)
        except OSError as exc:
            raise StoreDamaged(f"{self.path} cannot be removed: {exc}") from exc
        private_file.flush_directory(self.path.parent)


def _session(members: dict[str, object]) -> StoredSession:
    if members["format"] != FORMAT:
        raise ValueError("format")
    key, answered = members["attempt_key"], members["answered"]
    if not isinstance(answered, bool):
        raise TypeError("answered")
    return StoredSession(
        issuer=_text(members["issuer"]),
        access_token=Secret(_text(members["access_token"])),
        refresh_token=Secret(_text(members["refresh_token"])),
        received_at=_moment(members["received_at"]),
        renew_at=_moment(members["renew_at"]),
        expires_at=_moment(members["expires_at"]),
        attempt_key=None if key is None else Secret(_text(key)),
        answered=answered,
    )


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError("text")
    return value


def _moment(value: object) -> datetime:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise TypeError("moment")
    return datetime.fromtimestamp(value, timezone.utc)
