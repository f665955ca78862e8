"""Revocation feeds as somebody might send them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from authsvc_client.tokens import base64url
from authsvc_client.tokens.revocations import digest
from tests.support.forge import sign
from tests.support.key_material import kid, rsa_key
from tests.support.key_server import FEED, KeyServer, MovableClock


def named(member: str, identifier: str, exp: int, **more: int) -> dict[str, Any]:
    """An entry."""
    return {member: base64url.encode(digest(identifier)), **more, "exp": exp}


@dataclass
class Issuer:
    """
    Writes what its server sends, by the clock of the verifier.

    Args:
        number: Of the key that signs.
        lag: How many seconds its newest document is behind.
        remembered: Numbers that it has given out; the answer is what came after one of them.
    """

    server: KeyServer
    clock: MovableClock
    number: int = 0
    epoch: str = "one"
    seq: int = 0
    lag: int = 0
    entries: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    remembered: set[int] = field(default_factory=set)
    changes: dict[str, Any] = field(default_factory=dict)

    def revoke(self, member: str, identifier: str, **more: int) -> None:
        self.seq += 1
        entry = named(member, identifier, self.now + 3660, **more)
        self.entries.append((self.seq, entry))

    @property
    def now(self) -> int:
        return int(self.clock.now().timestamp())

    def document(self, since: int | None = None) -> str:
        iat = self.now - self.now % 5 - self.lag
        known = [n for n in self.remembered if since is not None and n <= min(since, self.seq)]
        part = max(known, default=None)
        payload = {
            "iss": self.server.origin,
            "iat": iat,
            "exp": iat + 60,
            "epoch": self.epoch,
            "seq": self.seq,
            **({} if part is None else {"since": part}),
            "entries": [entry for seq, entry in self.entries if seq > (part or 0)],
        }
        self.remembered.add(self.seq)
        header = {"alg": "RS256", "typ": "rvk+jwt", "kid": kid(self.number)}
        return sign(header, payload | self.changes, rsa_key(self.number))

    def asked(self) -> list[str]:
        """The queries of all requests for the feed, without what all of them say."""
        urls = [urlsplit(path) for path, _ in self.server.requests]
        queries = [parse_qs(url.query) for url in urls if url.path == FEED]
        assert all(query["kinds"] == ["client"] for query in queries)
        return [f"?since={query['since'][0]}" if "since" in query else "" for query in queries]
