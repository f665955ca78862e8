"""schemathesis reads our OpenAPI document and tries to break what it says."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.live import access_token, serving

EXAMPLES = 15  # for each operation and phase: bounded, and the same in every run


@pytest.mark.requirement("B2", "B3", "B5", "H3")
async def test_schemathesis_finds_nothing(database_url: str, tmp_path: Path) -> None:
    """No 5xx, no undocumented status, body or content type, no accepted violation."""
    async with serving(database_url, tmp_path) as ports:
        origin = f"http://localhost:{ports[0]}"
        token = await access_token(origin)
        process = await asyncio.to_thread(
            subprocess.run,
            [
                str(Path(sys.executable).with_name("schemathesis")),
                "run",
                f"{origin}/openapi.json",
                f"--url={origin}",
                f"--max-examples={EXAMPLES}",
                "--generation-deterministic",
                "--request-timeout=10",
                # No schema can say which passwords are weak, or that a token is not ours.
                "--exclude-checks=positive_data_acceptance",
                "--no-color",
                f"--header=Authorization: Bearer {token}",
            ],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    assert 0 == process.returncode, process.stdout[-6000:]
