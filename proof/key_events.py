"""What happens to keys: each event is played under load, and says what must hold."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from authsvc.keys import pem, retirement, rotation
from authsvc.keys.key_files import KeyKind, file_name
from authsvc.keys.key_writer import writing
from proof.key_scene import (
    LEAD,
    NOTICED,
    REFRESH_TTL,
    RELOAD,
    REPLICAS,
    REREAD_OFTEN,
    SETTINGS,
    Scene,
)
from proof.zygote import Zygote
from tests.support.key_material import rsa_key
from tests.support.live import free_port


async def next_signing_key(scene: Scene) -> None:
    """`authsvc keys add`, and the day on which it begins to sign (I12)."""
    now = datetime.now(UTC)
    key = await asyncio.to_thread(rotation.generate, KeyKind.SIGNING)
    with writing(scene.keys):
        added = rotation.create_at(scene.keys, key, activation=now + timedelta(seconds=LEAD + 1))
    await scene.work((added.activation - datetime.now(UTC)).total_seconds() + 0.3)
    scene.demand(await scene.signer() == added.key_id, "the new key does not sign")


async def next_mac_key(scene: Scene) -> None:
    """`authsvc keys add --refresh`: no session ends."""
    rotation.add_now(scene.keys, KeyKind.MAC, now=datetime.now(UTC))
    await scene.work(2 * RELOAD)


async def pruned(scene: Scene) -> None:
    """`authsvc keys prune`."""
    retirement.prune(scene.keys, now=datetime.now(UTC), refresh_absolute_ttl=REFRESH_TTL)
    await scene.work(2 * RELOAD)


async def bad_file(scene: Scene) -> None:
    """A file that is no key: it is complained of, and nobody notices (F17)."""
    before = scene.problems()
    path = scene.keys / file_name(KeyKind.SIGNING, datetime.now(UTC) + timedelta(hours=1))
    kind = scene.random.choice(tuple(BAD_FILES))
    scene.findings.counted[kind] += 1
    if kind == "directory":
        path.mkdir()
    else:
        path.write_bytes(BAD_FILES[kind](scene.keys))
        path.chmod(0o600)
    await scene.work(2 * RELOAD)
    scene.demand(scene.problems() >= before + REPLICAS, f"nobody complains of a file: {kind}")
    shutil.rmtree(path) if path.is_dir() else path.unlink()


async def damaged_key(scene: Scene) -> None:
    """The very file of the key that signs is cut short: the last good one goes on (F17)."""
    before = scene.problems()
    signer = await scene.signer()
    for path in scene.keys.glob("*.*"):
        whole = path.read_bytes()
        path.write_bytes(whole[: scene.random.randrange(len(whole))])
        await scene.work(2 * RELOAD)
        scene.demand(await scene.signer() == signer, "a damaged file changed who signs")
        path.write_bytes(whole)
    scene.demand(scene.problems() > before, "nobody complains of a damaged key")
    await scene.work(2 * RELOAD)


async def revoked(scene: Scene) -> None:
    """`authsvc keys revoke`: its tokens are refused everywhere, sessions go on."""
    leaked = await scene.signer()
    old = [(session, session.access_token) for session in scene.sessions]
    done = await asyncio.to_thread(
        retirement.revoke,
        scene.keys,
        leaked,
        now=datetime.now(UTC),
        refresh_absolute_ttl=REFRESH_TTL,
    )
    assert done.successor is not None
    scene.exempt.add(done.successor.key_id)
    began = time.monotonic()
    kids = {leaked}
    while leaked in kids and time.monotonic() < began + NOTICED:
        kids = {kid for service in scene.services for kid in await scene.fetch(service.port)}
        await asyncio.sleep(0.05)
    scene.findings.at_most(
        "readings until a revoked key is gone", (time.monotonic() - began) / RELOAD
    )
    scene.demand(leaked not in kids, "a revoked key is still published")
    for session, token in old:
        if jwt.get_unverified_header(token)["kid"] != leaked:
            continue
        fresh, session.access_token = session.access_token, token
        for service in scene.services:
            used = await scene.client.me(session, port=service.port)
            scene.demand(used.outcome == "err", "a token of a revoked key is accepted")
        session.access_token = fresh
        again = await scene.client.refresh(session)
        scene.demand(again.outcome == "ok", f"a session ended with the key: {again.result}")
    await scene.work(2 * RELOAD)


async def replica_of_yesterday(scene: Scene) -> None:
    """One whose key directory has not been updated: it refuses, and harms nothing (F28)."""
    place = scene.keys.parent / f"yesterday-{scene.random.getrandbits(32):08x}"
    shutil.copytree(scene.keys, place / "keys")
    rotation.add_now(scene.keys, KeyKind.MAC, now=datetime.now(UTC))
    with Zygote(place, plant=REREAD_OFTEN) as zygote:
        late = zygote.spawn(free_port(), scene.url, SETTINGS)
        await late.ready()
        await scene.work(2 * RELOAD)
        # Only what began after the new key came is sealed with it: old families keep theirs.
        newer = await scene.client.login(scene.sessions[0].account, port=scene.services[0].port)
        assert newer is not None
        there = await scene.client.refresh(newer, port=late.port)
        scene.demand(there.result.get("status") in {401, 503}, f"what is it? {there.result}")
        here = await scene.client.refresh(newer)
        scene.demand(here.outcome == "ok", f"its refusal ended a session: {here.result}")
        ended = await scene.client.login(scene.sessions[0].account)
        assert ended is not None
        await scene.client.logout(ended)
        for operation in (
            await scene.client.refresh(ended, port=late.port),
            await scene.client.me(ended, port=late.port),
        ):
            scene.demand(operation.outcome == "err", "yesterday's replica revived a session")
        for file in scene.keys.iterdir():
            shutil.copy2(file, place / "keys" / file.name)
        await asyncio.sleep(2 * RELOAD)
        caught_up = await scene.client.refresh(newer, port=late.port)
        scene.demand(caught_up.outcome == "ok", f"it does not catch up: {caught_up.result}")


BAD_FILES: dict[str, Callable[[Path], bytes]] = {
    "empty": lambda _: b"",
    "not PEM": lambda _: b"hello\n" * 20,
    "truncated": lambda _: pem.private_pem(rsa_key(9), passphrase=None)[:900],
    "weak": lambda _: _private(rsa_key(0, bits=1024)),
    "encrypted": lambda _: pem.private_pem(rsa_key(9), passphrase="unknown"),
    "elliptic curve": lambda _: _private(ec.generate_private_key(ec.SECP256R1())),
    "duplicate": lambda keys: min(keys.glob("*.pem")).read_bytes(),
    "too long": lambda _: b"-" * 100_000,
    "directory": lambda _: b"",
}
EVENTS: dict[Callable[[Scene], Awaitable[None]], int] = {
    next_signing_key: 2,
    next_mac_key: 2,
    pruned: 1,
    bad_file: 5,
    damaged_key: 1,
    revoked: 2,
    replica_of_yesterday: 1,
}


def _private(key: Any) -> bytes:
    made: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return made
