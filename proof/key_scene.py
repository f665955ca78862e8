"""
Two replicas whose keys change, clients at work, and verifiers that remember.

Everything is shortened in one proportion: replicas re-read their keys every half second instead
of every 15, and a key is published 3 s before it signs instead of 16 minutes.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import jwt
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from proof.client import Client, Session
from proof.experiment import Findings, Stage
from proof.zygote import Service, Zygote
from tests.support.live import free_port
from tests.support.wire import Connection

REPLICAS = 2
RELOAD = 0.5  # seconds between two readings, see `reread_often`
LEAD = 3.0  # seconds from the publication of a key to its first signature
CACHE = LEAD - RELOAD - 0.5  # what a verifier may hold; in full length 16 min - 15 s - 45 s
NOTICED = RELOAD + 1.0  # a revoked key is refused everywhere after that
REFRESH_TTL = timedelta(days=30)
DELIVERIES = ("native", "native", "spa", "web")
JWKS = b"GET /.well-known/jwks.json HTTP/1.1\r\nhost: localhost\r\n\r\n"
ISSUER = "http://localhost:8000"
REREAD_OFTEN = f"{__name__}:reread_often"
SETTINGS = {"ISSUER": ISSUER, "REFRESH_RETRY_WINDOW": "0"}


@dataclass
class Scene:
    """Two replicas, clients at work, and verifiers that remember."""

    keys: Path
    services: list[Service]
    zygote: Zygote
    url: str
    client: Client
    sessions: list[Session]
    findings: Findings
    random: Random
    snapshots: list[tuple[float, dict[str, jwt.PyJWK]]] = field(default_factory=list)
    exempt: set[str] = field(default_factory=set)
    """kids that were put to use in an emergency; of those nothing is promised."""

    def demand(self, holds: bool, sentence: str) -> None:  # noqa: FBT001 - as assert
        """Note a violation unless it holds."""
        if not holds and len(self.findings.violations) < 50:
            self.findings.violations.append(sentence)

    async def work(self, seconds: float) -> None:
        """Let clients refresh and verifiers fetch for so long."""
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            for service in self.services:
                await self.fetch(service.port)
            for session in self.sessions:
                asked = time.monotonic()
                operation = await self.client.refresh(session)
                self.demand(operation.outcome == "ok", f"refresh: {operation.result}")
                if operation.outcome == "ok":
                    self.verify(session.access_token, asked)
                used = await self.client.me(session)
                self.demand(used.outcome == "ok", f"me: {used.result}")

    async def fetch(self, port: int) -> set[str]:
        """A verifier fetches the JWKS."""
        asked = time.monotonic()
        connection = await Connection.open(port)
        document = (await connection.ask(JWKS)).body
        await connection.close()
        keys = {key.key_id: key for key in jwt.PyJWKSet.from_dict(document).keys if key.key_id}
        self.snapshots.append((asked, keys))
        return set(keys)

    def verify(self, token: str, asked: float) -> None:
        """With every JWKS that was fetched in the time before it was asked for."""
        kid = jwt.get_unverified_header(token)["kid"]
        self.snapshots = [each for each in self.snapshots if each[0] >= asked - CACHE]
        self.findings.counted["token x JWKS"] += len(self.snapshots)
        if kid in self.exempt:
            return
        for when, keys in self.snapshots:
            age = asked - when
            self.demand(kid in keys, f"a verifier with a JWKS of {age:.1f} s ago refuses a token")
        oldest = self.snapshots[0][1].get(kid) if self.snapshots else None
        if oldest is not None:
            jwt.decode(token, oldest, algorithms=["RS256"], audience="authsvc", issuer=ISSUER)

    def problems(self) -> int:
        """How loudly the replicas have complained so far."""
        return sum(s.log_path.read_text().count('"key_problem"') for s in self.services)

    async def signer(self) -> str:
        """The kid that signs now."""
        await self.client.refresh(self.sessions[0])
        return str(jwt.get_unverified_header(self.sessions[0].access_token)["kid"])


@asynccontextmanager
async def scene_of(stage: Stage, random: Random) -> AsyncIterator[Scene]:
    async with stage.database() as url:
        with stage.place() as place, Zygote(place, plant=REREAD_OFTEN) as zygote:
            services = [zygote.spawn(free_port(), url, SETTINGS) for _ in range(REPLICAS)]
            for service in services:
                await service.ready()
            ports = [service.port for service in services]
            client = Client(f"keys-{random.getrandbits(32):08x}", stage.recorder, ports)
            try:
                account = await client.register("keys@example.com")
                sessions = [await client.login(account, each) for each in DELIVERIES]
                yield Scene(
                    keys=place / "keys",
                    services=services,
                    zygote=zygote,
                    url=url,
                    client=client,
                    sessions=[session for session in sessions if session is not None],
                    findings=Findings(),
                    random=random,
                )
            finally:
                await client.close()


def reread_often() -> None:
    """In the child: half a second instead of 15, and nothing else."""
    from authsvc import app  # noqa: PLC0415 - in the child only

    app.RELOAD_INTERVAL = timedelta(seconds=RELOAD)


def _private(key: Any) -> bytes:
    made: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return made
