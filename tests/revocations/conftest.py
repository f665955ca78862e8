"""A process that follows the log: a real database, keys in files, time by argument."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from authsvc.flows.follow_revocations import FollowedRevocations
from authsvc.keys.directory import KeyDirectory
from authsvc.store.database import Database
from authsvc_client.tokens.claims import AccessTokenClaims
from authsvc_client.tokens.revocation_feed import Feed, read, verify_feed
from tests.conftest import START, database_at
from tests.support.key_material import kid, put_mac, put_signing, rsa_key

ISSUER = "https://auth.example.com"


@dataclass
class Process:
    """One replica, as far as revocations are concerned."""

    known: FollowedRevocations
    keys: KeyDirectory
    passed: list[float] = field(default_factory=lambda: [1000.0])

    async def look(self, seconds: float = 0) -> bool:
        """Look at the log when so many seconds have passed since START."""
        with database_at(at(seconds)):
            return await self.known.look()

    def document(
        self, seconds: float = 0, since: int | None = None, *, clients: bool = False
    ) -> bytes:
        return self.known.feed(since, clients=clients, now=at(seconds)).body

    def feed(self, seconds: float = 0, since: int | None = None, *, clients: bool = False) -> Feed:
        """The document, as a verifier reads it."""
        keys = {kid(number): rsa_key(number).public_key() for number in range(3)}
        document = read(self.document(seconds, since, clients=clients).decode())
        return verify_feed(document, keys[document.kid], issuer=ISSUER, now=at(seconds))


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def claims(**changes: object) -> AccessTokenClaims:
    """Those of a token that nothing speaks against."""
    found: dict[str, object] = {
        "iss": ISSUER,
        "sub": "alice",
        "aud": ("authsvc",),
        "exp": at(900),
        "iat": at(0),
        "nbf": at(-30),
        "jti": "1",
        "client_id": "authsvc",
        "ver": 1,
        "kid": kid(),
    }
    return AccessTokenClaims(**(found | changes))  # type: ignore[arg-type]


NewProcess = Callable[[], Process]


@pytest.fixture
def keys_dir(tmp_path: Path) -> Path:
    """Signing key 0, active for a day."""
    path = tmp_path / "keys"
    put_signing(path, START - timedelta(days=1))
    put_mac(path, START - timedelta(days=1))
    return path


@pytest.fixture
def new_process(db: Database, keys_dir: Path) -> NewProcess:
    def start() -> Process:
        keys = KeyDirectory(keys_dir, passphrase=None, strict_modes=False)
        keys.load(START)
        passed = [1000.0]
        known = FollowedRevocations(db, keys, issuer=ISSUER, monotonic=lambda: passed[0])
        return Process(known, keys, passed)

    return start


@pytest.fixture
def process(new_process: NewProcess) -> Process:
    return new_process()
