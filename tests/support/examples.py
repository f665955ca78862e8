"""The programs in examples/, each as a process of its own."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from tests.support.live import free_port

EXAMPLES = Path(__file__).parents[2] / "examples"


@asynccontextmanager
async def example(name: str, *, module: str = "app", **environment: str) -> AsyncIterator[str]:
    """One that answers; its origin."""
    port = free_port()
    origin = f"http://localhost:{port}"
    process = subprocess.Popen(  # noqa: ASYNC220 - starts at once
        [sys.executable, "-m", "uvicorn", f"{module}:app", f"--port={port}", "--log-level=error"],
        cwd=EXAMPLES / name,
        env={**os.environ, "ORIGIN": origin, "PYTHONDONTWRITEBYTECODE": "1", **environment},
        stdout=subprocess.DEVNULL,
    )
    try:
        async with httpx.AsyncClient(base_url=origin) as client:
            while not await _answers(client):
                assert None is process.poll()
                await asyncio.sleep(0.02)
        yield origin
    finally:
        process.terminate()
        process.wait(10)


@asynccontextmanager
async def notes(issuer: str, directory: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A client of examples/resource-service."""
    keys = str(directory / "state" / "keys.json")
    async with (
        example("resource-service", module="service", ISSUER=issuer, KEY_FILE=keys) as origin,
        httpx.AsyncClient(base_url=origin) as client,
    ):
        yield client


async def _answers(client: httpx.AsyncClient) -> bool:
    try:
        await client.get("/")
    except httpx.TransportError:
        return False
    return True
