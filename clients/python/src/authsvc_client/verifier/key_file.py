"""
The last good key set on a disk, so that a service can start while authsvc is away.

What is read is checked as if a stranger had written it: whoever can change the file could
otherwise sign tokens. What is written appears whole or not at all.
"""

from __future__ import annotations

import json
import logging
from datetime import datetime, timedelta, timezone
from pathlib import Path

from authsvc_client import private_file
from authsvc_client.private_file import NotPrivate
from authsvc_client.tokens import json_object
from authsvc_client.verifier.freshness import Freshness
from authsvc_client.verifier.key_set import BrokenKeySet, KeySet, read_key_set
from authsvc_client.verifier.key_source import MAX_BYTES

log = logging.getLogger("authsvc_client.verifier")

FORMAT = 1
# Clocks of machines that share the file may differ so much.
SKEW = timedelta(seconds=60)


class NotUsable(Exception):  # noqa: N818 - read as a sentence: raise NotUsable
    """The file holds nothing to be used; the text says why."""


class KeyFile:
    """
    One file for one issuer.

    Args:
        path: Where; its directory is made, 0700, if it is missing.
    """

    def __init__(self, path: Path, *, issuer: str) -> None:
        self._path = path
        self._issuer = issuer

    def read(self, *, now: datetime) -> tuple[KeySet, datetime] | None:
        """
        The key set of the file and when it was fetched.

        None, and a line in the log, if there is none to be used.
        """
        try:
            return self._read(now)
        except FileNotFoundError:
            return None
        except (NotUsable, NotPrivate, BrokenKeySet, OSError, ValueError) as exc:
            log.warning("the key file %s is not used: %s", self._path, exc)
            return None

    def write(self, key_set: KeySet, *, now: datetime) -> None:
        """Replace the file; a disk that cannot be written is only worth a line in the log."""
        members = {
            "format": FORMAT,
            "issuer": self._issuer,
            "fetched_at": int(now.timestamp()),
            "fresh": int(key_set.freshness.fresh.total_seconds()),
            "usable": int(key_set.freshness.usable.total_seconds()),
            "etag": key_set.etag,
            "jwks": key_set.document.decode(),
        }
        try:
            private_file.replace(self._path, json.dumps(members).encode())
        except OSError as exc:
            log.warning("the key file %s cannot be written: %s", self._path, exc)

    def _read(self, now: datetime) -> tuple[KeySet, datetime]:
        members = json_object.decode(private_file.read(self._path, at_most=2 * MAX_BYTES))
        if members.get("format") != FORMAT or members.get("issuer") != self._issuer:
            raise NotUsable("it is of another issuer or of another version")
        document = _text(members, "jwks").encode()
        etag = members.get("etag")
        if etag is not None and not isinstance(etag, str):
            raise NotUsable("etag is no text")
        fetched_at = datetime.fromtimestamp(_number(members, "fetched_at"), timezone.utc)
        usable = timedelta(seconds=_number(members, "usable"))
        if not -SKEW <= now - fetched_at < usable:
            raise NotUsable(f"it was fetched at {fetched_at:%Y-%m-%dT%H:%M:%SZ}, too long ago")
        times = Freshness(fresh=timedelta(seconds=_number(members, "fresh")), usable=usable)
        return KeySet(document, read_key_set(document), etag, times), fetched_at


def _text(members: dict[str, object], name: str) -> str:
    value = members.get(name)
    if not isinstance(value, str):
        raise NotUsable(f"{name} is no text")
    return value


def _number(members: dict[str, object], name: str) -> int:
    value = members.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**40:
        raise NotUsable(f"{name} is no number of seconds")
    return value
