"""The real service: processes of their own, as a user runs them."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.error import URLError

import httpx

from authsvc.keys.rotation import create_first_keys
from tests.support.waiting import HANGS
from tests.support.wire import Connection, post

PROCESSES = 2
EMAIL, PASSWORD = "racer@example.com", "correct horse battery staple"


# Below those that a kernel takes for outgoing connections: one of thousands could take the port
# before the server that it was found for.
PORTS = range(20_000, 32_000)


def free_port() -> int:
    """A port for a server that is about to start."""
    while True:
        port = secrets.choice(PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def is_ready(port: int) -> bool:
    url = f"http://127.0.0.1:{port}/readyz"
    with suppress(URLError, OSError), urllib.request.urlopen(url, timeout=2) as answer:
        return bool(answer.status == 200)
    return False


@asynccontextmanager
async def serving(database_url: str, directory: Path, **settings: str) -> AsyncIterator[list[int]]:
    """
    Two processes on one database and one key directory; a user is registered.

    Args:
        settings: Names without the prefix.

    Returns:
        Their ports.
    """
    keys = directory / "keys"
    create_first_keys(keys, now=datetime.now(UTC) - timedelta(minutes=1))
    ports = [free_port() for _ in range(PROCESSES)]
    processes = [
        subprocess.Popen(  # noqa: ASYNC220 - starts at once
            [sys.executable, "-m", "authsvc", "serve"],
            cwd=directory,
            env={
                **{k: v for k, v in os.environ.items() if not k.startswith("AUTHSVC_")},
                "AUTHSVC_DATABASE_URL": database_url,
                "AUTHSVC_DATA_DIR": str(directory / "data"),
                "AUTHSVC_KEYS_DIR": str(keys),
                "AUTHSVC_PORT": str(port),
                "AUTHSVC_WORKERS": "1",
                "AUTHSVC_THROTTLE": "off",
                "AUTHSVC_ARGON2_MEMORY_KIB": "8",
                "AUTHSVC_ARGON2_TIME": "1",
                "AUTHSVC_LOG_LEVEL": "error",
                **{f"AUTHSVC_{name}": value for name, value in settings.items()},
            },
            stdout=subprocess.DEVNULL,
        )
        for port in ports
    ]
    try:
        async with asyncio.timeout(HANGS):
            for port in ports:
                while not await asyncio.to_thread(is_ready, port):
                    assert all(process.poll() is None for process in processes)
        connection = await Connection.open(ports[0])
        await connection.ask(post("/auth/register", {"email": EMAIL, "password": PASSWORD}))
        await connection.close()
        yield ports
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(timeout=20)


async def log_in(origin: str, delivery: str = "native", *, email: str = EMAIL) -> httpx.Response:
    """Log in over HTTP; an account that is not there yet is made first."""
    account = {"email": email, "password": PASSWORD}
    async with httpx.AsyncClient(base_url=origin) as client:
        if email != EMAIL:
            await client.post("/auth/register", json=account)
        answer = await client.post("/auth/login", json={**account, "delivery": delivery})
    assert 200 == answer.status_code, answer.text
    return answer


async def access_token(origin: str) -> str:
    """Of the user whom `serving` registered."""
    return str((await log_in(origin)).json()["access_token"])
