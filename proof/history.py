"""
What was observed: one line of JSON for each operation that a client ran.

A history holds no secret: a token appears as the first 16 hex digits of its SHA-256, beside the
generation that it carries in the open.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, Literal

# ok: it was answered and took effect. err: it was refused (4xx). info: nobody knows (a timeout,
# a reset, a 5xx): it may have taken effect, at any later moment, or never.
Outcome = Literal["ok", "err", "info"]


@dataclass(frozen=True, slots=True)
class Operation:
    """
    One operation of one client.

    Args:
        process: The client; it runs one operation at a time.
        operation: `login`, `refresh`, `logout`, `me`, `disable`, `enable`, `password_change`,
            `revoke_session`, or `fault` (what the harness did, for the reader; never checked).
        outcome: See above.
        invoked: Seconds of the harness's monotonic clock, before the first byte was sent.
        returned: The same clock, after the last byte was read or the wait was given up.
        family: The session that the credential belongs to, or that a login began.
        user: Its user.
        value: What was asked. login: `delivery`, `password` (its version, an integer from 0).
            refresh: `token`, `generation`, `delivery`, `key` (an id of the Idempotency-Key, or
            None). logout: `scope`. me: `generation` and `jti` of the access token.
            password_change: `password` (the new version). revoke_session: `target` (a family).
        result: What came. login, refresh: `token`, `generation`, and of a refresh `how`
            (rotated, kept, replayed). err: `status`, `code`. info: `cause`.
    """

    process: str
    operation: str
    outcome: Outcome
    invoked: float
    returned: float
    family: str | None = None
    user: str | None = None
    value: dict[str, Any] = field(default_factory=dict)
    result: dict[str, Any] = field(default_factory=dict)


class Recorder:
    """Writes a history; every line is flushed, so that a killed run is read to its end."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self.operations = 0

    def add(self, operation: Operation) -> Operation:
        """Append one line."""
        self._file.write(json.dumps(asdict(operation), separators=(",", ":")) + "\n")
        self._file.flush()
        self.operations += 1
        return operation


def read_history(path: Path) -> Iterator[Operation]:
    """The operations in the order in which they were recorded; a torn last line is left out."""
    with path.open() as lines:
        for line in lines:
            if line.endswith("\n"):
                yield Operation(**json.loads(line))


def token_id(token: str) -> str:
    """How a token is named in a history."""
    return hashlib.sha256(token.encode()).hexdigest()[:16]
